"""Rows of input_ids and labels, flat: all ids of a batch in one array, with offsets of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.constants import IGNORE_INDEX

MASKS = ("assistant_masks", "assistant_mask", "completion_mask", "loss_mask")  # 1: trained
_IDS = pl.List(pl.Int64)
# The columns that are read, where a file has them.
COLUMNS: dict[str, pl.DataType] = {
    "id": pl.String(),
    **dict.fromkeys(["input_ids", "labels", "attention_mask", *MASKS], _IDS),
}

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows whose lists hold numbers and are of one length, flat; `uneven` names all others.

    Labels come from `labels`, or from masks: where a row has several, a token is trained that all
    of them train; where it has none, every token is.
    """

    names: list[str]  # of the rows: their ids, or their places
    places: list[str]
    split: str | None
    ids: Ints
    labels: Ints
    attended: Bools
    offsets: Ints
    uneven: list[tuple[str, str]]  # (name, place)
    has_attention: bool

    @classmethod
    def of(cls, frame: pl.DataFrame, split: str | None, label: str, first: int) -> TokenRows:
        """The rows of a frame of some of COLUMNS, from a file `label` from the row `first` on."""
        places = [f"{label}#{first + row}" for row in range(frame.height)]
        named = frame["id"].to_list() if "id" in frame.columns else [None] * frame.height
        names = [name or place for name, place in zip(named, places, strict=True)]
        is_even = _is_even(frame)
        even = frame.filter(is_even)
        sizes = even["input_ids"].list.len().to_numpy()
        ids = _flat(even["input_ids"])
        return cls(
            names=[name for name, ok in zip(names, is_even, strict=True) if ok],
            places=[place for place, ok in zip(places, is_even, strict=True) if ok],
            split=split,
            ids=ids,
            labels=_labels(even, ids),
            attended=_masked(even, "attention_mask", ids),
            offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
            uneven=[
                (name, place)
                for name, place, ok in zip(names, places, is_even, strict=True)
                if not ok
            ],
            has_attention="attention_mask" in even.columns
            and even["attention_mask"].null_count() < even.height,
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> Ints:
        """The number of tokens of each row."""
        return np.diff(self.offsets)

    @cached_property
    def row_of(self) -> Ints:
        """The row of each token."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def trained(self) -> Bools:
        """Whether each token is trained."""
        return np.asarray(self.labels != IGNORE_INDEX)

    @cached_property
    def follows(self) -> Bools:
        """Whether each token follows another in its row."""
        follows = np.ones(len(self.ids), np.bool_)
        follows[self.offsets[:-1][self.sizes > 0]] = False
        return follows

    def count(self, is_meant: Bools) -> Ints:
        """How many of these tokens each row has."""
        return np.bincount(self.row_of[is_meant], minlength=len(self)).astype(np.int64)

    def last(self, is_meant: Bools) -> Ints:
        """The place in its row of the last of these tokens; -1 for a row without any."""
        places = np.full(len(self), -1, np.int64)
        at = np.flatnonzero(is_meant)
        np.maximum.at(places, self.row_of[at], at - self.offsets[self.row_of[at]])
        return places

    def first(self, is_meant: Bools) -> Ints:
        """The place in its row of the first of these tokens; -1 for a row without any."""
        at = np.flatnonzero(is_meant)[::-1]
        places = np.full(len(self), -1, np.int64)
        places[self.row_of[at]] = at - self.offsets[self.row_of[at]]  # the last write stays
        return places


def _is_even(frame: pl.DataFrame) -> pl.Series:
    """Whether the lists of each row are as long as its ids, and hold a number in each place."""
    size = pl.col("input_ids").list.len()
    others = [name for name in frame.columns if name not in ("id", "input_ids")]
    fits = [(pl.col(name).list.len() == size).fill_null(True) for name in others]
    holes = [
        pl.col(name).list.eval(pl.element().is_null()).list.any().fill_null(False)
        for name in ("input_ids", *others)
    ]
    is_even = pl.all_horizontal(pl.col("input_ids").is_not_null(), *fits)
    return frame.select(even=is_even & pl.any_horizontal(holes).not_()).to_series()


def _flat(lists: pl.Series) -> Ints:
    """The values of lists end to end."""
    if not lists.len():
        return np.empty(0, np.int64)
    values = lists.list.explode(empty_as_null=False, keep_nulls=False)
    return values.to_numpy().astype(np.int64)


def _labels(frame: pl.DataFrame, ids: Ints) -> Ints:
    """The labels of all tokens: those of the rows, or made of their masks."""
    trained = np.ones(len(ids), np.bool_)
    for name in MASKS:
        trained &= _masked(frame, name, ids)
    made = np.where(trained, ids, IGNORE_INDEX)
    if "labels" not in frame.columns:
        return made
    given = frame["labels"]
    has_labels = np.repeat(given.is_not_null().to_numpy(), _sizes(frame))
    made[has_labels] = _flat(given)
    return made


def _masked(frame: pl.DataFrame, name: str, ids: Ints) -> Bools:
    """Whether a mask of the rows is not 0 for each token; true where a row has no such mask."""
    values = np.ones(len(ids), np.bool_)
    if name in frame.columns:
        has_mask = np.repeat(frame[name].is_not_null().to_numpy(), _sizes(frame))
        values[has_mask] = _flat(frame[name]) != 0
    return values


def _sizes(frame: pl.DataFrame) -> Ints:
    return frame["input_ids"].list.len().to_numpy().astype(np.int64)
