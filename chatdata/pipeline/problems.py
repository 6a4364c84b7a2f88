"""What became no row, of all sources: in a file, in the order in which it was read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from chatdata.core import ledger
from chatdata.core.tallies import Tally
from chatdata.dataset import tables
from chatdata.pipeline import partitions

_ROWS = 200_000  # of entries that are sorted at a time
_COLUMNS = [name for name in ledger.SCHEMA if name != "outcome"]


@dataclass(frozen=True, slots=True)
class Problems:
    """The file of `partitions` with rows of DROPPED, which may be missing, and their tally."""

    path: Path
    tally: Tally = field(default_factory=Tally)

    def find(self, id: str) -> dict[str, Any] | None:
        """The first row with an id; None where no row has it."""
        for rows in self._batches():
            for row in rows.filter(id=id).head(1).iter_rows(named=True):
                return row
        return None

    def entries(self) -> Iterator[pa.Table]:
        """Yields rows of the ledger, each time so many that they fit into memory; all of them
        one after the other are sorted as `ledger.entries` sorts."""
        ends = [*self._ends(), None]
        for start, end in zip([None, *ends], ends, strict=False):
            yield self._entries(start, end)

    def _ends(self) -> list[str]:
        """The keys at which the ranges of rows end that are sorted at a time."""
        number = sum(counts.total() for counts in self.tally.dropped.values())
        if number <= _ROWS:
            return []
        keys = pl.concat([rows.select(_KEY).gather_every(64) for rows in self._batches()])
        sample = keys["key"].sort()
        ranges = number // _ROWS + 1
        places = [sample.len() * at // ranges for at in range(1, ranges)]
        return sample[places].unique(maintain_order=True).to_list()

    def _entries(self, start: str | None, end: str | None) -> pa.Table:
        """The rows of the ledger from a key up to another."""
        is_in = pl.lit(True)
        is_in = is_in if start is None else is_in & (start <= _KEY)
        is_in = is_in if end is None else is_in & (end > _KEY)
        rows = [rows.filter(is_in) for rows in self._batches()]
        outcomes = pl.concat([pl.DataFrame(schema=_SCHEMA), *rows])
        outcomes = outcomes.with_columns(left_by=pl.lit(None, pl.String))
        return ledger.entries(outcomes).to_arrow().cast(tables.LEDGER.schema)

    def _batches(self) -> Iterator[pl.DataFrame]:
        for batch in partitions.batches(self.path):
            yield pl.DataFrame(batch.select(_COLUMNS)).cast(pl.String)


_SCHEMA = dict.fromkeys(_COLUMNS, pl.String)
_KEY = pl.concat_str("unit", "id", separator=" ").alias("key")
