"""The tables that steps hand to each other: one row a message.

`MESSAGES` is the one noun of this project. A tree source yields `NODES` first (a message and
its parent); `threads` turns them into rows of `MESSAGES`.
"""

from __future__ import annotations

import polars as pl

ROLES = ("system", "user", "assistant", "tool")
Role = pl.Enum(ROLES)

_MESSAGE: dict[str, pl.DataType | type[pl.DataType]] = {
    "message": pl.String,  # the source's id, or <conversation>#<position>
    "role": Role,  # null where the source's word for it is not known
    "content": pl.String,  # null where the source had something that is not text
    "lang": pl.String,
    "lang_by": pl.String,  # declared (by the source), detected, or by its neighbours
    "train": pl.Boolean,  # may this message be learnt from?
    "source": pl.String,
    "where": pl.String,  # file and line
    "note": pl.String,  # what the source says of a role or content that is null
}

MESSAGES: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,
    "group": pl.String,  # what must stay together in a split
    "position": pl.Int32,
    **_MESSAGE,
}

NODES: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,  # null: a message of a tree stands in no conversation yet
    "group": pl.String,  # the tree
    "parent": pl.String,
    **_MESSAGE,
    "rank": pl.Int64,  # 0 is the best; null where nobody ranked it
    "created": pl.Int64,  # microseconds since 1970
    "deleted": pl.Boolean,
    "review_result": pl.Boolean,
    "synthetic": pl.Boolean,
    "tree_state": pl.String,
}

# What names a message: two trees may use one id.
MESSAGE_KEY = ["group", "message"]


def empty(schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A table of this schema without rows."""
    return pl.DataFrame(schema=schema)
