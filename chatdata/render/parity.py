"""What a comparison of rows with their template counts, and what rows are compared with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatdata.render.conversation import (
    Tools,
    UnrenderableError,
    Variables,
    spoken,
    texts_of,
    with_message_texts,
    with_texts,
)
from chatdata.render.parts import TrainParts
from chatdata.render.template import WritesConversation
from chatdata.render.tokenizer import Tokenizer

_CHARACTERS = 1 << 20  # that are tokenised at once
_WHERE_ANY = frozenset(["in_parts", "ends_left_out", "passed_over"])


@dataclass(slots=True)
class ParityCounts:
    """What a comparison of rows with their template counts.

    `differences` and `forged` must be 0, the others say how much was looked at.
    """

    rows: int = 0
    compared: int = 0  # with the Jinja template, token by token
    differences: int = 0
    quoting: int = 0  # rows whose content quotes a control token
    forged: int = 0  # control tokens more or fewer than the template writes
    answers: int = 0  # trained assistant turns
    stops_trained: int = 0
    headers_trained: int = 0  # answers with labels that are not theirs
    texts_returned: int = 0  # answers that decode(trained ids) gives back
    texts_altered: int = 0  # answers that the tokenizer itself changes: NFC, lost characters
    # What stands before the trained ids of an answer; these five add up to `answers`.
    prompts: int = 0  # the ids of its generation prompt
    thoughts: int = 0  # these, and a thought without words that the template writes
    straddling: int = 0  # these, but for a token that also covers the start of the answer
    unasked: int = 0  # nothing that makes a model answer
    in_quoting: int = 0  # not compared: the row quotes a control token
    # Of messages with `train_parts`, and the part of them whose end is not learnt but for that.
    in_parts: int = 0
    ends_left_out: int = 0
    # Trained assistant turns that are not among `answers`: their rows have too many of them.
    passed_over: int = 0
    first_failure: str = ""  # in words

    def __add__(self, more: ParityCounts) -> ParityCounts:
        """The counts of both, with the first failure of the two."""
        names = self.counts() | more.counts()
        sums = {name: getattr(self, name) + getattr(more, name) for name in names}
        return ParityCounts(**sums, first_failure=self.first_failure or more.first_failure)

    def fail(self, reason: str) -> None:
        """Notes a failure; the first is kept."""
        self.first_failure = self.first_failure or reason

    def counts(self) -> dict[str, int]:
        """The counts, for the manifest; those that few datasets have only where there are any."""
        names = (name for name in self.__dataclass_fields__ if name != "first_failure")
        counts = {name: getattr(self, name) for name in names}
        return {name: n for name, n in counts.items() if n or name not in _WHERE_ANY}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of tokens, and the conversation that it should hold."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    turns: list[dict[str, Any]]
    tools: Tools | None
    variables: Variables
    trained: list[int]  # the turns that are trained, by their place
    # Of turns that name parts of them: those that are learnt, by the place of the turn.
    parts: Mapping[int, TrainParts] = field(default_factory=dict)
    # What the template writes of all turns, once it was asked.
    whole: list[str] = field(default_factory=list, compare=False, repr=False)


class Given(NamedTuple):
    """What a template is given of a row, and whether the row quotes a control token."""

    turns: list[dict[str, Any]]
    tools: Tools | None
    variables: Variables
    quotes: bool


class Reference:
    """What serving code makes of a conversation: the text of its Jinja template, in one go."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.control = tokenizer.control
        self._last: tuple[Row, Given] | None = None

    def quotes(self, row: Row) -> bool:
        """Whether a message, a tool or a variable quotes a control token."""
        return self.given(row).quotes

    def comparable(self, row: Row) -> str:
        """The conversation as text, the control tokens that it quotes hidden."""
        return self._whole(row)

    def text(self, row: Row, turns: int) -> str:
        """The text of the first turns of a row, in which a quoted control token is text."""
        return self._shown(row, self._text(row, turns))

    def prompt(self, row: Row, place: int) -> str | None:
        """What a model is given to make it write an answer.

        None where nobody asks before it, or where the template writes no such prompt.
        """
        if not place:
            return None
        try:
            return self._shown(row, self._text(row, place, add_generation_prompt=True))
        except UnrenderableError:
            return None

    def writer(self, row: Row) -> WritesConversation:
        """The template with the variables of a row."""
        return self.tokenizer.template.given(self.given(row).variables)

    def _whole(self, row: Row) -> str:
        if not row.whole:
            given = self.given(row)
            row.whole.append(self.writer(row).text(given.turns, tools=given.tools))
        return row.whole[0]

    def _text(self, row: Row, turns: int, add_generation_prompt: bool = False) -> str:
        if turns == len(row.turns) and not add_generation_prompt:
            return self._whole(row)
        given = self.given(row)
        return self.writer(row).text(given.turns[:turns], add_generation_prompt, given.tools)

    def _shown(self, row: Row, text: str) -> str:
        return self.control.show(text) if self.quotes(row) else text

    def given(self, row: Row) -> Given:
        """What the template is given: the row, the control tokens that it quotes hidden."""
        if self._last is None or self._last[0] is not row:
            self._last = row, self._hidden(row)
        return self._last[1]

    def _hidden(self, row: Row) -> Given:
        around, hide = (row.tools, row.variables), self.control.hide
        texts = itertools.chain(*map(spoken, row.turns), *map(texts_of, around))
        if not any(self.control.quoted_in(text) for text in texts):
            return Given(row.turns, *around, quotes=False)
        turns = [with_message_texts(turn, hide) for turn in row.turns]
        tools, variables = (with_texts(value, hide) for value in around)
        return Given(turns, tools, variables, quotes=True)

    def encode(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """Yields the ids of texts, each tokenised in one go; the library holds few at a time."""
        for batch in _batches(texts):
            encodings = self.tokenizer.full.encode_batch_fast(batch, add_special_tokens=False)
            yield from (encoding.ids for encoding in encodings)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yields texts in lists of a million characters, or a text that is longer."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and characters + len(text) > _CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch
