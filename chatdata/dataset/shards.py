"""The Parquet shards of a table: written, named and listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import memory
from chatdata.core.hashing import sha256_file
from chatdata.dataset import schemas
from chatdata.dataset.entries import ShardEntry
from chatdata.dataset.row_groups import MOST_ROWS, Group, Grouping, Numbers

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


@dataclass
class Shards:
    """Writes the rows of a table and a split as numbered Parquet files.

    The ends of shards and row groups depend on the rows alone, whatever batches the rows come in,
    and on rows nearby, so that a row more or less changes one shard.
    """

    folder: Path
    split: str
    schema: pa.Schema
    rows: list[int] = field(default_factory=list)
    _grouping: Grouping = field(
        default_factory=lambda: Grouping(min(GROUP_BYTES, SHARD_BYTES // 4))
    )
    _bytes: int = 0  # of the open shard
    _writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table, row_bytes: Numbers) -> None:
        """Adds rows, which have an `id`; `row_bytes` is the size of each."""
        if table.num_rows:
            self._write_all(self._grouping.add(table, row_bytes))

    def finish(self) -> list[tuple[Path, int]]:
        """Closes the last shard and names all. Returns (path, rows) of each."""
        self._write_all(self._grouping.rest())
        self._close()
        return [(self._path(n).rename(self._named(n)), rows) for n, rows in enumerate(self.rows)]

    def discard(self) -> None:
        """Removes what was written."""
        self._close()
        for shard in range(len(self.rows)):
            for path in (self._path(shard), self._named(shard)):
                path.unlink(missing_ok=True)

    def _path(self, shard: int) -> Path:
        return self.folder / f".{self.split}-{shard:05d}.partial"

    def _named(self, shard: int) -> Path:
        return self.folder / name(self.split, shard, len(self.rows))

    def _write_all(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self._write(group.rows)
            self._bytes += group.bytes
            is_full = self._bytes >= SHARD_BYTES and group.mark % _LAST_IN == 0
            if is_full or self._bytes >= 2 * SHARD_BYTES:
                self._close()

    def _write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self.folder.mkdir(exist_ok=True)
            words = [column.name for column in self.schema if pa.types.is_string(column.type)]
            self._writer = pq.ParquetWriter(
                self._path(len(self.rows)),
                self.schema,
                use_dictionary=words,
                write_statistics=list(_with_statistics(self.schema)),
                **PARQUET,
            )
            self.rows.append(0)
        self._writer.write_table(rows.combine_chunks(), row_group_size=MOST_ROWS)
        self.rows[-1] += rows.num_rows

    def _close(self) -> None:
        self._bytes = 0
        if self._writer is not None:
            self._writer.close()
            self._writer = None
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


def describe(root: Path, shards: Sequence[tuple[Path, int]]) -> list[ShardEntry]:
    """The manifest's entries of shards, given as (path, rows)."""
    return [
        ShardEntry(path=path.relative_to(root).as_posix(), sha256=sha256_file(path), rows=rows)
        for path, rows in shards
    ]
