"""Which parts of an answer are learnt, and where the parts stand in its text."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from chatdata.core import train_parts
from chatdata.core.config import Strict


class TrainParts(Strict):
    """The parts of an answer that are learnt: reasoning with its tags, words, calls of tools, and
    what ends the answer. A thought without words that a template writes is a part of its own."""

    answer: bool = Field(default=True, description="Whether the words of an answer are learnt.")
    reasoning: bool = Field(
        default=True, description="Whether the reasoning before an answer is learnt, with its tags."
    )
    tool_calls: bool = Field(default=True, description="Whether calls of tools are learnt.")
    end: bool = Field(default=True, description="Whether the end token of an answer is learnt.")
    empty_thought: bool = Field(
        default=False,
        description="Whether a thought without words, which a template writes, is learnt.",
    )

    @model_validator(mode="after")
    def _has_no_gap(self) -> TrainParts:
        learnt = [name for name in train_parts.NAMES if getattr(self, name)]
        with_thoughts = [*learnt, *(["reasoning"] if self.empty_thought else [])]
        if fault := train_parts.fault(learnt) or train_parts.fault(with_thoughts):
            raise ValueError(fault)
        return self


WHOLE = TrainParts()


@functools.lru_cache(256)
def narrowed(parts: TrainParts, named: str | None) -> TrainParts:
    """The parts that both a recipe and a message learn, which may be none.

    `named` is the `train_parts` of the message. A thought without words is reasoning.
    """
    if named is None:
        return parts
    names = named.split(train_parts.SEPARATOR)
    if parts.empty_thought and "reasoning" in names:
        names.append("empty_thought")
    learnt = {name: is_learnt and name in names for name, is_learnt in parts}
    return parts.model_copy(update=learnt)


class Bounds(NamedTuple):
    """Where the parts of an answer end in its text; the last part is what ends the answer."""

    empty_thought: int
    reasoning: int
    answer: int
    tool_calls: int
    end: int

    def spans(self, parts: TrainParts) -> Iterator[tuple[int, int]]:
        """Yields what is learnt, as spans of the text; spans that touch are one span."""
        start = before = 0
        is_open = False
        for name, end in self._asdict().items():
            if end == before:  # the answer does not have the part
                continue
            learns = bool(getattr(parts, name))
            if learns and not is_open:
                start = before
            if is_open and not learns:
                yield start, before
            is_open, before = learns, end
        if is_open:
            yield start, before


def bounds(text: str, message: Mapping[str, Any], lead: int, stop: int, thought_end: str) -> Bounds:
    """The parts in the text of an answer, from the end of its generation prompt on.

    The first `lead` characters are a thought without words, the last `stop` end the answer, and
    `thought_end` closes a thought.
    """
    content = (message["content"] or "").strip()
    reasoning = (message.get("reasoning_content") or "").strip()
    calls = len(text) - stop
    thought = lead
    if reasoning:
        thought = text.find(reasoning, lead) + len(reasoning)
        closed = text.find(thought_end, thought, calls) if thought_end else -1
        thought = closed + len(thought_end) if closed >= 0 else thought
        thought += len(text[thought:calls]) - len(text[thought:calls].lstrip())
    answer = thought
    if content and (begin := text.find(content, thought, calls)) >= 0:
        thought = begin if reasoning else thought
        answer = begin + len(content)
    if not message.get("tool_calls"):
        answer = calls
    return Bounds(lead, thought, answer, calls, len(text))
