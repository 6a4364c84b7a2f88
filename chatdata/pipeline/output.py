"""The shards of a dataset, written while later parts are still being made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from chatdata.core import ledger
from chatdata.dataset import rows, shards
from chatdata.dataset.manifest import ShardEntry
from chatdata.dataset.shards import Shards
from chatdata.pipeline import partitions
from chatdata.pipeline.context import BuildContext
from chatdata.steps import split

_COLUMNS = {"messages": shards.MESSAGES, "tokens": shards.TOKENS}
_SIZES = {"messages": rows.message_bytes, "tokens": rows.token_bytes}


class OutputWriter:
    """Writes the tables of parts as shards, in a thread."""

    def __init__(self, context: BuildContext, folder: Path, problems: pl.DataFrame) -> None:
        self._files, self._folder = context.files, folder
        self._shards = {
            (kind, name): Shards(folder / kind, name, columns)
            for kind, columns in _COLUMNS.items()
            for name in split.SPLITS
        }
        self._ledger = Shards(folder / "ledger", "ledger", shards.LEDGER)
        self._writing: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(1, "chatdata-write")
        self._later(self._add_ledger, ledger.entries(problems).to_arrow().cast(shards.LEDGER))

    def add(self, part: int) -> None:
        """Writes a part after the parts that were added before. Returns at once."""
        self._later(self._add, part)

    def finish(self) -> tuple[ShardEntry, ...]:
        """Waits until all is written. Returns the manifest's entries for the files."""
        self._wait()
        return tuple(
            entry
            for writer in [*self._shards.values(), self._ledger]
            for entry in shards.describe(self._folder, writer.finish())
        )

    def discard(self) -> None:
        """Removes all that was written."""
        self._wait()
        for writer in [*self._shards.values(), self._ledger]:
            writer.discard()

    def _later(self, function: Callable[..., None], argument: Any) -> None:
        self._writing.append(self._thread.submit(function, argument))

    def _wait(self) -> None:
        self._thread.shutdown()
        for written in self._writing:
            written.result()

    def _add(self, part: int) -> None:
        self._add_ledger(partitions.load(self._files.table("ledger", part)))
        for (kind, name), writer in self._shards.items():
            path = self._files.table(f"{kind}-{name}", part)
            if path.is_file():
                table = partitions.load(path)
                table = rows.with_attention(table) if kind == "tokens" else table
                writer.add(table, _SIZES[kind](table))

    def _add_ledger(self, table: pa.Table) -> None:
        self._ledger.add(table, rows.ledger_bytes(table))
