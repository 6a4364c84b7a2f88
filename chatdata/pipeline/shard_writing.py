"""The writing of a shard, which a worker does: from rows of parts, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from chatdata.core.hashing import sha256_file
from chatdata.dataset import shards, tables
from chatdata.pipeline import partitions
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.stage import Reads, Stage


@dataclass(frozen=True, slots=True)
class RowsOfFile:
    """Some rows of a file of the work folder."""

    name: str
    first: int
    rows: int

    def until(self, rows: int) -> RowsOfFile:
        """The first of them, so many."""
        return RowsOfFile(self.name, self.first, rows)

    def behind(self, rows: int) -> RowsOfFile:
        """Those behind the first, so many."""
        return RowsOfFile(self.name, self.first + rows, self.rows - rows)


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to be written: its rows, and how many of them each row group has."""

    table: str
    split: str
    number: int
    rows: tuple[RowsOfFile, ...]
    groups: tuple[int, ...]
    bytes: int

    def path(self, context: BuildContext) -> Path:
        """Where the shard is written, until all have their names."""
        return context.files.folder / f"{self.table}-{self.split}-{self.number:05d}.parquet"


def _write(context: BuildContext, task: ShardTask) -> str:
    """Writes a shard. Returns the SHA-256 of its file."""
    table = tables.stored(task.table)
    schema = table.schema_with(context.columns)
    rows = (table.complete(_load(context, some), schema) for some in task.rows)
    shards.write(task.path(context), schema, _cut(rows, task.groups))
    return sha256_file(task.path(context))


def _load(context: BuildContext, some: RowsOfFile) -> pa.Table:
    return partitions.load(context.files.folder / some.name).slice(some.first, some.rows)


def _cut(tables: Iterator[pa.Table], groups: Iterable[int]) -> Iterator[pa.Table]:
    """Yields the rows of tables in groups of so many. A table is let go once its rows are taken."""
    left = next(tables)
    for rows in groups:
        while left.num_rows < rows:
            left = pa.concat_tables([left, next(tables)])
        yield left.slice(0, rows)
        left = left.slice(rows)


def _reads(context: BuildContext, task: ShardTask) -> Reads:
    return Reads(tuple(context.files.folder / some.name for some in task.rows))


def _writes(context: BuildContext, task: ShardTask) -> tuple[Path, ...]:
    return (task.path(context),)


# What it makes is the output of a build, of which no cache keeps anything.
WRITING: Stage[ShardTask, str] = Stage(
    "writing", _write, frozenset(), _reads, _writes, parts_of_context=frozenset(["columns"])
)
