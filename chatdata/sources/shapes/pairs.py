"""Records with a question and its answer under two keys, by the names of the field."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any

from chatdata.sources import _preference, jsonl
from chatdata.sources._preference import CHOICES
from chatdata.sources.shapes import sessions, templated
from chatdata.sources.shapes._base import Conversations, Record, are_objects, given
from chatdata.sources.shapes.lists import has_list

# Any of the first with any of the second.
QUESTIONS = ("instruction", "prompt", "question", "query", "problem")
ANSWERS = ("response", "output", "completion", "answer", "solution")
# Pairs of names that go with each other alone.
_MORE = (
    ("input", "output"),
    ("input", "response"),
    ("input", "target"),
    ("inputs", "targets"),
    ("inputs_pretokenized", "targets_pretokenized"),
    ("source", "target"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("human", "bot"),
    ("text_input", "output"),
    ("input_text", "output_text"),
)
PAIRS = (*itertools.product(QUESTIONS, ANSWERS), *_MORE)
_ASKED = frozenset(question for question, _ in PAIRS)
_ANSWERED = frozenset(answer for _, answer in PAIRS)
# What means something else beside other questions and answers: a context, an id, the origin, the
# number at the end of a solution.
_BESIDE = {"input", "user", "source", "human", "assistant", "bot", "target"}
_NOT_BESIDE = frozenset(["labels", "history_human", *itertools.chain(*CHOICES)])
_ALSO = {("problem", "solution"): {"answer"}}


def _fits(pair: tuple[str, str]) -> Callable[[object], bool]:
    question, answer = pair
    allowed = {*pair, *_ALSO.get(pair, ()), *(_BESIDE if pair not in _MORE else {"source", "user"})}
    competing = sorted((_ASKED | _ANSWERED) - allowed)

    def fits(record: object) -> bool:
        if not isinstance(record, dict):
            return False
        if not _is_side(record.get(question)) or not _is_side(record.get(answer)):
            return False
        return not any(given(record, key) for key in competing) and _is_plain(record, question)

    return fits


def _is_side(value: object) -> bool:
    """Whether a value may be a question or an answer: a text, or messages with roles."""
    return isinstance(value, str) or (
        isinstance(value, list)
        and are_objects(value)
        and all(isinstance(message.get("role"), str) for message in value)
        and not any("type" in message for message in value)  # items of OpenAI's Responses
    )


def _is_plain(record: Record, question: str) -> bool:
    """Whether a record has neither messages beside nor a dialogue in its question."""
    is_odd = has_list(record) or any(given(record, key) for key in _NOT_BESIDE)
    is_odd = is_odd or _preference.verdict(record) is not None or sessions.is_rollout(record)
    return not is_odd and not templated.is_belle(record, question)


def _read(pair: tuple[str, str]) -> Callable[[Any], Any]:
    contexts: Collection[str] = [key for key in jsonl.CONTEXTS if key not in pair]
    return lambda record: jsonl.exchange(record, pair, contexts)


SHAPES = tuple(
    Conversations(
        name=f"{pair[0]} and {pair[1]}",
        keys=pair,
        fits=_fits(pair),
        read=_read(pair),
    )
    for pair in PAIRS
)
