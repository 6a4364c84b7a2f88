"""Parts of a build: frames spread over files by a hash of their group, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.hashing import hash_column

_FLUSH_ROWS = 10_000


def part_of(groups: pl.Series, parts: int) -> pl.Series:
    """The part of each group: a range of its hash, so that parts in order are hashes in order."""
    high_bits = hash_column(groups, "order") // 2**32
    return (high_bits * parts // 2**32).cast(pl.Int32)


@dataclass
class Spool:
    """Spreads frames of one schema over `parts` folders of files, in bounded memory."""

    folder: Path
    parts: int
    _waiting: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    _rows: int = 0
    _file: int = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Adds the rows to their parts; needs a column `group`."""
        spread = rows.with_columns(part=part_of(rows["group"], self.parts))
        for (part,), own in spread.partition_by("part", as_dict=True, include_key=False).items():
            self._waiting.setdefault(int(part), []).append(own)
        self._rows += rows.height
        if self._rows >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what is held in memory."""
        for part, frames in self._waiting.items():
            folder = self.folder / f"{part:05d}"
            folder.mkdir(parents=True, exist_ok=True)
            pl.concat(frames).write_ipc(folder / f"{self._file:05d}.arrow")
        self._waiting, self._rows = {}, 0
        self._file += 1


def spooled(folder: Path, part: int) -> Iterator[pl.DataFrame]:
    """Yields the frames of a part in the order in which they were added."""
    for path in sorted((folder / f"{part:05d}").glob("*.arrow")):
        yield pl.read_ipc(path)


def save(table: pa.Table, path: Path) -> None:
    """Writes an Arrow table."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def load(path: Path) -> pa.Table:
    """Reads an Arrow table, memory-mapped."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
