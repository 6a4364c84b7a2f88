"""Pieces of templates that are values: what they write for a turn depends on its role alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.render.segments.draft import (
    NONE,
    Bools,
    Draft,
    Pen,
    TrainOn,
    begins,
    context_of,
    learnt_of,
    value_of,
)
from chatdata.render.segments.text_pool import Ints, Texts
from chatdata.render.templates import Template, Turn

Kind = TypeVar("Kind", bound=np.generic)


def write_turnwise(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Draft:
    """The pieces of a template in which control tokens open and close every turn.

    A message is five pieces: what stands at the head of the row, what opens the turn, header and
    content, the closing tokens, the text behind them.
    """
    value = value_of(texts.tokenizer.template)
    assert value is not None
    kinds, turns = _kinds(messages, value)
    opens, closes, afters, headers = (
        _per_kind({kind: texts.written(of(turn)) for kind, turn in turns.items()}, kinds)
        for of in (_open, _close, _after, _header)
    )
    content = _contents(messages, kinds, turns, texts)
    none = np.full(len(kinds), NONE)
    learnt = learnt_of(messages, train_on)
    header_learnt = learnt if train_on in ("assistant_with_header", "all") else learnt & False
    columns = [
        (opens, none, header_learnt),
        (content, np.where(header_learnt, NONE, headers), learnt),
        (closes, none, learnt),
        (afters, none, header_learnt),
    ]
    if value.start:
        heads = np.where(needs_start(messages), texts.written(value.start), texts.written(""))
        fresh = ~context_of(messages)
        columns.insert(0, (heads, none, fresh if train_on == "all" else fresh & False))
    text, header, trained = (_braid(own) for own in zip(*columns, strict=True))
    return Draft(np.repeat(np.arange(len(kinds)), len(columns)), text, header, trained)


def _open(turn: Turn) -> str:
    return turn.open


def _close(turn: Turn) -> str:
    return turn.close


def _after(turn: Turn) -> str:
    return turn.after


def _header(turn: Turn) -> str:
    return turn.header


def needs_start(messages: pl.DataFrame) -> Bools:
    """Before which messages the head of a row is written: not before a system turn."""
    needs: Bools = begins(messages) & (messages["role"] != "system").to_numpy()
    return needs


def _kinds(messages: pl.DataFrame, value: Template) -> tuple[list[str], dict[str, Turn]]:
    """How each message is written, as a key of the turns that are given too."""
    roles = messages["role"].cast(pl.String)
    if value.first is None:
        return roles.to_list(), dict(value.turns)
    at_head = begins(messages) & (roles == "system").to_numpy()
    kinds = np.where(at_head, "first", roles.to_numpy())
    return kinds.tolist(), {**value.turns, "first": value.first}


def _contents(
    messages: pl.DataFrame, kinds: list[str], turns: dict[str, Turn], texts: Texts
) -> Ints:
    before = {kind: turn.header + turn.lead for kind, turn in turns.items()}
    if any(turn.trims for turn in turns.values()):
        said = zip(kinds, messages["content"], strict=True)
        content = [words.strip() if turns[kind].trims else words for kind, words in said]
        whole = [before[kind] + words for kind, words in zip(kinds, content, strict=True)]
    else:
        heads = pl.Series([before[kind] for kind in kinds], dtype=pl.String)
        whole = (heads + messages["content"]).to_list()
    return np.fromiter(map(texts.add, whole), np.int64, len(whole))


def _per_kind(values: dict[str, int], kinds: Sequence[str]) -> Ints:
    return np.asarray([values[kind] for kind in kinds], np.int64)


def _braid(columns: Sequence[npt.NDArray[Kind]]) -> npt.NDArray[Kind]:
    """Arrays of one length as one array: the first of each, the second of each, ..."""
    return np.stack(columns, axis=1).reshape(-1)


def write_joined(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Draft:
    """The pieces of any template: what stands between two control tokens is one text.

    Slower than `write_turnwise`, and the same where both can be used.
    """
    value = value_of(texts.tokenizer.template)
    assert value is not None
    kinds, turns = _kinds(messages, value)
    learnt, is_first = learnt_of(messages, train_on), begins(messages)
    has_start = needs_start(messages)
    is_context = context_of(messages)
    joiner = _Joiner(texts, train_on)
    for number, (kind, content) in enumerate(zip(kinds, messages["content"], strict=True)):
        if is_first[number]:
            joiner.flush(number - 1)
        joiner.all = train_on == "all" and not is_context[number]
        if has_start[number]:
            joiner.start(number, value.start)
        joiner.turn(number, turns[kind], content, bool(learnt[number]))
    joiner.flush(messages.height - 1)
    return joiner.draft()


class _Joiner(Pen):
    """Holds text back until a control token or the end of the row closes it."""

    def __init__(self, texts: Texts, train_on: TrainOn) -> None:
        super().__init__()
        self.texts = texts
        self.all = train_on == "all"  # of the turn that comes
        self.with_header = train_on in ("assistant_with_header", "all")
        self.text, self.learnt = "", False
        self.context = ""  # the start of the text that is context, where all else is trained

    def flush(self, message: int) -> None:
        """Writes the text that was held back as one that is not an answer."""
        if self.text:
            self.put(message, self.texts.add(self.text), self.learnt, self._head())
        self.text = self.context = ""

    def _head(self) -> int:
        return self.texts.add(self.context) if self.context else NONE

    def start(self, message: int, start: str) -> None:
        """Begins a row with what stands at its head."""
        parts = list(self.texts.parts(start))
        words = parts.pop()[0] if parts and not parts[-1][1] else ""
        fixed = start.removesuffix(words)
        if fixed:
            self.put(message, self.texts.written(fixed), self.all)
        self.text, self.learnt = words, self.all

    def turn(self, message: int, turn: Turn, content: str, learnt: bool) -> None:
        """Writes a turn, up to the text behind its closing tokens."""
        if turn.open:
            self.flush(message)
            self.put(message, self.texts.written(turn.open), self.with_header and learnt)
        header = self.texts.add(self.text if self.with_header else self.text + turn.header)
        self.text += turn.header + turn.lead + (content.strip() if turn.trims else content)
        if not turn.close:
            self.text, self.learnt = self.text + turn.after, self.all
            self.context = self.context if self.all else self.text
            return
        self.put(message, self.texts.add(self.text), learnt, self._head() if self.all else header)
        self.put(message, self.texts.written(turn.close), learnt)
        self.text, self.learnt, self.context = turn.after, self.with_header and learnt, ""


def start_tokens(messages: pl.DataFrame, texts: Texts) -> Ints:
    """The tokens that a template's value writes before each message: 0 but at the head."""
    value = value_of(texts.tokenizer.template)
    number = texts.written(value.start if value else "")
    return np.where(needs_start(messages), texts.written_tokens(number), 0)
