"""The parts of a build on disk: rows spread over them by a hash of their group, and read back.

Over many parts rows are spread in two steps: over buckets first, each of parts that follow each
other, and then each bucket over its parts. In one step each file would have a piece for each part,
and so many pieces, however small, would cost more than the rows in them.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.core.hashing import hash_column

_FILE_BYTES = 16 * 2**20  # of rows in memory
ONE_STEP = 256  # parts, at most, over which rows are spread at once


@dataclass(frozen=True, slots=True)
class Batches:
    """Of the files of a PartitionWriter in a folder the batches of this number."""

    folder: Path
    number: int


@dataclass(frozen=True, slots=True)
class PartitionFiles:
    """Where the tables of a build stand while it runs, and over how many parts they are spread.

    `per_bucket` is how many parts a bucket has; 1: rows are spread over the parts in one step.
    """

    folder: Path
    parts: int
    per_bucket: int = 1

    def table(self, kind: str, part: int) -> Path:
        """The file of a table of a part."""
        return self.folder / f"{kind}-{part:05d}.arrow"

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return self.parts // self.per_bucket

    def messages(self, source: int) -> Path:
        """The folder of the messages of a source, by its number in the recipe, spread over the
        buckets."""
        return self.folder / f"read-{source}"

    def bucket(self, source: int, bucket: int) -> Path:
        """The folder of the messages of a source in a bucket, spread over its parts."""
        return self.folder / f"read-{source}-{bucket:05d}"

    def messages_of(self, source: int, part: int) -> Batches:
        """The messages of a source in a part."""
        if self.per_bucket == 1:
            return Batches(self.messages(source), part)
        bucket, number = divmod(part, self.per_bucket)
        return Batches(self.bucket(source, bucket), number)

    def split_problems(self, source: int, split: int) -> Path:
        """The file of what became no row in a split of a source."""
        return self.folder / f"problems-{source}-{split:06d}.arrow"

    def split_names(self, source: int, split: int) -> Path:
        """The file of the hashes of ids and groups in a split of a source."""
        return self.folder / f"names-{source}-{split:06d}.npy"

    def unpacked(self, source: int) -> Path:
        """The folder of what the archives of a source hold, while they are read."""
        return self.folder / f"unpacked-{source}"

    def remove_messages(self, sources: int) -> None:
        """Removes the messages of so many sources, which the first pass has read."""
        for source in range(sources):
            buckets = (self.bucket(source, bucket) for bucket in range(self.buckets))
            for folder in (self.messages(source), *buckets):
                shutil.rmtree(folder, ignore_errors=True)

    def spared(self, part: int) -> Path:
        """The file of what the first pass keeps by hand in a part."""
        return self.table("spared", part)

    @property
    def forget(self) -> Path:
        """The file of the ids that the recipe takes out."""
        return self.folder / "forget.arrow"

    @property
    def problems(self) -> Path:
        """The file of what became no row, with its words."""
        return self.folder / "problems.arrow"

    @property
    def columns(self) -> Path:
        """The folder of what is prepared for the columns that filters declare."""
        return self.folder / "columns"

    @property
    def tokenizer(self) -> Path:
        """The folder of a tokenizer whose own chat template is resolved for this build."""
        return self.folder / "tokenizer"


def per_bucket(parts: int) -> int:
    """How many of `parts`, a power of two, are in a bucket: about as many as there are buckets."""
    return 1 if parts <= ONE_STEP else 1 << (parts.bit_length() - 1) // 2


def part_of(groups: pl.Series, parts: int) -> pl.Series:
    """The part of each group: a range of its hash, so that parts in order are hashes in order."""
    high_bits = hash_column(groups, "order") // 2**32
    return (high_bits * parts // 2**32).cast(pl.Int32)


@dataclass
class PartitionWriter:
    """Spreads frames of one schema over `parts`, or over those of them that are in `within`, in
    files of bounded size.

    A file holds the rows of all parts, one part after the other, so there are as many files as
    the memory for one of them makes necessary, however many parts there are.
    """

    folder: Path
    parts: int
    name: str = ""  # before the numbers of the files
    within: range | None = None
    rows: int = 0  # that were added
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _bytes: int = 0
    _file: int = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Adds the rows to their parts; needs a column `group`."""
        self._waiting.append(rows.with_columns(part=part_of(rows["group"], self.parts)))
        self._bytes += int(rows.estimated_size())
        self.rows += rows.height
        if self._bytes >= _FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that wait in memory."""
        if not any(rows.height for rows in self._waiting):
            return
        rows = pl.concat(self._waiting).sort("part", maintain_order=True)
        written = self.within or range(self.parts)
        numbers = pl.int_range(written.start, written.stop, dtype=pl.Int32, eager=True)
        ends = rows["part"].search_sorted(numbers, side="right")
        self.folder.mkdir(exist_ok=True)
        _write(rows.drop("part"), ends.to_list(), self._path())
        self._waiting, self._bytes = [], 0
        self._file += 1

    def _path(self) -> Path:
        return self.folder / f"{self.name}{self._file:05d}.arrow"


def _write(rows: pl.DataFrame, ends: Sequence[int], path: Path) -> None:
    """Writes a file with a record batch for each part, empty ones too: its number is the part's."""
    # Not views of strings: the batch of a part would take the bytes of all parts along.
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    (batch,) = table.combine_chunks().to_batches()
    nothing = pa.RecordBatch.from_arrays([*map(_empty, batch.columns)], schema=batch.schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for start, end in itertools.pairwise([0, *ends]):
            writer.write_batch(batch.slice(start, end - start) if start < end else nothing)


def _empty(column: pa.Array) -> pa.Array:
    """A column without values. A slice of none would be written with the offsets of all values."""
    if pa.types.is_dictionary(column.type):  # of which a file has one
        return column.slice(0, 0)
    return pa.nulls(0, column.type)  # `pa.array` would import pandas


def read(batches: Batches) -> Iterator[pl.DataFrame]:
    """Yields what a PartitionWriter wrote of a part, in the order of its adding."""
    for _, batch in each(batches):
        yield pl.DataFrame(batch)


def each(batches: Batches) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Yields the files of a PartitionWriter, in order, each with its batch of the number, which is
    memory-mapped. A file of one batch is one that holds this batch alone."""
    for path in sorted(batches.folder.glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            is_alone = reader.num_record_batches == 1
            yield path, reader.get_batch(0 if is_alone else batches.number)


class Appended:
    """A file to which tables of one schema are added, read back by `batches`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Adds the rows of a table. The first of them makes the file."""
        if not table.num_rows:
            return
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), self._schema)
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        """Makes the file whole, where there is one."""
        if self._writer is not None:
            self._writer.close()


def batches(path: Path) -> Iterator[pa.Table]:
    """Yields the rows of a file of tables, memory-mapped, a batch at a time; nothing where there is
    no file."""
    if path.is_file():
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])


def save(table: pa.Table, path: Path) -> None:
    """Writes an Arrow table."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def save_frame(table: pl.DataFrame, path: Path) -> None:
    """Writes a table: equal tables as equal bytes, whatever they were made of."""
    table.rechunk().write_ipc(path, compat_level=pl.CompatLevel.oldest())


def load(path: Path) -> pa.Table:
    """Reads an Arrow table, memory-mapped."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
