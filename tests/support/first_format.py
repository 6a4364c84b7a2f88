"""Folders as format 1 had them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.dataset.schemas import PLAIN_MESSAGES


def as_format_1(folder: Path, to: Path) -> Path:
    """A copy of a folder whose messages are role and content alone, as format 1 had them, and whose
    ledger names no turns."""
    shutil.copytree(folder, to)
    for path in (to / "messages").iterdir():
        rows = pq.read_table(path)
        turns = [
            [{key: turn[key] for key in ("role", "content")} for turn in row]
            for row in rows["messages"].to_pylist()
        ]
        rows = rows.drop_columns(["tools", "messages"]).append_column("messages", pa.array(turns))
        pq.write_table(rows.cast(PLAIN_MESSAGES), path)
    (path,) = (to / "ledger").iterdir()
    entries = pl.read_parquet(path)
    is_turn = pl.col("detail").str.starts_with("turn ")
    entries = entries.with_columns(detail=pl.when(is_turn.not_()).then("detail"))
    entries.write_parquet(path)
    values = json.loads((to / "manifest.json").read_text())
    (to / "manifest.json").write_text(json.dumps({**values, "format": 1}))
    return to
