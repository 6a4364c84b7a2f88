"""What was dropped, with its words: a table that stays on the machine that built it.

No manifest lists the table and nothing publishes it, so it is in no folder that was pulled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import ledger
from chatdata.dataset import reader, tables

_SHARD = re.compile(r"dropped/dropped-\d{5}-of-\d{5}\.parquet", re.ASCII)
_EXAMPLES = 3  # of rows with the same problem
_TOLD_TWICE = ("unit", "id", "conversation", "reason", "detail", "source")  # in the ledger, too


def is_shard(path: str) -> bool:
    """Whether a path in a dataset folder is that of a file of the table."""
    return _SHARD.fullmatch(path) is not None


def is_in(folder: Path) -> bool:
    """Whether a dataset folder has the table."""
    return bool(_shards(folder))


def scan(folder: Path) -> pl.LazyFrame:
    """The table of a dataset folder, as rows of `ledger.DROPPED`, in order; no rows without one."""
    nothing = pl.LazyFrame(schema=ledger.DROPPED)
    return pl.concat([nothing, *(pl.scan_parquet(path, glob=False) for path in _shards(folder))])


def _shards(folder: Path) -> list[Path]:
    files = tables.DROPPED.files_in(folder)
    return [path for path in files if is_shard(f"{tables.DROPPED.name}/{path.name}")]


def problems(folder: Path) -> Iterator[str]:
    """Yields, in words, where the table is not one of what the ledger says was dropped."""
    for path in _shards(folder):
        try:
            is_right = pq.read_schema(path).equals(tables.DROPPED.schema)
        except pa.ArrowException as error:
            yield f"dropped/{path.name}: is not a Parquet file ({error})"
            return
        if not is_right:
            yield f"dropped/{path.name}: does not have the columns of dropped"
            return
    yield from _unpaired(folder)


def _unpaired(folder: Path) -> Iterator[str]:
    """Yields where the rows of the table are not those of the ledger."""
    listed = reader.scan_ledger(folder).filter(outcome="dropped")
    held = scan(folder)
    if _fingerprint(listed) == _fingerprint(held):
        held.select(pl.col(ledger.WORDS).count()).collect()  # raises where words are damaged
        return
    key = ["unit", "id", "reason"]
    for rows, others, why in (
        (held, listed, "the ledger does not say so"),
        (listed, held, "its row is missing"),
    ):
        left = rows.join(others, on=key, how="anti", maintain_order="left", nulls_equal=True)
        names = left.select("id").head(_EXAMPLES).collect()["id"].to_list()
        yield from (f"dropped: '{name}' was dropped, but {why}" for name in names)
    yield "dropped: its rows are not those of the ledger"


def _fingerprint(rows: pl.LazyFrame) -> tuple[int, int]:
    """The number of rows, and a sum that rows in another order share."""
    hashes = pl.struct(_TOLD_TWICE).hash()
    number, total = rows.select(pl.len(), sum=hashes.sum()).collect().row(0)
    return number, total
