"""Row groups of Parquet files, which end where the ids of their rows say.

A row that is put in or taken out changes the group that holds it. The groups before and behind keep
their rows, so their bytes: what is appended to a dataset leaves most of its files as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MOST_ROWS = 1024  # of a group
_LEAST = 4  # a group is filled to at least one in so many, in rows or in bytes

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of rows where groups are planned: the bytes of each, and its mark, a hash of
    its id."""

    bytes: Numbers
    marks: Numbers

    def __add__(self, more: RowFacts) -> RowFacts:
        """The facts of these rows, and of those behind them."""
        return RowFacts(
            np.concatenate([self.bytes, more.bytes]), np.concatenate([self.marks, more.marks])
        )

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, place: slice) -> RowFacts:
        return RowFacts(self.bytes[place], self.marks[place])


def no_rows() -> RowFacts:
    """What is known of no rows at all."""
    return RowFacts(np.empty(0, np.int64), np.empty(0, np.int64))


def facts_of(table: pa.Table, row_bytes: Numbers) -> RowFacts:
    """What is known of the rows of a table, which have an `id`. `row_bytes` is the size of each."""
    ids = table.column("id").to_pylist()
    # The same in every version of every library.
    marks = np.fromiter((zlib.crc32(id.encode()) for id in ids), np.int64, len(ids))
    return RowFacts(row_bytes, marks)


@dataclass(frozen=True, slots=True)
class Group:
    """How many rows a group has, and how many bytes. `mark` is that of its last row."""

    rows: int
    bytes: int
    mark: int


class Grouping:
    """Cuts rows into groups of at most MOST_ROWS rows and `most_bytes` bytes, however they arrive.

    Of all rows that a group could end with, the one whose mark is the smallest is the last: it
    stays the last where the group begins a row sooner or later.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._waiting = no_rows()

    def add(self, rows: RowFacts) -> Iterator[Group]:
        """Adds rows. Yields the groups that are complete."""
        self._waiting += rows
        while end := self._end():
            yield self._take(end)

    def rest(self) -> Iterator[Group]:
        """Yields the last group, where rows are left."""
        if len(self._waiting):
            yield self._take(len(self._waiting))

    def _end(self) -> int:
        """How many of the rows are a group; 0 where rows are missing that it could have."""
        could_be = self._waiting[: MOST_ROWS + 1]
        filled = np.cumsum(np.maximum(could_be.bytes, self._most // MOST_ROWS))
        if not len(filled) or (filled[-1] <= self._most and len(filled) <= MOST_ROWS):
            return 0
        last = min(MOST_ROWS, max(1, int(np.searchsorted(filled, self._most, side="right"))))
        first = min(last - 1, int(np.searchsorted(filled, self._most / _LEAST)))
        return first + int(np.argmin(could_be.marks[first:last])) + 1

    def _take(self, rows: int) -> Group:
        taken, self._waiting = self._waiting[:rows], self._waiting[rows:]
        return Group(rows, int(taken.bytes.sum()), int(taken.marks[-1]))
