"""What goes along with a turn that a filter removes: by `cut`, by `drop`, by `skip`."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from chatdata.core.ledger import BECAUSE, GOES_WITH, OUTCOMES, outcomes_of
from chatdata.core.schema import empty


class Why(NamedTuple):
    """Why something goes: expressions of a reason and of its detail."""

    reason: pl.Expr
    detail: pl.Expr | None = None


def leave_out(
    turns: pl.DataFrame, stays: pl.Expr, turn_goes: Why, conversation_goes: Why
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The turns that stay, and rows of OUTCOMES for the turns and whole conversations that go.

    `stays` is never null. Of a conversation that goes the first turn says why.
    """
    judged = turns.with_columns(stays=stays)
    leaving = judged.filter(pl.col("stays").not_())
    is_emptied = pl.col("stays").any().over("conversation").not_()
    emptied = judged.filter(is_emptied).unique("conversation", keep="first", maintain_order=True)
    outcomes = [
        outcomes_of("message", leaving, "message", *turn_goes),
        outcomes_of("conversation", emptied, "conversation", *conversation_goes),
    ]
    return judged.filter("stays").drop("stays"), pl.concat(outcomes)


_GOES_WITH = GOES_WITH + pl.col("culprit")
_BECAUSE = Why(pl.col("culprit_by"), BECAUSE + pl.col("culprit"))


def without_removed(turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes turns that are marked `cut` or `drop`, with what goes along, all in order.

    The first turn so marked that `decides` is the culprit. Where it is marked `cut`, the turns
    before it stay up to the last answer among them; where it is marked `drop`, nothing stays.
    """
    if turns["removed_by"].null_count() == turns.height:
        return turns, empty(OUTCOMES)
    is_cut = _of_culprit("on_removed") == "cut"
    is_before = is_cut & (pl.col("position") < _of_culprit("position"))
    turns = turns.with_columns(
        culprit=_of_culprit("message"),
        culprit_by=_of_culprit("removed_by"),
        is_before=is_before.fill_null(False),
    )
    is_clean = pl.col("culprit").is_null()
    stays = is_clean | (pl.col("is_before") & is_up_to_last_answer(pl.col("is_before")))
    is_marked = pl.col("removed_by").is_not_null()
    reason = pl.coalesce("removed_by", "culprit_by")
    reason = pl.when("is_before").then(pl.lit("trailing_turn")).otherwise(reason)
    detail = pl.when(is_marked).then("why").otherwise(_GOES_WITH)
    left, outcomes = leave_out(turns, stays, Why(reason, detail), _BECAUSE)
    return left.drop("culprit", "culprit_by", "is_before"), outcomes


def _of_culprit(column: str) -> pl.Expr:
    """A column of the first turn that is marked `cut` or `drop` and decides."""
    removes = pl.col("on_removed").is_in(["cut", "drop"]) & pl.col("decides")
    return pl.col(column).filter(removes).first().over("conversation")


def is_up_to_last_answer(counts: pl.Expr) -> pl.Expr:
    """Whether a turn stands no later than the last answer of its conversation that `counts`."""
    answers = pl.col("position").filter(counts & (pl.col("role") == "assistant"))
    return pl.col("position") <= answers.max().over("conversation").fill_null(-1)


def without_skipped(turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes the exchanges in which a turn, the culprit, is marked `skip`, all in order."""
    skips = pl.col("on_removed").eq_missing("skip")
    if turns.filter(skips).is_empty():
        return turns, empty(OUTCOMES)
    turns = turns.with_columns(exchange=_starts_exchange().cum_sum())
    turns = turns.with_columns(culprit=_skipped_by("message"), culprit_by=_skipped_by("removed_by"))
    detail = pl.when(skips).then("why").otherwise(_GOES_WITH)
    turn_goes = Why(pl.col("culprit_by"), detail)
    left, outcomes = leave_out(turns, pl.col("culprit").is_null(), turn_goes, _BECAUSE)
    return left.drop("culprit", "culprit_by", "exchange"), outcomes


def _starts_exchange() -> pl.Expr:
    """Whether a turn does not go with the turn before it: as an answer goes with its question or
    with the results of tools, a result with the call, and a call with a call before it, whose
    result is still to come."""
    role = pl.col("role").cast(pl.String)
    before = role.shift(1).over("conversation")
    has_called = pl.col("tool_calls").is_not_null().shift(1).over("conversation")
    answers = (role == "assistant") & (before.is_in(["user", "tool"]) | has_called)
    reports = (role == "tool") & before.is_in(["assistant", "tool"])
    return (answers | reports).fill_null(False).not_()


def _skipped_by(column: str) -> pl.Expr:
    """A column of the message that a turn goes with: itself, or the first of its exchange."""
    skips = pl.col("on_removed").eq_missing("skip")
    first = pl.col(column).filter(skips).first().over("exchange")
    return pl.coalesce(pl.when(skips).then(column), first)
