"""The way to keep what was dropped from a folder, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.dataset import manifest, reader
from chatdata.steps import ways


def to_keep(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """How what each row of a folder's ledger says was dropped could be kept; None for what was
    kept."""
    if not any(row["reason"] for row in rows):
        return [None for _ in rows]
    recipe = manifest.read(folder).recipe.as_json()
    is_culprit = (pl.col("unit") == "message") & pl.col("id").is_in(sorted(ways.culprits(rows)))
    blamed = reader.scan_ledger(folder).filter(is_culprit).select("id", "detail").collect()
    details = {id: detail or "" for id, detail in blamed.iter_rows()}
    return [ways.to_keep(row, recipe, details) if row["reason"] else None for row in rows]
