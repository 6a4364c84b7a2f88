"""Segments of templates that are values: what they write for a turn depends on its role alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.render.segments.unencoded import (
    NO_HEADER,
    Bools,
    Ints,
    SegmentBuilder,
    TrainOn,
    UnencodedSegments,
    begins_row,
    is_context,
    learns,
    loss_mask,
)
from chatdata.render.template import Pool
from chatdata.render.template_spec import TemplateSpec, Turn

Kind = TypeVar("Kind", bound=np.generic)


class WritesTurns:
    """The part of a template that follows from its value."""

    spec: TemplateSpec
    is_explicit = True

    def encode(self, messages: pl.DataFrame, pool: Pool, train_on: TrainOn) -> UnencodedSegments:
        """The segments of rows that `refusals` does not name."""
        is_closed = all(turn.open and turn.close for turn in self.spec.all_turns())
        write = encode_from_spec if is_closed else encode_joined
        return write(self.spec, messages, pool, train_on)

    def refusals(self, messages: pl.DataFrame, pool: Pool) -> list[tuple[str, str]]:
        """The rows with a role for which the template has no turn: (id, reason)."""
        refused = messages.filter(pl.col("role").cast(pl.String).is_in([*self.spec.turns]).not_())
        refused = refused.unique("conversation", keep="first", maintain_order=True)
        reason = pl.format("the template has no place for role '{}'", "role")
        return list(refused.select("conversation", reason).iter_rows())

    def start_tokens(self, messages: pl.DataFrame, pool: Pool) -> Ints:
        """The tokens of the default system text, before the first message of each row."""
        tokens = pool.written_tokens(pool.written(self.spec.start))
        return np.where(needs_start(messages), tokens, 0)


class _Column(NamedTuple):
    """The same segment of each message: its text, its header, and whether it is trained."""

    text_id: Ints
    header_text_id: Ints
    is_trained: Bools


def encode_from_spec(
    spec: TemplateSpec, messages: pl.DataFrame, pool: Pool, train_on: TrainOn
) -> UnencodedSegments:
    """The segments of a template in which control tokens open and close every turn.

    A message is five segments: what stands at the head of the row, what opens the turn, header
    and content, the closing tokens, the text after them.
    """
    kinds, turns = _kinds(messages, spec)
    opens, closes, afters, headers = (
        _per_kind({kind: pool.written(part(turn)) for kind, turn in turns.items()}, kinds)
        for part in (_open, _close, _after, _header)
    )
    contents = _contents(messages, kinds, turns, pool)
    no_header = np.full(len(kinds), NO_HEADER)
    trained, untrained = loss_mask(messages, train_on), np.zeros(len(kinds), bool)
    words, ends = (trained & learns(messages, train_on, part) for part in ("answer", "end"))
    around = trained if train_on in ("assistant_with_header", "all") else untrained
    columns = [
        _Column(opens, no_header, around),
        _Column(contents, np.where(around, NO_HEADER, headers), words),
        _Column(closes, no_header, ends),
        _Column(afters, no_header, around),
    ]
    if spec.start:
        starts = np.where(needs_start(messages), pool.written(spec.start), pool.written(""))
        learnt = ~is_context(messages) if train_on == "all" else untrained
        columns.insert(0, _Column(starts, no_header, learnt))
    text_id, header_text_id, is_trained = (_braid(arrays) for arrays in zip(*columns, strict=True))
    message = np.repeat(np.arange(len(kinds)), len(columns))
    no_end = np.full(len(message), NO_HEADER)
    return UnencodedSegments(message, text_id, header_text_id, no_end, is_trained)


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
    needs: Bools = begins_row(messages) & (messages["role"] != "system").to_numpy()
    return needs


def _kinds(messages: pl.DataFrame, spec: TemplateSpec) -> tuple[list[str], dict[str, Turn]]:
    """How each message is written, as a key of the turns that are returned too."""
    roles = messages["role"].cast(pl.String)
    kinds, turns = roles.to_numpy(), dict(spec.turns)
    if spec.first is None and spec.last is None:
        return roles.to_list(), turns
    begins = begins_row(messages)
    if spec.first is not None:
        kinds, turns["first"] = np.where(begins & (kinds == "system"), "first", kinds), spec.first
    if spec.last is not None:
        ends = np.append(begins[1:], True)
        kinds, turns["last"] = np.where(ends & (kinds == "assistant"), "last", kinds), spec.last
    return kinds.tolist(), turns


def _contents(messages: pl.DataFrame, kinds: list[str], turns: dict[str, Turn], pool: Pool) -> Ints:
    before = {kind: turn.header + turn.lead for kind, turn in turns.items()}
    if any(turn.trims for turn in turns.values()):
        pairs = zip(kinds, messages["content"], strict=True)
        content = [text.strip() if turns[kind].trims else text for kind, text in pairs]
        texts = [before[kind] + text for kind, text in zip(kinds, content, strict=True)]
    else:
        headers = pl.Series([before[kind] for kind in kinds], dtype=pl.String)
        texts = (headers + messages["content"]).to_list()
    return pool.add_all(texts)


def _per_kind(values: dict[str, int], kinds: Sequence[str]) -> Ints:
    return np.asarray([values[kind] for kind in kinds], np.int64)


def _braid(arrays: Sequence[npt.NDArray[Kind]]) -> npt.NDArray[Kind]:
    """Arrays of one length as one array: the first of each, the second of each, ..."""
    return np.stack(arrays, axis=1).reshape(-1)


def encode_joined(
    spec: TemplateSpec, messages: pl.DataFrame, pool: Pool, train_on: TrainOn
) -> UnencodedSegments:
    """The segments of any such template: what stands between two control tokens is a single text.

    Slower than `encode_from_spec`, and the same where both can be used.
    """
    kinds, turns = _kinds(messages, spec)
    trained, is_first = loss_mask(messages, train_on), begins_row(messages)
    words, ends = (trained & learns(messages, train_on, part) for part in ("answer", "end"))
    masks = map(_Trained._make, np.stack([trained, words, ends], axis=1).tolist())
    has_start = needs_start(messages)
    context = is_context(messages)
    joiner = _Joiner(pool, train_on)
    given = zip(kinds, messages["content"], masks, strict=True)
    for number, (kind, content, is_trained) in enumerate(given):
        if is_first[number]:
            joiner.flush(number - 1)
        joiner.trains_all = train_on == "all" and not context[number]
        if has_start[number]:
            joiner.start(number, spec.start)
        joiner.turn(number, turns[kind], content, is_trained)
    joiner.flush(messages.height - 1)
    return joiner.segments()


class _Trained(NamedTuple):
    """Whether a turn is trained, its words, and what ends it."""

    turn: bool
    words: bool
    end: bool


class _Joiner(SegmentBuilder):
    """Holds text back until a control token or the end of the row closes it."""

    def __init__(self, pool: Pool, train_on: TrainOn) -> None:
        super().__init__()
        self.pool = pool
        self.trains_all = train_on == "all"  # of the turn that comes
        self.with_header = train_on in ("assistant_with_header", "all")
        self.text, self.is_trained = "", False
        self.context = ""  # the start of the text that is context, where all else is trained

    def flush(self, message: int) -> None:
        """Writes the text that was held back as a segment that is not an answer."""
        if self.text:
            text_id = self.pool.add(self.text)
            self.put(message, text_id, self.is_trained, self._context_text_id())
        self.text = self.context = ""

    def _context_text_id(self) -> int:
        return self.pool.add(self.context) if self.context else NO_HEADER

    def start(self, message: int, start: str) -> None:
        """Begins a row with what stands at its head."""
        parts = list(self.pool.control.parts(start))
        text = parts.pop()[0] if parts and not parts[-1][1] else ""
        fixed = start.removesuffix(text)
        if fixed:
            self.put(message, self.pool.written(fixed), self.trains_all)
        self.text, self.is_trained = text, self.trains_all

    def turn(self, message: int, turn: Turn, content: str, trained: _Trained) -> None:
        """Writes a turn, up to the text after its closing tokens."""
        if turn.open:
            self.flush(message)
            self.put(message, self.pool.written(turn.open), self.with_header and trained.turn)
        header = self.pool.add(self.text if self.with_header else self.text + turn.header)
        self.text += turn.header + turn.lead + (content.strip() if turn.trims else content)
        if not turn.close:
            self.text, self.is_trained = self.text + turn.after, self.trains_all
            self.context = self.context if self.trains_all else self.text
            return
        text_id = self.pool.add(self.text)
        before = self._context_text_id() if self.trains_all else header
        self.put(message, text_id, trained.words, before)
        self.put(message, self.pool.written(turn.close), trained.end)
        self.text, self.is_trained = turn.after, self.with_header and trained.turn
        self.context = ""
