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

# What became of something: the ledger's row, before the outcome is known.
EVENTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "unit": pl.String,  # record, message or conversation
    "id": pl.String,
    "conversation": pl.String,  # where a message stood last, if anywhere
    "reason": pl.String,  # null: kept
    "detail": pl.String,
    "source": pl.String,
}

# The reason of a message whose text stands in another, which `detail` names: it shares its fate.
MERGED = "merged"


def empty(schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """A table of this schema without rows."""
    return pl.DataFrame(schema=schema)


def events(
    unit: str,
    rows: pl.DataFrame,
    id: str,
    reason: pl.Expr,
    detail: pl.Expr | None = None,
) -> pl.DataFrame:
    """Rows of `EVENTS` for the rows of a table: their `id` column, and why they were removed."""
    conversation = pl.col("conversation") if unit == "message" else pl.lit(None, pl.String)
    return rows.select(
        unit=pl.lit(unit),
        id=pl.col(id),
        conversation=conversation,
        reason=reason,
        detail=pl.lit(None, pl.String) if detail is None else detail,
        source=pl.col("source"),
    )


def vanished(
    before: pl.DataFrame, after: pl.DataFrame, lost: pl.DataFrame, otherwise: str
) -> pl.DataFrame:
    """Rows of `EVENTS` for messages that stood in a conversation and now stand in none.

    `lost` are the events of conversations that went; a message that was cut from one that stays
    has the reason `otherwise`. A message of several conversations is named once.
    """
    rows = before.filter(pl.col("message").is_not_null())
    rows = rows.join(after, on=MESSAGE_KEY, how="anti", maintain_order="left")
    rows = rows.unique(MESSAGE_KEY, keep="first", maintain_order=True)
    why = lost.select("reason", "detail", conversation="id")
    rows = rows.join(why, on="conversation", how="left", maintain_order="left")
    return events(
        "message", rows, "message", pl.col("reason").fill_null(otherwise), pl.col("detail")
    )
