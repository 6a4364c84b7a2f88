"""What the tables of a dataset are called where it is published: the configs of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chatdata.dataset import tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import Table

DEFAULT = "messages"


@dataclass(frozen=True, slots=True)
class Config:
    """A table, its name in `load_dataset`, and for each split that has any, the rows and the
    bytes of their data."""

    name: str
    table: Table
    rows: dict[str, int]
    bytes: dict[str, int]


def of(manifest: Manifest) -> list[Config]:
    """The configs of a dataset: those of its tables that have a name there."""
    named = [(table.config(manifest), table) for table in tables.TABLES]
    return [_config(name, table, manifest) for name, table in named if name is not None]


def _config(name: str, table: Table, manifest: Manifest) -> Config:
    sizes = {split: table.size(entry) for split, entry in manifest.splits.items() if entry.rows}
    rows = {split: size.rows for split, size in sizes.items()}
    return Config(name, table, rows, {split: size.bytes for split, size in sizes.items()})


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns of a table as the YAML of a dataset card has them.

    With them `datasets` reads every shard as the same types, whatever wrote it.
    """
    return [_feature(column) for column in schema]


def _feature(column: pa.Field) -> dict[str, Any]:
    if not pa.types.is_list(column.type):
        return {"name": column.name, "dtype": str(column.type)}
    inner = column.type.value_type
    if pa.types.is_struct(inner):
        return {"name": column.name, "list": [_feature(field) for field in inner]}
    return {"name": column.name, "list": str(inner)}
