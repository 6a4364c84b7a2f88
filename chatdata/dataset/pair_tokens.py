"""Pairs as tokens: both answers behind the same ids of their prompt, made, counted and hashed.

A side is rendered as the conversation of its prompt and its answer, of which the answer alone is
learnt. So its ids are those that the template writes, and its labels begin where the prompt ends.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.constants import IGNORE_INDEX, SPLITS
from chatdata.core.hashing import fraction_column
from chatdata.dataset import published
from chatdata.dataset.schemas import IDS, PAIR_TOKENS

if TYPE_CHECKING:
    from chatdata.render.options import Render
    from chatdata.render.parity import ParityCounts, Row
    from chatdata.render.rows import Rendered
    from chatdata.render.segments.text_pool import TextPool
    from chatdata.render.segments.unencoded import TrainOn

SIDES = ("chosen", "rejected")
LISTS = tuple(f"{side}_{what}" for side in SIDES for what in ("ids", "labels"))
DIFFER = "prompts_differ"  # why a pair is left out whose answers begin at different places
_BYTES = 4  # of an id, or a label
_IN_ANSWERS = ("all", "assistant_with_header")  # of `train_on`: of a pair the answers are learnt


@dataclass(frozen=True, slots=True)
class PairTokens:
    """Rows of schema PAIR_TOKENS, and the split of each."""

    table: pa.Table
    splits: pl.Series

    def totals(self) -> dict[str, dict[str, int]]:
        """The rows, the tokens and the trained tokens of each split, those of both sides."""
        figures = pl.DataFrame(self.table.select(LISTS)).select(
            tokens=pl.sum_horizontal(pl.col(f"{side}_ids").list.len() for side in SIDES),
            trained_tokens=pl.sum_horizontal(
                pl.col(f"{side}_labels").list.eval(pl.element() != IGNORE_INDEX).list.sum()
                for side in SIDES
            ),
        )
        figures = figures.with_columns(split=self.splits)
        return {
            name: {"rows": of_split.height, **_sums(of_split.drop("split"))}
            for name in SPLITS
            for of_split in [figures.filter(split=name)]
        }

    def digests(self) -> list[tuple[str, bytes]]:
        """The id of each pair, and a SHA-256 of its split, its ids and its labels."""
        lengths, *lists = (self.table[name].to_pylist() for name in ("prompt_length", *LISTS))
        values = zip(self.table["id"].to_pylist(), self.splits, lengths, *lists, strict=True)
        return [(id, _digest(split, length, ids)) for id, split, length, *ids in values]


def _sums(figures: pl.DataFrame) -> dict[str, int]:
    return {name: int(number or 0) for name, number in figures.sum().row(0, named=True).items()}


def _digest(split: str, prompt_length: int, lists: Sequence[Sequence[int]]) -> bytes:
    hashed = hashlib.sha256(f"{split} {prompt_length}".encode())
    for values in lists:
        hashed.update(np.array([len(values), *values], "<i4").tobytes())
    return hashed.digest()


def none() -> PairTokens:
    """No rows at all."""
    return PairTokens(arrow.no_rows(PAIR_TOKENS), pl.Series(dtype=pl.String))


def row_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of each row, in bytes."""
    lengths = pl.DataFrame(table.select(LISTS)).select(
        pl.sum_horizontal(pl.col(name).list.len() for name in LISTS).cast(pl.Int64)
    )
    return lengths.to_series().to_numpy() * _BYTES


# --------------------------------------------------------------------------------- how it is made


# Of what is learnt of answers, and rows.
Compare = Callable[["TrainOn", list["Row"]], "ParityCounts"]


class RenderedPairs(NamedTuple):
    """The rows of pairs, as they follow each other; why the rest is left out, by id; and what was
    compared with the template."""

    table: pa.Table
    left_out: Mapping[str, str]
    parity: ParityCounts


def draw(
    pairs: pa.Table,
    pool: TextPool,
    options: Render,
    share: float,
    compare: Compare | None = None,
) -> RenderedPairs:
    """The rows of tokens of rows of schema `schemas.PAIRS`, a share of which is certified.

    Which that are is chosen by a hash of the ids of the pairs; `compare` gives what the certificate
    counts in them, where it is not to be counted here. A pair is left out where a side is
    too long, or the template cannot write it, or the answers do not begin at the same place.
    """
    from chatdata.render import certificate
    from chatdata.render.fit import fit
    from chatdata.render.parity import ParityCounts
    from chatdata.render.rows import render

    ids = pl.Series(pairs["id"])
    if ids.is_empty():
        return RenderedPairs(arrow.no_rows(PAIR_TOKENS), {}, ParityCounts())
    of_answers = _of_answers(options)
    fitted = fit(_messages(pairs), pool, of_answers)
    drawn = render(fitted.messages, fitted.windows, pool, of_answers)
    numbers = {_name(side, id): number for number, id in enumerate(ids) for side in SIDES}
    of_rows = [numbers[name] for name in drawn.conversations]
    is_sampled = (fraction_column(ids, "certificate") < share).gather(of_rows)
    sampled = certificate.chosen_rows(drawn, of_answers.train_on, is_sampled)
    if compare is None:
        parity = certificate.compare(sampled, pool.tokenizer, of_answers.train_on)
    else:
        parity = compare(of_answers.train_on, sampled)
    outcomes = pl.concat([fitted.outcomes, drawn.outcomes]).filter(unit="conversation")
    reasons = dict(outcomes.select("id", "reason").iter_rows())
    return _paired(ids.to_list(), _sides(drawn), reasons, parity)


def _of_answers(options: Render) -> Render:
    """The options by which a side is rendered: a pair is never cut or split."""
    of_answers = {"overflow": "drop", "carry_tokens": None}
    if options.train_on in _IN_ANSWERS:
        of_answers["train_on"] = "assistant"
    return options.model_copy(update=of_answers)


def _name(side: str, id: str) -> str:
    """The name of the conversation of a side of a pair, which no other has: a pool keeps what a
    template writes by the names of conversations."""
    return f"{side} {id}"


def _messages(pairs: pa.Table) -> pl.DataFrame:
    """The messages of both sides of pairs, of which only the answers are learnt."""
    table = pl.DataFrame(pairs)
    sides = [
        table.select(
            pl.format(f"{side} {{}}", "id").alias("id"),
            *("group", "source", "lang", "tools"),
            pl.concat_list("prompt", side).alias("messages"),
        )
        for side in SIDES
    ]
    messages = published.messages(pl.concat(sides))
    is_answer = pl.col("position") == pl.col("position").max().over("conversation")
    return messages.with_columns(train=is_answer)


class _Side(NamedTuple):
    """The ids and labels of a side, and where its answer begins."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    begins: int


def _sides(drawn: Rendered) -> dict[str, _Side]:
    """The sides that were rendered, by their names. All have a trained token."""
    sides = {}
    for number, name in enumerate(drawn.conversations):
        start, end = drawn.offsets[number : number + 2]
        labels = drawn.labels[start:end]
        begins = int(np.argmax(labels != IGNORE_INDEX))
        sides[name] = _Side(drawn.input_ids[start:end], labels, begins)
    return sides


def _paired(
    ids: Sequence[str], sides: Mapping[str, _Side], reasons: Mapping[str, str], parity: ParityCounts
) -> RenderedPairs:
    rows: list[tuple[str, _Side, _Side]] = []
    left_out: dict[str, str] = {}
    for id in ids:
        names = [_name(side, id) for side in SIDES]
        missing = next((name for name in names if name not in sides), None)
        both = [sides[name] for name in names] if missing is None else []
        if both and _have_one_prompt(*both):
            rows.append((id, both[0], both[1]))
        else:
            left_out[id] = DIFFER if both else reasons[str(missing)]
    return RenderedPairs(_table(rows), left_out, parity)


def _have_one_prompt(chosen: _Side, rejected: _Side) -> bool:
    """Whether both answers begin at the same place, behind the same ids."""
    begins = chosen.begins
    is_same = np.array_equal(chosen.ids[:begins], rejected.ids[:begins])
    return begins == rejected.begins and is_same


def _table(rows: Sequence[tuple[str, _Side, _Side]]) -> pa.Table:
    chosen, rejected = [side for _, side, _ in rows], [side for _, _, side in rows]
    return pa.Table.from_arrays(
        [
            pa.array([id for id, _, _ in rows], pa.string()),
            arrow.int32(np.array([side.begins for side in chosen], np.int32)),
            *_columns(chosen),
            *_columns(rejected),
        ],
        schema=PAIR_TOKENS,
    )


def _columns(sides: Sequence[_Side]) -> list[pa.Array]:
    """The ids and the labels of sides."""
    return [_joined([side.ids for side in sides]), _joined([side.labels for side in sides])]


def _joined(lists: Sequence[npt.NDArray[np.int32]]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in lists])])
    return arrow.lists(offsets, np.concatenate([np.empty(0, np.int32), *lists]), IDS)


def count(left_out: Mapping[str, str]) -> Counter[str]:
    """How many pairs are left out, by reason."""
    return Counter(left_out.values())
