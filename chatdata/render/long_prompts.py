"""Prompts of a row that are tokenised from their last control token on.

A prompt is mostly the beginning of its row, which has been tokenised in one go before, and a row of
many answers would be tokenised half as many times again. A control token cuts a text before a
tokenizer looks at it, so the ids up to such a token are those of the row. Of each row one prompt
is tokenised in one go all the same, and so are short prompts.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from chatdata.render.answer_checks import Answer
from chatdata.render.control_tokens import ControlTokens

_SHORT = 1024  # characters


class WholeRow:
    """The text of a row, and what `tokenizers` makes of it in one go."""

    def __init__(self, text: str, ids: Sequence[int], control: ControlTokens) -> None:
        self._text, self._ids = text, np.asarray(ids, np.int32)
        written = [match.span() for match in control.pattern.finditer(text)]
        self._places = np.flatnonzero(np.isin(self._ids, [*control.ids.values()])).tolist()
        # Places are unknown where a control token became none, or part of a longer token.
        self._spans = written if len(written) == len(self._places) else []

    def shortened(self, answer: Answer) -> Answer:
        """The answer, its prompt from the last control token on, the ids before that known.

        The answer as it is where the row does not begin as its prompt does.
        """
        number = bisect.bisect(self._spans, len(answer.prompt), key=_end) - 1
        if number < 0:
            return answer
        start, end = self._spans[number]
        if not answer.prompt.startswith(self._text[:end]):
            return answer
        known = self._ids[: self._places[number]]
        return answer._replace(known=known, prompt=answer.prompt[start:])


def _end(span: tuple[int, int]) -> int:
    return span[1]


def shortened(answers: Iterable[Answer], whole: WholeRow, in_one_go: int) -> Iterator[Answer]:
    """Yields the answers of a row, their prompts cut where they are long.

    The prompt of the answer with the number `in_one_go`, counted round and round, stays whole.
    """
    listed = list(answers)
    for number, answer in enumerate(listed):
        stays = len(answer.prompt) <= _SHORT or number == in_one_go % len(listed)
        yield answer if stays else whole.shortened(answer)
