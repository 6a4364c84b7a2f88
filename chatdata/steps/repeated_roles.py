"""Turns of one role in a row: kept, merged into the first of them, or dropped but the last."""

from __future__ import annotations

from typing import Literal

import polars as pl

from chatdata.core.ledger import MERGED, OUTCOMES, outcomes_of
from chatdata.core.schema import SPOKEN, empty

RepeatedRole = Literal["keep", "merge", "drop"]

_MARKS = ("removed_by", "on_removed", "why")  # what `filtering.mark` adds


def without_repeats(
    turns: pl.DataFrame, repeated_role: RepeatedRole
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leaves a single turn of several turns of one role that follow each other, all in order.

    White space alone is no turn beside others: it is neither merged nor the last of them. Results
    of tools are never joined, nor are turns of two weights or `train_parts`, nor a turn that would
    then speak before what it follows.
    """
    starts = (pl.col("role") != pl.col("role").shift(1)).fill_null(True)
    starts |= pl.col("conversation") != pl.col("conversation").shift(1)
    starts |= (pl.col("role") == "tool") | (_first_part() < _last_part().shift(1))
    if repeated_role == "merge":
        changes = _changes("weight") | _changes("train_parts")
        starts |= (pl.col("train") & pl.col("train").shift(1)).fill_null(False) & changes
    if repeated_role == "drop":
        calls = pl.col("tool_calls").is_not_null()
        starts |= calls | calls.shift(1)
    numbered = turns.with_columns(run=starts.cum_sum())
    is_alone = pl.len().over("run") == 1
    several = numbered.filter(is_alone.not_())
    if repeated_role == "keep" or several.is_empty():
        return turns, empty(OUTCOMES)
    is_text = (pl.col("content").str.strip_chars() != "").fill_null(True)
    is_text |= pl.col("reasoning").is_not_null() | pl.col("tool_calls").is_not_null()
    several = several.with_columns(speaks=is_text | is_text.any().over("run").not_())
    choose = _merged if repeated_role == "merge" else _last_of_runs
    chosen, outcomes = choose(several)
    left = pl.concat([numbered.filter(is_alone), chosen.select(numbered.columns)])
    return left.sort("conversation", "position").drop("run"), outcomes


def _changes(column: str) -> pl.Expr:
    """Whether a turn has another value in a column than the turn before it."""
    return pl.col(column).ne_missing(pl.col(column).shift(1))


# A template writes the parts of a turn in this order: thoughts, words, calls.


def _first_part() -> pl.Expr:
    """The number of the first part that a turn has."""
    is_calls = pl.col("tool_calls").is_not_null() & _has_words().not_()
    first = pl.when(pl.col("reasoning").is_not_null()).then(0).when(is_calls).then(2)
    return first.otherwise(1)


def _last_part() -> pl.Expr:
    """The number of the last part that a turn has."""
    is_thought = pl.col("reasoning").is_not_null() & _has_words().not_()
    last = pl.when(pl.col("tool_calls").is_not_null()).then(2).when(is_thought).then(0)
    return last.otherwise(1)


def _has_words() -> pl.Expr:
    return (pl.col("content").str.strip_chars() != "").fill_null(False)


def _merged(several: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A single turn for each run: the texts of its turns, a blank line between.

    Thoughts are joined as words are, and calls are listed together. The turn is learnt from where
    all of its parts are, and the first removed part says what removes the turn.
    """
    parts = several.filter("speaks").group_by("run", maintain_order=True)
    is_marked = pl.col("removed_by").is_not_null()
    merged = parts.agg(
        pl.exclude(*SPOKEN, "train", *_MARKS).first(),
        *(_texts_of(name) for name in ("content", "reasoning")),
        _calls_of(),
        pl.col("train").all(),
        *(pl.col(mark).filter(is_marked).first() for mark in _MARKS),
    )
    return merged, _merged_outcomes(several, merged, MERGED, pl.col("into"))


def _texts_of(column: str) -> pl.Expr:
    """The texts of a column, a blank line between; null where all of them are."""
    texts = pl.col(column).drop_nulls()
    return pl.when(texts.len() > 0).then(texts.str.join("\n\n")).alias(column)


def _calls_of() -> pl.Expr:
    """The calls of several turns in a single list."""
    calls = pl.col("tool_calls").drop_nulls()
    inner = calls.str.strip_prefix("[").str.strip_suffix("]").str.join(", ")
    return pl.when(calls.len() > 0).then("[" + inner + "]").alias("tool_calls")


def _last_of_runs(several: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last turn of each run that has a text."""
    last = several.filter("speaks").unique("run", keep="last", maintain_order=True)
    return last, _merged_outcomes(several, last, "repeated_role", "before " + pl.col("into"))


def _merged_outcomes(
    several: pl.DataFrame, chosen: pl.DataFrame, reason: str, detail: pl.Expr
) -> pl.DataFrame:
    """Rows of OUTCOMES for the turns of runs that are not `chosen`; `into` is the turn that is."""
    rest = several.join(chosen, on="message", how="anti", maintain_order="left")
    into = chosen.select("run", into="message")
    rest = rest.join(into, on="run", how="left", maintain_order="left")
    return outcomes_of("message", rest, "message", pl.lit(reason), detail)
