"""The rows of a part from which shards are written, with what is known of each where they are
planned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from chatdata.dataset import row_groups
from chatdata.dataset.row_groups import RowFacts
from chatdata.dataset.tables import Table
from chatdata.pipeline import partitions
from chatdata.pipeline.partitions import PartitionFiles


def save(files: PartitionFiles, part: int, table: Table, split: str, rows: pa.Table) -> None:
    """Writes the rows of a table and a split that a part has."""
    save_as(files.table(table.part(split), part), table, rows)


def save_as(path: Path, table: Table, rows: pa.Table) -> None:
    """Writes rows of a table into a file, and what is known of them into another beside it."""
    partitions.save(rows, path)
    if rows.num_rows:
        known = facts_of(table, rows)
        np.save(facts_file(path), np.stack([known.bytes, known.marks]))


def facts_of(table: Table, rows: pa.Table) -> RowFacts:
    """What is known of rows of a table."""
    return row_groups.facts_of(rows, table.row_bytes(rows))


def facts(path: Path) -> RowFacts:
    """What is known of the rows that `save_as` has written into a file."""
    known = facts_file(path)
    return RowFacts(*np.load(known)) if known.is_file() else row_groups.no_rows()


def facts_file(path: Path) -> Path:
    """The file of what is known of the rows of a file."""
    return path.with_suffix(".npy")
