"""The shards of a dataset, written while later parts are still being made."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from chatdata.dataset import shards
from chatdata.dataset.entries import ShardEntry
from chatdata.dataset.shards import Shards
from chatdata.dataset.tables import Table
from chatdata.pipeline import partitions
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.stats import PartStats

_WAITING = 16  # parts, or tables of rows: more of them would fill the disk, or the memory


class OutputWriter:
    """Writes some tables of parts as shards, in a thread. Where much waits for the thread already,
    what is added waits too."""

    def __init__(self, context: BuildContext, folder: Path, written: Sequence[Table]) -> None:
        self._files, self._folder = context.files, folder
        self._writers = {
            (table, split): Shards(folder / table.name, split, table.schema_with(context.columns))
            for table in written
            for split in table.splits
        }
        self._writing: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, "chatdata-write")

    def add(self, part: int) -> None:
        """Writes a part after the parts that were added before."""
        self._later(self._add, part)

    def add_all(self, parts: Iterable[PartStats]) -> PartStats:
        """Writes parts as they come, numbered from 0. Returns the figures of all of them."""
        stats = PartStats()
        for number, part in enumerate(parts):
            self.add(number)
            stats += part
        return stats

    def add_entries(self, table: Table, entries: pl.DataFrame) -> None:
        """Writes rows of a ledger after those that were added before."""
        (split,) = table.splits
        self._later(self._add_rows, table, split, entries.to_arrow().cast(table.schema))

    def add_rows(self, table: Table, split: str, load: Callable[[], pa.Table]) -> None:
        """Writes the rows that `load` gives after those that were added before."""
        self._later(self._load, table, split, load)

    def add_file(self, table: Table, path: Path) -> None:
        """Writes the rows of a file of `partitions` after those that were added before, if there is
        such a file."""
        self._later(self._add_file, table, path)

    def finish(self) -> tuple[ShardEntry, ...]:
        """Waits until all is written. Returns the manifest's entries for the files, which has none
        for tables that are local."""
        self._wait()
        finished = {place: writer.finish() for place, writer in self._writers.items()}
        return tuple(
            entry
            for (table, _), written in finished.items()
            if not table.is_local
            for entry in shards.describe(self._folder, written)
        )

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[OutputWriter]:
        """The writer, which removes all that was written if the block fails."""
        try:
            yield self
        except BaseException:
            self._thread.shutdown(cancel_futures=True)
            for writer in self._writers.values():
                writer.discard()
            raise

    def _later(self, function: Callable[..., None], *arguments: Any) -> None:
        self._writing.append(self._thread.submit(function, *arguments))
        while len(self._writing) > _WAITING:
            self._writing.popleft().result()

    def _wait(self) -> None:
        self._thread.shutdown()
        for written in self._writing:
            written.result()

    def _add(self, part: int) -> None:
        for table, split in self._writers:
            path = self._files.table(table.part(split), part)
            rows = partitions.load(path) if path.is_file() else None
            if rows is not None and rows.num_rows:  # pyarrow imports pandas to combine none
                schema = self._writers[table, split].schema
                self._add_rows(table, split, table.complete(rows, schema))
            with contextlib.suppress(OSError):  # nothing reads it again, and the disk has room
                path.unlink(missing_ok=True)

    def _load(self, table: Table, split: str, load: Callable[[], pa.Table]) -> None:
        self._add_rows(table, split, load())

    def _add_file(self, table: Table, path: Path) -> None:
        (split,) = table.splits
        for batch in partitions.batches(path):
            self._add_rows(table, split, batch)

    def _add_rows(self, table: Table, split: str, rows: pa.Table) -> None:
        self._writers[table, split].add(rows, table.row_bytes(rows))
