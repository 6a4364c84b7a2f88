"""The columns of shards, checked by the footers alone before a command reads any row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.errors import OutputError
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import Table

_WAY_OUT = "build the folder again, or pull it again"


def shards(folder: Path, described: Manifest, table: Table, split: str | None = None) -> list[Path]:
    """The shards of a table in a folder with this manifest, of a split or of all, in order.

    Raises OutputError for the first of them that is no Parquet file, in which a column is missing
    or has another type, or which has only nulls where there never is any. More columns than those
    of the table are left to `verify`.
    """
    paths = [folder / shard.path for shard in table.shards(described.files, split)]
    expected = dict(_leaves(table.schema_of(described)))
    for path in paths:
        if fault := _fault(path, table, expected):
            raise OutputError(f"'{path}' {fault}; {_WAY_OUT}.")
    return paths


def _fault(path: Path, table: Table, expected: dict[str, str]) -> str | None:
    """What is wrong with a shard, in words."""
    try:
        with pq.ParquetFile(path) as file:
            actual, metadata = dict(_leaves(file.schema_arrow)), file.metadata
    except pa.ArrowException as error:
        return f"is not a Parquet file ({str(error).splitlines()[0]})"
    for name, kind in expected.items():
        if name not in actual:
            return f"has no column '{name}', which is {kind} in {table.name}"
        if actual[name] != kind:
            return f"has the column '{name}' as {actual[name]}, which is {kind} in {table.name}"
    empty = next((name for name in _empty(metadata) if name in table.filled), None)
    return empty and f"has nothing but nulls in the column '{empty}'"


def _leaves(fields: Iterable[pa.Field]) -> Iterator[tuple[str, str]]:
    """Yields the name and the type of each column, and of each key of the messages in a column."""
    for field in fields:
        yield from _leaf(field.name, field.type)


def _leaf(name: str, kind: pa.DataType) -> Iterator[tuple[str, str]]:
    if pa.types.is_struct(kind):
        yield from ((f"{name}.{key}", of_key) for key, of_key in _leaves(kind))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from ((inner, f"list of {of}") for inner, of in _leaf(name, kind.value_type))
    elif pa.types.is_dictionary(kind):
        yield from _leaf(name, kind.value_type)
    else:
        is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        yield name, "string" if is_text else str(kind)


def _empty(metadata: pq.FileMetaData) -> Iterator[str]:
    """Yields the names of the columns, and of keys of messages, that hold nothing but nulls."""
    for column in range(metadata.num_columns if metadata.num_rows else 0):
        groups = (metadata.row_group(n).column(column) for n in range(metadata.num_row_groups))
        if all(map(_is_null, groups)):  # mostly, the first group tells
            first, *inner = metadata.schema.column(column).path.split(".")
            yield ".".join([first, *inner[2:]])  # a list is `NAME.list.element`


def _is_null(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether a stretch of a column holds nothing but nulls, as far as its statistics say."""
    statistics = chunk.statistics
    if statistics is None or not statistics.has_null_count:
        return False
    return bool(statistics.null_count == chunk.num_values)
