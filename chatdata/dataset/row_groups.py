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
class Group:
    """The rows of a group, and their bytes. `mark` is a hash of the id of the last row."""

    rows: pa.Table
    bytes: int
    mark: int


class Grouping:
    """Cuts rows into groups of at most MOST_ROWS rows and `most_bytes` bytes, however they arrive.

    Of all rows that a group could end with, the one whose id has the smallest hash is the last: it
    stays the last where the group begins a row sooner or later.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._tables: list[pa.Table] = []
        self._bytes = np.empty(0, np.int64)
        self._marks = np.empty(0, np.int64)

    def add(self, table: pa.Table, row_bytes: Numbers) -> Iterator[Group]:
        """Adds rows, which have an `id`, of these sizes. Yields the groups that are complete."""
        self._tables.append(table)
        self._bytes = np.concatenate([self._bytes, row_bytes])
        self._marks = np.concatenate([self._marks, _marks(table)])
        while end := self._end():
            yield self._take(end)

    def rest(self) -> Iterator[Group]:
        """Yields the last group, where rows are left."""
        if len(self._bytes):
            yield self._take(len(self._bytes))

    def _end(self) -> int:
        """How many of the rows are a group; 0 where rows are missing that it could have."""
        filled = np.cumsum(np.maximum(self._bytes, self._most // MOST_ROWS))
        if not len(filled) or (filled[-1] <= self._most and len(filled) <= MOST_ROWS):
            return 0
        last = min(MOST_ROWS, max(1, int(np.searchsorted(filled, self._most, side="right"))))
        first = min(last - 1, int(np.searchsorted(filled, self._most / _LEAST)))
        return first + int(np.argmin(self._marks[first:last])) + 1

    def _take(self, rows: int) -> Group:
        table = pa.concat_tables(self._tables)
        group = Group(
            table.slice(0, rows), int(self._bytes[:rows].sum()), int(self._marks[rows - 1])
        )
        self._tables = [table.slice(rows)]
        self._bytes, self._marks = self._bytes[rows:], self._marks[rows:]
        return group


def _marks(table: pa.Table) -> Numbers:
    """A hash of the id of each row, which is the same in every version of every library."""
    ids = table.column("id").to_pylist()
    return np.fromiter((zlib.crc32(id.encode()) for id in ids), np.int64, len(ids))
