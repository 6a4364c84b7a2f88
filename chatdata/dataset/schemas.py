"""The columns of the Parquet files of a dataset."""

from __future__ import annotations

import pyarrow as pa

from chatdata.core import ledger

# Ids are never null, and Parquet is written faster where it knows.
IDS = pa.list_(pa.field("element", pa.int32(), nullable=False))

MESSAGES = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)
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
