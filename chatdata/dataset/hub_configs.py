"""The configs of a published dataset: the names of its tables in `load_dataset`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chatdata.dataset import schemas, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import Table

DEFAULT = "messages"


@dataclass(frozen=True, slots=True)
class Config:
    """A table and its name in `load_dataset`, with rows and bytes of each split that has rows.

    `schema` are the columns of the table in the folder.
    """

    name: str
    table: Table
    schema: pa.Schema
    rows: dict[str, int]
    bytes: dict[str, int]


def of(manifest: Manifest) -> list[Config]:
    """The configs of a dataset: its tables that have a name in `load_dataset`."""
    named = [(table.config(manifest), table) for table in tables.of(manifest)]
    return [_config(name, table, manifest) for name, table in named if name is not None]


def _config(name: str, table: Table, manifest: Manifest) -> Config:
    figures = table.figures(manifest)
    sizes = {split: table.size(entry) for split, entry in figures.items() if entry.rows}
    rows = {split: size.rows for split, size in sizes.items()}
    bytes_ = {split: size.bytes for split, size in sizes.items()}
    return Config(name, table, table.schema_of(manifest), rows, bytes_)


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns of a table as the YAML of a dataset card has them.

    The features make `datasets` read every shard as the same types, whatever wrote the shard.
    """
    return [_feature(column) for column in schema]


def _feature(column: pa.Field) -> dict[str, Any]:
    if not pa.types.is_list(column.type):
        kind = "json" if column.name in schemas.JSON else _kind(column.type)
        return {"name": column.name, "dtype": kind}
    inner = column.type.value_type
    if pa.types.is_struct(inner):
        return {"name": column.name, "list": [_feature(field) for field in inner]}
    return {"name": column.name, "list": _kind(inner)}


def _kind(type: pa.DataType) -> str:
    """A type as `datasets` calls it."""
    return {"float": "float32", "double": "float64"}.get(str(type), str(type))
