"""Conversations that share an id: repeats go, different ones are told apart by their content."""

from __future__ import annotations

import polars as pl

from chatdata.core.hashing import short_hash
from chatdata.core.ledger import OUTCOMES, outcomes_of
from chatdata.core.schema import empty


def names_apart(messages: pl.DataFrame) -> pl.DataFrame:
    """The `conversation` and the `message` of each row, ids that are shared told apart."""
    place = ["conversation", "where", "position"]
    shared = _shared_ids(messages)
    if shared.is_empty():
        return messages.select("conversation", "message")
    claimed = messages.filter(pl.col("conversation").is_in(shared.implode())).sort(place)
    renamed = _rename(_with_digests(claimed).with_columns(before="conversation"))
    renamed = renamed.select("where", "position", "message", "conversation", "before")
    named = messages.select("where", "position", before="conversation", old="message").join(
        renamed, on=["before", "where", "position"], how="left", maintain_order="left"
    )
    return named.select(
        conversation=pl.coalesce("conversation", "before"), message=pl.coalesce("message", "old")
    )


def _shared_ids(messages: pl.DataFrame) -> pl.Series:
    """The ids that several records claim."""
    claims = messages.select("conversation", "where").unique()
    return claims.filter(pl.col("conversation").is_duplicated())["conversation"].unique()


def told_apart(messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tells conversations apart that share an id: repeats go, different ones get a suffix.

    The suffix is a hash of the content, and all of them get a suffix, so that an id neither
    depends on the order of the input nor changes its meaning.
    """
    shared = _shared_ids(messages)
    if shared.is_empty():
        return messages, empty(OUTCOMES)
    is_shared = pl.col("conversation").is_in(shared.implode())
    claimed = messages.filter(is_shared).sort("conversation", "where", "position")
    claimed = _with_digests(claimed)
    renamed = _rename(claimed.filter(pl.col("is_repeat").not_()))
    repeated = _repeat_outcomes(claimed.filter("is_repeat"))
    return pl.concat([messages.filter(is_shared.not_()), renamed]), repeated


def _with_digests(claimed: pl.DataFrame) -> pl.DataFrame:
    """Adds `digest` of a conversation's content, `is_repeat` (of the same id with this digest) and
    `is_ambiguous` (the id has several digests)."""
    beside = ("reasoning", "tool_calls", "tool_call_id", "name", "tools", "variables")
    role = pl.col("role").cast(pl.String)
    spoken = pl.concat_str(role, "content", "note", *beside, ignore_nulls=True)
    digests = claimed.group_by("conversation", "where", maintain_order=True).agg(
        digest=spoken.str.join("\x1e").map_elements(short_hash, return_dtype=pl.String).first()
    )
    digests = digests.with_columns(
        is_repeat=pl.struct("conversation", "digest").is_first_distinct().not_(),
        is_ambiguous=(pl.col("digest").n_unique() > 1).over("conversation"),
    )
    return claimed.join(digests, on=["conversation", "where"], maintain_order="left")


def _rename(turns: pl.DataFrame) -> pl.DataFrame:
    name = pl.when("is_ambiguous").then(pl.col("conversation") + "~" + pl.col("digest"))
    named = turns.with_columns(conversation=name.otherwise("conversation"))
    message = pl.col("conversation") + "#" + pl.col("position").cast(pl.String)
    return named.with_columns(message=message).drop("digest", "is_repeat", "is_ambiguous")


def _repeat_outcomes(turns: pl.DataFrame) -> pl.DataFrame:
    """Outcomes of repeats: where no turn could be read, nobody knows whether they repeat anything,
    and the reason is that of the turns."""
    unread = (pl.col("note").is_not_null() & pl.col("removed_by").is_not_null()).all()
    turns = turns.with_columns(is_unread=unread.over("conversation", "where"))
    reason = pl.when("is_unread").then("removed_by").otherwise(pl.lit("duplicate_id"))
    detail = pl.when("is_unread").then("why").otherwise("again in " + pl.col("where"))
    conversations = turns.unique(["conversation", "where"], keep="first", maintain_order=True)
    return pl.concat(
        [
            outcomes_of("message", turns, "message", reason, detail),
            outcomes_of("conversation", conversations, "conversation", reason, detail),
        ]
    )
