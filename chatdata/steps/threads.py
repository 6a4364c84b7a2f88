"""How conversations begin and end: the `threads` of a recipe, and its use on linear turns.

`cut` ends conversations that are linear already; `trees.lay` makes them out of trees. Both take
messages that `filtering.mark` has marked, and return what remains and the events of what went.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from chatdata.core.config import Strict
from chatdata.core.hashing import short_hash
from chatdata.core.ledger import EVENTS, MERGED, events
from chatdata.core.schema import MESSAGE_KEY, MESSAGES, empty

Policy = Literal["all_leaves", "best_rank", "top_k", "all_prefixes"]
RepeatedRole = Literal["keep", "merge", "drop"]

_MARKS = ("removed_by", "on_removed", "why")  # what `filtering.mark` adds


class Threads(Strict):
    """The `threads` of a recipe.

    `policy`, `top_k` and `train_once` concern trees alone, `repeated_role` linear conversations:
    turns of one role in a row are kept, merged into the first of them, or dropped but the last.
    """

    policy: Policy = "all_leaves"
    top_k: int | None = None
    start: Literal["any", "user"] = "any"
    end: Literal["any", "assistant"] = "assistant"
    repeated_role: RepeatedRole = "keep"
    train_once: bool = False


@dataclass(frozen=True, slots=True)
class Laid:
    """Conversations, how many came into being, and what became of everything else."""

    messages: pl.DataFrame
    events: pl.DataFrame
    conversations: int


def cut(messages: pl.DataFrame, threads: Threads) -> Laid:
    """Ends linear conversations, whose messages `filtering.mark` has marked, as the recipe says.

    `cut` keeps the turns before a removed message and then ends on the last assistant turn;
    `drop` removes the whole conversation; `skip` an answer with its question, a question with its
    answer, and a system message alone. The result does not depend on the order of the rows.
    """
    rows, repeats = _name_apart(messages)
    rows = rows.sort("conversation", "position")
    rows, joined = _without_repeated_roles(rows, threads.repeated_role)
    rows, dropped = _without_marked(rows)
    rows, skipped = _without_skipped(rows)
    rows, trimmed = _trim(rows, threads)
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("conversation")
    rows = rows.with_columns(position=position).select(MESSAGES.keys())
    return Laid(rows, pl.concat([repeats, joined, dropped, skipped, trimmed]), 0)


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


def _without_repeated_roles(
    rows: pl.DataFrame, repeated_role: RepeatedRole
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leaves one turn of several of one role that follow each other. Rows are in order.

    White space alone is no turn beside others: it is neither merged nor the last of them.
    """
    starts = (pl.col("role") != pl.col("role").shift(1)).fill_null(True)
    starts |= pl.col("conversation") != pl.col("conversation").shift(1)
    numbered = rows.with_columns(run=starts.cum_sum())
    is_alone = pl.len().over("run") == 1
    several = numbered.filter(is_alone.not_())
    if repeated_role == "keep" or several.is_empty():
        return rows, empty(EVENTS)
    is_said = (pl.col("content").str.strip_chars() != "").fill_null(True)
    several = several.with_columns(said=is_said | is_said.any().over("run").not_())
    choose = _merged if repeated_role == "merge" else _last_said
    chosen, happened = choose(several)
    left = pl.concat([numbered.filter(is_alone), chosen.select(numbered.columns)])
    return left.sort("conversation", "position").drop("run"), happened


def _merged(several: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One turn for each run: what was said, a blank line between.

    It is learnt from where all of its parts are, and removed by what removes the first of them
    that is removed.
    """
    said = several.filter("said")
    first = said.group_by("run", maintain_order=True)
    is_marked = pl.col("removed_by").is_not_null()
    merged = first.agg(
        pl.exclude("content", "train", *_MARKS).first(),
        pl.col("content").str.join("\n\n"),
        pl.col("train").all(),
        *(pl.col(mark).filter(is_marked).first() for mark in _MARKS),
    )
    into = merged.select("run", into="message")
    gone = several.join(merged, on="message", how="anti", maintain_order="left")
    gone = gone.join(into, on="run", maintain_order="left")
    return merged, events("message", gone, "message", pl.lit(MERGED), pl.col("into"))


def _last_said(several: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last turn of each run in which something is said."""
    last = several.filter("said").unique("run", keep="last", maintain_order=True)
    gone = several.join(last, on="message", how="anti", maintain_order="left")
    gone = gone.join(last.select("run", into="message"), on="run", maintain_order="left")
    detail = "before " + pl.col("into")
    return last, events("message", gone, "message", pl.lit("repeated_role"), detail)


def _without_marked(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes what `filtering.mark` marked, with what must go along. Rows are in order."""
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


def _without_skipped(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes the exchanges in which a message is marked `skip`. Rows are in order."""
    skips = pl.col("on_removed").eq_missing("skip")
    if rows.filter(skips).is_empty():
        return rows, empty(EVENTS)
    rows = rows.with_columns(culprit=_skipped_by("message"), fault=_skipped_by("removed_by"))
    gone = rows.filter(pl.col("culprit").is_not_null())
    live = rows.filter(pl.col("culprit").is_null())
    detail = pl.when(skips).then("why").otherwise("goes with " + pl.col("culprit"))
    lost = _emptied(rows, live)
    because = "because of " + pl.col("culprit")
    happened = [
        events("message", gone, "message", pl.col("fault"), detail),
        events("conversation", lost, "conversation", pl.col("fault"), because),
    ]
    return live.drop("culprit", "fault"), pl.concat(happened)


def _skipped_by(column: str) -> pl.Expr:
    """A column of the message that a turn goes with: itself, its answer or its question."""

    def beside(turn: pl.Expr, steps: int) -> pl.Expr:
        return turn.shift(steps).over("conversation")

    skips = pl.col("on_removed").eq_missing("skip")
    asks, answers = pl.col("role") == "user", pl.col("role") == "assistant"
    return pl.coalesce(
        pl.when(skips).then(column),
        pl.when(asks & beside(skips & answers, -1)).then(beside(pl.col(column), -1)),
        pl.when(answers & beside(skips & asks, 1)).then(beside(pl.col(column), 1)),
    )


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
