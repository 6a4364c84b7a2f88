"""The tables that steps hand to each other, with a row for each message.

Every step works on `MESSAGES`. A message is structured until a template writes it: its words, its
reasoning, its calls of tools. The arguments of a call are a JSON object whose keys keep their
order; what a message does not have is null. A source of trees yields `NODES` first (a message and
its parent); `threads` turns the nodes into rows of `MESSAGES`.
"""

from __future__ import annotations

import polars as pl

ROLES = ("system", "user", "assistant", "tool", "developer")
Role = pl.Enum(ROLES)

_MESSAGE: dict[str, pl.DataType | type[pl.DataType]] = {
    "message": pl.String,  # the source's id, or <conversation>#<position>
    "role": Role,  # null where the source has a role that is not known
    # The words alone. Null where a message only calls tools, and, with a `note`, where the source
    # has something that is not text.
    "content": pl.String,
    "reasoning": pl.String,  # the thought before the answer, without tags
    # JSON: [{"id": ..., "type": "function", "function": {"name": ..., "arguments": {...}}}]
    "tool_calls": pl.String,
    "tool_call_id": pl.String,  # of a tool's result
    "name": pl.String,  # of the tool that answers, or of the speaker
    "tools": pl.String,  # JSON: the tools offered in the conversation, the same in all its messages
    # JSON: the variables that a template is given for the conversation, repeated as `tools` are
    "variables": pl.String,
    "lang": pl.String,
    "lang_by": pl.String,  # "declared" (by the source), "detected", or taken from neighbours
    "train": pl.Boolean,  # whether the message may be trained
    "weight": pl.Float64,  # of its loss, where it is trained; null is 1
    # Names of the only parts of it that may be trained, joined: "reasoning,answer". Null is all.
    "train_parts": pl.String,
    "source": pl.String,
    "where": pl.String,  # file and line
    "note": pl.String,  # the fault of a role or content that is null, by the source
    # The cleaners that should have changed it and left it as it was, joined: "html, lift_tools".
    "left_by": pl.String,
}

MESSAGES: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,
    "group": pl.String,  # conversations of a group stay in the same split
    "position": pl.Int32,
    **_MESSAGE,
}

NODES: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,  # null: a message of a tree stands in no conversation yet
    "group": pl.String,  # the tree
    "parent": pl.String,
    **_MESSAGE,
    "rank": pl.Int64,  # 0 is the best; null where nobody ranked it
    "rejected": pl.Boolean,  # stands in no conversation: another answer was preferred
    "created": pl.Int64,  # microseconds since 1970
    "deleted": pl.Boolean,
    "review_result": pl.Boolean,
    "synthetic": pl.Boolean,
    "labels": pl.String,  # JSON: what people judged of it, numbers by name: {"toxicity": 0.25}
    "tree_state": pl.String,
}

# Both, for a source that reads either: a message of a tree has no `conversation`.
EITHER: dict[str, pl.DataType | type[pl.DataType]] = {**MESSAGES, **NODES}

# The columns in which a message says something; `tools` says something in a conversation.
SPOKEN = ("content", "reasoning", "tool_calls")

# What names a message: two trees may use the same id.
MESSAGE_KEY = ["group", "message"]


def is_of_trees(messages: pl.DataFrame) -> bool:
    """Whether rows are those of NODES."""
    return "parent" in messages.columns


def by_kind(messages: pl.DataFrame) -> list[pl.DataFrame]:
    """The messages of lists as rows of MESSAGES and those of trees as rows of NODES, where rows of
    EITHER have both; else the table itself."""
    if not messages.columns or not EITHER.keys() <= set(messages.columns):
        return [messages]
    is_node = pl.col("conversation").is_null()
    kinds = [
        messages.filter(is_node.not_()).select(MESSAGES.keys()),
        messages.filter(is_node).select(NODES.keys()),
    ]
    return [kind for kind in kinds if kind.height] or kinds[:1]


def empty(schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A table of this schema, without rows."""
    return pl.DataFrame(schema=schema)
