"""The columns of the Parquet files of a dataset."""

from __future__ import annotations

import pyarrow as pa

from chatdata.core import ledger

# Ids are never null, and Parquet is written faster where it knows.
IDS = pa.list_(pa.field("element", pa.int32(), nullable=False))

# JSON text that `datasets` and DuckDB read as objects. A struct would give every call of a tool the
# arguments of all others, as nulls.
JSON = pa.json_(pa.string())

_MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning_content", pa.string()),
        ("tool_calls", JSON),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
        ("train", pa.bool_()),
    ]
)
_CONVERSATION = [(name, pa.string()) for name in ("id", "group", "source", "lang")]
MESSAGES = pa.schema([*_CONVERSATION, ("messages", pa.list_(_MESSAGE)), ("tools", JSON)])
# Format 1: a message is its role and its content.
_PLAIN_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
PLAIN_MESSAGES = pa.schema([*_CONVERSATION, ("messages", pa.list_(_PLAIN_MESSAGE))])
TOKENS = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", IDS),
        ("attention_mask", IDS),
        ("labels", IDS),
        ("length", pa.int32()),
        ("trained", pa.int32()),
    ]
)
# The columns of TOKENS without those that follow from the others.
TOKENS_IN_SHORT = TOKENS.remove(TOKENS.get_field_index("attention_mask"))
LEDGER = pa.schema([(name, pa.string()) for name in ledger.SCHEMA])
PACK_INDEX = pa.schema([("rows", IDS), ("tokens", pa.int32())])  # a row is a bin
