"""The columns of the Parquet files of a dataset."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from chatdata.core import ledger, template_variables, train_parts

# Ids are never null, and Parquet is written faster where it knows.
IDS = pa.list_(pa.field("element", pa.int32(), nullable=False))
FLOATS = pa.list_(pa.field("element", pa.float32(), nullable=False))
NAMES = pa.list_(pa.string())

# Columns and keys of JSON text, which the card declares as JSON: `datasets` 5 gives objects. A
# struct would give each call of a tool the arguments of all others, as nulls; Arrow's type for JSON
# is bytes for Polars, or a type that Polars cannot write.
JSON = frozenset(["tool_calls", "tools", template_variables.KEY])

WEIGHT, WEIGHTS = "weight", "weights"  # of a message, and of the tokens of a row

_MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning_content", pa.string()),
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
        ("train", pa.bool_()),
        (WEIGHT, pa.float64()),  # only where an answer of the folder has any but 1; null is 1
        (train_parts.KEY, NAMES),  # only where an answer of the folder has any; null is all
    ]
)
_CONVERSATION = [(name, pa.string()) for name in ("id", "group", "source", "lang")]
# The last column stands in folders of which a conversation has variables for its template.
MESSAGES = pa.schema(
    [
        *_CONVERSATION,
        ("messages", pa.list_(_MESSAGE)),
        ("tools", pa.string()),
        (template_variables.KEY, pa.string()),
    ]
)
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
        (WEIGHTS, FLOATS),  # only where an answer of the folder has any but 1
    ]
)
# A message of a pair: whether it is learnt is said by its place.
_PAIR_MESSAGE = pa.struct(list(_MESSAGE)[:6])
PAIRS = pa.schema(
    [
        *_CONVERSATION,
        ("question", pa.string()),
        *((name, pa.list_(_PAIR_MESSAGE)) for name in ("prompt", "chosen", "rejected")),
        ("tools", pa.string()),
        ("chosen_rank", pa.int64()),
        ("rejected_rank", pa.int64()),
    ]
)
RANKED = pa.schema(
    [
        *_CONVERSATION,
        *((name, pa.list_(_PAIR_MESSAGE)) for name in ("prompt", "answers")),
        ("ranks", pa.list_(pa.int64())),
        ("tools", pa.string()),
    ]
)
# Both sides are whole: the ids of the prompt, the same `prompt_length` of them, and of the answer.
PAIR_TOKENS = pa.schema(
    [
        ("id", pa.string()),
        ("prompt_length", pa.int32()),
        *((f"{side}_{what}", IDS) for side in ("chosen", "rejected") for what in ("ids", "labels")),
    ]
)
# Columns and keys of messages that stand in some folders only.
OPTIONAL = frozenset([template_variables.KEY, WEIGHT, WEIGHTS, train_parts.KEY])
OPTIONAL_KEYS = frozenset([WEIGHT, train_parts.KEY])  # of messages


def without(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    """The columns of a table, and the keys of its messages, that do not have these names."""
    return pa.schema(
        [pa.field(c.name, _without(c.type, names)) for c in schema if c.name not in names]
    )


def _without(kind: pa.DataType, names: Collection[str]) -> pa.DataType:
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return kind
    return pa.list_(pa.struct([key for key in kind.value_type if key.name not in names]))


# The columns of TOKENS without those that follow from the others.
TOKENS_IN_SHORT = without(TOKENS, ["attention_mask", WEIGHTS])
LEDGER = pa.schema([(name, pa.string()) for name in ledger.SCHEMA])
DROPPED = pa.schema(
    [(name, pa.int32() if name == "position" else pa.string()) for name in ledger.DROPPED]
)
PACK_INDEX = pa.schema([("rows", IDS), ("tokens", pa.int32())])  # a row is a bin
