"""Rows of a Parquet file as JSON values, as if they had been written as JSON.

Arrow gives all structs of a column the same fields, and fills the fields that a value never had
with null: such nulls are taken out again. A field of Arrow's type `arrow.json`, as `datasets` 5 and
chatdata write, holds JSON in a string: it is parsed, and keeps the nulls that were written in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chatdata.sources import tool_json

if TYPE_CHECKING:
    import pyarrow as pa

Reader = Callable[[Any], Any]
# The fields by which a turn is recognised stay in a turn, also where they are null.
_TURN = frozenset(["role", "content", "from", "value", "human", "assistant"])


# Columns that some source reads: a row with a bad value in any of them is not read.
_READ = frozenset(
    [
        "messages",
        "conversations",
        "conversation",
        "items",
        "id",
        "conversation_id",
        "group",
        "source",
        "lang",
        "system",
        "system_prompt",
        "tools",
        "functions",
        "prompt",
        "completion",
        "instruction",
        "response",
        "output",
        "context",
        "input",
        "history",
        "content",
        "label",
        "chosen",
        "rejected",
        "preferred_output",
        "non_preferred_output",
        "kto_tag",
        "chat_template_kwargs",
        "reasoning",
        "reasoning_content",
        "thinking",
        "images",
        "documents",
        "audio",
        "videos",
        "text",
        "role",
        "message_id",
        "user_message_id",
        "parent_id",
        "parent_message_id",
        "message_tree_id",
        "replies",
        "thread",
        "rank",
        "created_date",
        "deleted",
        "review_result",
        "synthetic",
        "tree_state",
    ]
)


def rows(batch: pa.RecordBatch, keys: Collection[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields (row, fault): a value that is no text or date is null where nobody reads the column,
    else a fault, in words. `keys` are columns that are read beside those that sources read."""
    try:
        yield from [(row, "") for row in batch.to_pylist()]
    except (ValueError, OverflowError):
        for number in range(batch.num_rows):
            yield _row(batch, number, _READ.union(keys))


def _row(batch: pa.RecordBatch, number: int, read: Collection[str]) -> tuple[dict[str, Any], str]:
    row, fault = {}, ""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[number].as_py()
        except (ValueError, OverflowError) as error:
            row[name] = None
            is_text = isinstance(error, UnicodeDecodeError)
            kind = "text that is not UTF-8" if is_text else "a value out of range"
            fault = fault or (f"column '{name}' holds {kind}" if name in read else "")
    return row, fault


def reader(schema: pa.Schema) -> Reader:
    """What makes a JSON value of a row of this schema; nulls of the row as a whole stay."""
    readers = _readers({field.name: field.type for field in schema}, depth=0)
    if not readers:
        return lambda row: row
    return lambda row: {**row, **{name: read(row[name]) for name, read in readers.items()}}


def _reader(type: pa.DataType, depth: int) -> Reader | None:
    """What makes a JSON value of a value of this type; None where nothing is to be done."""
    from pyarrow import types

    if getattr(type, "extension_name", "") == "arrow.json":
        return tool_json.parsed
    if types.is_list(type) or types.is_large_list(type):
        read = _reader(type.value_type, depth)
        return read and (lambda values: values and [read(value) for value in values])
    return _struct(type, depth + 1) if types.is_struct(type) else None


def _readers(types: Mapping[str, pa.DataType], depth: int) -> dict[str, Reader]:
    by_name = {name: _reader(type, depth) for name, type in types.items()}
    return {name: read for name, read in by_name.items() if read}


def _struct(type: pa.StructType, depth: int) -> Reader | None:
    types = {field.name: field.type for field in type}
    stay = _TURN if depth == 1 else frozenset()
    readers = _readers(types, depth)
    if not readers and types.keys() <= stay:
        return None  # a plain turn, as most are

    def read(struct: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if struct is None:
            return None
        return {
            name: readers[name](value) if name in readers else value
            for name, value in struct.items()
            if value is not None or name in stay
        }

    return read
