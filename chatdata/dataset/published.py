"""Published conversations, as the messages that steps and templates work on."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from chatdata.core import train_parts
from chatdata.core.schema import MESSAGES
from chatdata.core.template_variables import KEY
from chatdata.dataset.rows import NO_VARIABLES


def messages(conversations: pa.Table | pl.DataFrame) -> pl.DataFrame:
    """Rows of MESSAGES from rows of the table of messages.

    The message at a position is named `CONVERSATION#POSITION`. In format 1, whose rows do not
    state what may be learnt, every answer may be.
    """
    rows = pl.DataFrame(conversations).rename({"id": "conversation"})
    rows = rows.explode("messages").unnest("messages")
    if "train" not in rows.columns:
        rows = rows.with_columns(train=pl.col("role") == "assistant")
    rows = rows.rename({"reasoning_content": "reasoning", KEY: "variables"}, strict=False)
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("conversation")
    rows = rows.with_columns(position=position)
    message = pl.concat_str("conversation", pl.lit("#"), "position")
    if "variables" in rows.columns:
        is_given = pl.col("variables") != NO_VARIABLES
        rows = rows.with_columns(variables=pl.when(is_given).then("variables"))
    if train_parts.KEY in rows.columns:
        names = pl.col(train_parts.KEY).list.join(train_parts.SEPARATOR)
        rows = rows.with_columns(train_parts=names)
    missing = {name: pl.lit(None) for name in MESSAGES if name not in rows.columns}
    rows = rows.with_columns(**{**missing, "message": message})
    return rows.select(pl.col(name).cast(kind) for name, kind in MESSAGES.items())
