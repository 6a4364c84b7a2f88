"""The Parquet shards of a table: written, named and listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.hashing import sha256_file
from chatdata.dataset.entries import ShardEntry

SHARD_BYTES = 256 * 2**20  # of Arrow data; about 100 MB of Parquet
ROW_GROUP = 1024  # rows

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_content_defined_chunking": True,  # so that the Hub stores only what changed
    "write_page_index": True,
    "store_schema": False,  # the Arrow schema names no version then
}


@dataclass
class Shards:
    """Writes the rows of a table and a split as numbered Parquet files.

    The ends of shards and row groups depend on the rows alone, whatever batches the rows come in.
    """

    folder: Path
    split: str
    schema: pa.Schema
    rows: list[int] = field(default_factory=list)
    _waiting: list[pa.Table] = field(default_factory=list)
    _bytes: int = 0
    _shard: int = 0
    _writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table, row_bytes: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Adds rows; `row_bytes` is the size of each, which decides where a shard ends."""
        if not table.num_rows:
            return
        shards = (self._bytes + np.cumsum(row_bytes) - row_bytes) // SHARD_BYTES
        start = 0
        for end in np.flatnonzero(np.diff(shards, prepend=self._shard)).tolist():
            self._put(table.slice(start, end - start))
            self._close()
            start = end
        self._put(table.slice(start))
        self._bytes += int(row_bytes.sum())
        self._shard = int(shards[-1])

    def finish(self) -> list[tuple[Path, int]]:
        """Closes the last shard and names all. Returns (path, rows) of each."""
        self._close()
        number = len(self.rows)
        named = []
        for shard, rows in enumerate(self.rows):
            path = self.folder / name(self.split, shard, number)
            self._path(shard).rename(path)
            named.append((path, rows))
        return named

    def discard(self) -> None:
        """Removes what was written."""
        self._waiting = []
        self._close()
        for shard in range(len(self.rows)):
            self._path(shard).unlink()

    def _path(self, shard: int) -> Path:
        return self.folder / f".{self.split}-{shard:05d}.partial"

    def _put(self, table: pa.Table) -> None:
        self._waiting.append(table)
        while sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            rows = pa.concat_tables(self._waiting)
            self._write(rows.slice(0, ROW_GROUP))
            self._waiting = [rows.slice(ROW_GROUP)]

    def _write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self.folder.mkdir(exist_ok=True)
            words = [column.name for column in self.schema if pa.types.is_string(column.type)]
            self._writer = pq.ParquetWriter(
                self._path(len(self.rows)), self.schema, use_dictionary=words, **PARQUET
            )
            self.rows.append(0)
        self._writer.write_table(rows.combine_chunks(), row_group_size=ROW_GROUP)
        self.rows[-1] += rows.num_rows

    def _close(self) -> None:
        rest = pa.concat_tables(self._waiting) if self._waiting else None
        self._waiting = []
        if rest is not None and rest.num_rows:
            self._write(rest)
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def name(split: str, shard: int, shards: int) -> str:
    """The name of a shard of a split, of so many."""
    return f"{split}-{shard:05d}-of-{shards:05d}.parquet"


def describe(root: Path, shards: Sequence[tuple[Path, int]]) -> list[ShardEntry]:
    """The manifest's entries of shards, given as (path, rows)."""
    return [
        ShardEntry(path=path.relative_to(root).as_posix(), sha256=sha256_file(path), rows=rows)
        for path, rows in shards
    ]
