"""How conversations begin and end: the `threads` of a recipe, and its use on linear turns.

`cut` ends conversations that are linear already; `trees.lay` makes them out of trees. Both take
messages that `filters.mark` has marked, and return what remains and the events of what went.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from chatdata.config import Strict
from chatdata.hashing import short_hash
from chatdata.schema import EVENTS, MESSAGE_KEY, MESSAGES, empty, events

Policy = Literal["all_leaves", "best_rank", "top_k", "all_prefixes"]


class Threads(Strict):
    """The `threads` of a recipe. `policy`, `top_k` and `train_once` concern trees alone."""

    policy: Policy = "all_leaves"
    top_k: int | None = None
    start: Literal["any", "user"] = "any"
    end: Literal["any", "assistant"] = "assistant"
    train_once: bool = False


@dataclass(frozen=True, slots=True)
class Laid:
    """Conversations, how many came into being, and what became of everything else."""

    messages: pl.DataFrame
    events: pl.DataFrame
    conversations: int


def cut(messages: pl.DataFrame, threads: Threads) -> Laid:
    """Ends linear conversations, whose messages `filters.mark` has marked, as the recipe says.

    `cut` keeps the turns before a removed message and then ends on the last assistant turn;
    `drop` removes the whole conversation. The result does not depend on the order of the rows.
    """
    rows, repeats = _name_apart(messages)
    rows, dropped = _without_marked(rows.sort("conversation", "position"))
    rows, trimmed = _trim(rows, threads)
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("conversation")
    rows = rows.with_columns(position=position).select(MESSAGES.keys())
    return Laid(rows, pl.concat([repeats, dropped, trimmed]), 0)


def _name_apart(messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parts conversations that share an id: repeats of one go, different ones get a suffix.

    The suffix is a hash of the content, and all of them get one, so that an id neither depends
    on the order of the input nor changes its meaning.
    """
    claims = messages.select("conversation", "where").unique()
    shared = claims.filter(pl.col("conversation").is_duplicated())["conversation"]
    if shared.is_empty():
        return messages, empty(EVENTS)
    is_shared = pl.col("conversation").is_in(shared.unique().implode())
    apart, repeats = _part(messages.filter(is_shared).sort("conversation", "where", "position"))
    return pl.concat([messages.filter(is_shared.not_()), apart]), repeats


def _part(claimed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    said = pl.concat_str(pl.col("role").cast(pl.String), "content", "note", ignore_nulls=True)
    digests = claimed.group_by("conversation", "where", maintain_order=True).agg(
        digest=said.str.join("\x1e").map_elements(short_hash, return_dtype=pl.String).first()
    )
    digests = digests.with_columns(
        repeat=pl.struct("conversation", "digest").is_first_distinct().not_(),
        several=(pl.col("digest").n_unique() > 1).over("conversation"),
    )
    rows = claimed.join(digests, on=["conversation", "where"], maintain_order="left")
    return _rename(rows.filter(~pl.col("repeat"))), _repeat_events(rows.filter("repeat"))


def _rename(rows: pl.DataFrame) -> pl.DataFrame:
    name = pl.when("several").then(pl.col("conversation") + "~" + pl.col("digest"))
    named = rows.with_columns(conversation=name.otherwise("conversation"))
    message = pl.col("conversation") + "#" + pl.col("position").cast(pl.String)
    return named.with_columns(message=message).drop("digest", "repeat", "several")


def _repeat_events(rows: pl.DataFrame) -> pl.DataFrame:
    reason, detail = pl.lit("duplicate_id"), "again in " + pl.col("where")
    conversations = rows.unique(["conversation", "where"], keep="first", maintain_order=True)
    return pl.concat(
        [
            events("message", rows, "message", reason, detail),
            events("conversation", conversations, "conversation", reason, detail),
        ]
    )


def _without_marked(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes what `filters.mark` marked, with what must go along. Rows are in order."""
    if rows["removed_by"].null_count() == rows.height:
        return rows, empty(EVENTS)
    rows = _with_culprits(rows)
    live = _up_to_last_assistant(rows.filter("alive"), pl.col("culprit").is_not_null())
    gone = rows.join(live, on="message", how="anti", maintain_order="left")
    along = pl.coalesce("removed_by", "culprit_by")
    reason = pl.when("alive").then(pl.lit("trailing_turn")).otherwise(along)
    own = pl.col("removed_by").is_not_null()
    detail = pl.when(own).then("why").otherwise("goes with " + pl.col("culprit"))
    because = "because of " + pl.col("culprit")
    lost = _emptied(rows, live)
    happened = [
        events("message", gone, "message", reason, detail),
        events("conversation", lost, "conversation", pl.col("culprit_by"), because),
    ]
    return live.drop("alive", "culprit", "culprit_by"), pl.concat(happened)


def _with_culprits(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `alive`, and for each conversation the first message that removes or cuts it."""
    cuts = pl.col("position").filter(pl.col("on_removed") == "cut")
    rows = rows.with_columns(cut_at=cuts.min().over("conversation"))
    before_cut = pl.col("cut_at").is_null() | (pl.col("position") < pl.col("cut_at"))
    rows = rows.with_columns(alive=before_cut)
    rows = rows.with_columns(fatal=(pl.col("alive") & (pl.col("on_removed") == "drop")))
    rows = rows.with_columns(falls=pl.col("fatal").any().over("conversation"))
    at_cut = pl.col("position") == pl.col("cut_at")
    culprit = pl.when("falls").then("fatal").otherwise(at_cut)
    rows = rows.with_columns(
        alive=pl.col("alive") & pl.col("falls").not_(),
        culprit=_first_in_conversation("message", culprit),
        culprit_by=_first_in_conversation("removed_by", culprit),
    )
    return rows.drop("cut_at", "fatal", "falls")


def _first_in_conversation(column: str, where: pl.Expr) -> pl.Expr:
    return pl.col(column).filter(where).first().over("conversation")


def _up_to_last_assistant(rows: pl.DataFrame, concerned: pl.Expr) -> pl.DataFrame:
    answers = pl.col("position").filter(pl.col("role") == "assistant")
    last = answers.max().over("conversation").fill_null(-1)
    return rows.filter(concerned.not_() | (pl.col("position") <= last))


def _trim(rows: pl.DataFrame, threads: Threads) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trims the starts and ends of conversations. Rows are in order."""
    live = _from_first_user(rows) if threads.start == "user" else rows
    started = live.select("message", started=True)
    if threads.end == "assistant":
        live = _up_to_last_assistant(live, pl.lit(True))
    gone = rows.join(live, on="message", how="anti", maintain_order="left")
    gone = gone.join(started, on="message", how="left", maintain_order="left")
    reason = pl.when("started").then(pl.lit("trailing_turn")).otherwise(pl.lit("leading_turn"))
    lost = _emptied(gone, live)
    happened = [
        events("message", gone, "message", reason),
        events("conversation", lost, "conversation", reason, pl.lit("nothing is left of it")),
    ]
    return live, pl.concat(happened)


def _from_first_user(rows: pl.DataFrame) -> pl.DataFrame:
    users = pl.col("position").filter(pl.col("role") == "user")
    after = pl.col("position") >= users.min().over("conversation")
    return rows.filter(after.fill_null(False) | (pl.col("role") == "system"))


def _emptied(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The first row of each conversation of which nothing is left."""
    gone = before.join(after, on="conversation", how="anti", maintain_order="left")
    return gone.unique("conversation", keep="first", maintain_order=True)


# ---------------------------------------------------------------------------------- train once


def train_once(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages, of which each is trained in the first row that holds it and nowhere else."""
    first = pl.struct(MESSAGE_KEY).is_first_distinct()
    return messages.with_columns(train=pl.col("train") & first)
