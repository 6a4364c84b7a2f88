"""The Parquet shards of a table: planned, written and named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import memory
from chatdata.dataset import schemas
from chatdata.dataset.row_groups import MOST_ROWS, Group, Grouping, RowFacts

SHARD_BYTES = 256 * 2**20  # of Arrow data, and hardly more; about 100 MB of Parquet
GROUP_BYTES = 2**19  # of a row group at most; what changes anything in a group makes all of it new
_LAST_IN = 16  # groups: of those that fill a shard, one in so many is its last

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "write_page_index": True,
    "store_schema": False,  # the Arrow schema names no version then
}
# Nobody looks for these by their first and last words, which would be written for each page at the
# end of the file: where a row changes, much of the end does.
_WORDS = frozenset(["content", "reasoning_content", "reasoning", *schemas.JSON])


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """The rows of each row group of a shard, and the bytes of all of them."""

    groups: tuple[int, ...]
    bytes: int


class ShardPlan:
    """Plans the shards of a table and a split.

    The ends of shards and row groups depend on the rows alone, whatever batches the rows come in,
    and on rows nearby, so that a row more or less changes one shard.
    """

    def __init__(self) -> None:
        self._grouping = Grouping(min(GROUP_BYTES, SHARD_BYTES // 4))
        self._groups: list[Group] = []  # of the open shard
        self._bytes = 0  # of these

    def add(self, rows: RowFacts) -> Iterator[PlannedShard]:
        """Adds rows. Yields the shards that are complete."""
        for group in self._grouping.add(rows):
            self._groups.append(group)
            self._bytes += group.bytes
            is_full = self._bytes >= SHARD_BYTES and group.mark % _LAST_IN == 0
            if is_full or self._bytes >= 2 * SHARD_BYTES:
                yield self._take()

    def rest(self) -> Iterator[PlannedShard]:
        """Yields the last shard, where rows are left."""
        for group in self._grouping.rest():
            self._groups.append(group)
            self._bytes += group.bytes
        if self._groups:
            yield self._take()

    def _take(self) -> PlannedShard:
        planned = PlannedShard(tuple(group.rows for group in self._groups), self._bytes)
        self._groups, self._bytes = [], 0
        return planned


def write(path: Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> None:
    """Writes a shard of these row groups."""
    words = [column.name for column in schema if pa.types.is_string(column.type)]
    with pq.ParquetWriter(
        path,
        schema,
        use_dictionary=words,
        write_statistics=list(_with_statistics(schema)),
        **PARQUET,
    ) as writer:
        for group in groups:
            writer.write_table(group.combine_chunks(), row_group_size=MOST_ROWS)
    memory.give_back()


def _with_statistics(columns: Iterable[pa.Field], place: str = "") -> Iterator[str]:
    """Yields the columns, as Parquet names them, whose bounds are written."""
    for column in columns:
        path, kind = f"{place}{column.name}", column.type
        while pa.types.is_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _with_statistics(kind, f"{path}.")
        elif column.name not in _WORDS:
            yield path


def name(split: str, shard: int, shards: int) -> str:
    """The name of a shard of a split, of so many."""
    return f"{split}-{shard:05d}-of-{shards:05d}.parquet"
