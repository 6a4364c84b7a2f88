"""The shards of a dataset, written while later parts are still being made."""

from __future__ import annotations

import contextlib
import itertools
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
from chatdata.pipeline.stats import PartStats, total

_WAITING = 16  # parts, or rows, of a table: more of them would fill the disk, or the memory


class OutputWriter:
    """Writes some tables of parts as shards, in so many threads, of which each has its tables.
    Where much waits for a thread already, what is added waits too."""

    def __init__(
        self, context: BuildContext, folder: Path, written: Sequence[Table], threads: int = 1
    ) -> None:
        self._files, self._folder = context.files, folder
        self._shards = {
            (table, split): Shards(folder / table.name, split, table.schema_with(context.columns))
            for table in written
            for split in table.splits
        }
        self._threads = [
            ThreadPoolExecutor(1, "chatdata-write") for _ in range(min(threads, len(written)))
        ]
        self._thread_of = dict(zip(written, itertools.cycle(self._threads), strict=False))
        self._waiting: dict[Table, deque[Future[None]]] = {table: deque() for table in written}

    def add(self, part: int) -> None:
        """Writes a part after the parts that were added before."""
        for table in self._waiting:
            self._later(table, self._add, part)

    def add_all(self, parts: Iterable[PartStats]) -> PartStats:
        """Writes parts as they come, numbered from 0. Returns the figures of all of them."""
        return total(self._added(parts))

    def _added(self, parts: Iterable[PartStats]) -> Iterator[PartStats]:
        for number, part in enumerate(parts):
            self.add(number)
            yield part

    def add_entries(self, table: Table, entries: pl.DataFrame) -> None:
        """Writes rows of a ledger after those that were added before."""
        (split,) = table.splits
        self._later(table, self._add_rows, split, entries.to_arrow().cast(table.schema))

    def add_rows(self, table: Table, split: str, load: Callable[[], pa.Table]) -> None:
        """Writes the rows that `load` gives after those that were added before."""
        self._later(table, self._load, split, load)

    def add_file(self, table: Table, path: Path) -> None:
        """Writes the rows of a file of `partitions` after those that were added before, if there is
        such a file."""
        self._later(table, self._add_file, path)

    def finish(self) -> tuple[ShardEntry, ...]:
        """Waits until all is written. Returns the manifest's entries for the files, which has none
        for tables that are local."""
        for written in itertools.chain(*self._waiting.values()):
            written.result()
        finished = [
            self._thread_of[table].submit(self._finish, table, split)
            for table, split in self._shards
        ]
        for thread in self._threads:
            thread.shutdown()
        return tuple(entry for entries in finished for entry in entries.result())

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[OutputWriter]:
        """The writer, which removes all that was written if the block fails."""
        try:
            yield self
        except BaseException:
            for thread in self._threads:
                thread.shutdown(cancel_futures=True)
            for written in self._shards.values():
                written.discard()
            raise

    def _later(self, table: Table, function: Callable[..., None], *arguments: Any) -> None:
        """Calls a function of the table in its thread."""
        waiting = self._waiting[table]
        waiting.append(self._thread_of[table].submit(function, table, *arguments))
        while len(waiting) > _WAITING:
            waiting.popleft().result()

    def _finish(self, table: Table, split: str) -> list[ShardEntry]:
        """Makes the last shard of a split whole. Returns what the manifest says of all of them."""
        written = self._shards[table, split].finish()
        return [] if table.is_local else shards.describe(self._folder, written)

    def _add(self, table: Table, part: int) -> None:
        for split in table.splits:
            path = self._files.table(table.part(split), part)
            rows = partitions.load(path) if path.is_file() else None
            if rows is not None and rows.num_rows:  # pyarrow imports pandas to combine none
                schema = self._shards[table, split].schema
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
        self._shards[table, split].add(rows, table.row_bytes(rows))
