"""How conversations begin and end: the `threads` of a recipe, and its use on linear turns.

`linearize_turns` trims conversations that are linear already; `trees.linearize` makes them out of
trees. Both take messages that `filtering.mark` has marked, and return what stays and the
outcomes of what goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl
from pydantic import Field

from chatdata.core.config import Strict
from chatdata.core.ledger import OUTCOMES
from chatdata.core.schema import MESSAGE_KEY, MESSAGES, empty
from chatdata.steps import joining, removal, repeated_roles, shared_ids
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.pairs import PairPolicy
from chatdata.steps.repeated_roles import RepeatedRole

Policy = Literal["all_leaves", "best_rank", "top_k", "all_prefixes"]
Join = Literal["pieces"]


class Threads(Strict):
    """The `threads` of a recipe.

    `policy`, `top_k`, `max_paths` and `train_once` concern trees alone: a tree of more than
    `max_paths` conversations, or that repeats more than 1,000 turns for each of so many, is
    refused. `repeated_role` concerns linear conversations: turns of one role in a row are kept,
    merged into the first of them, or dropped but the last. `join: pieces` joins the pieces that a
    dump has cut conversations into. `pairs` makes pairs of ranked answers of trees, whose ranks
    differ by at least `margin`.
    """

    policy: Policy = "all_leaves"
    top_k: int | None = None
    max_paths: int = Field(default=1000, ge=1)
    start: Literal["any", "user"] = "any"
    end: Literal["any", "assistant"] = "assistant"
    repeated_role: RepeatedRole = "keep"
    join: Join | None = None
    train_once: bool = False
    pairs: PairPolicy | None = None
    margin: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True)
class Threaded:
    """Conversations as rows of MESSAGES, and rows of OUTCOMES for everything else.

    `conversations` is the number of conversations that came into being; `figures` tell of the
    pieces that were joined.
    """

    messages: pl.DataFrame
    outcomes: pl.DataFrame
    conversations: int
    figures: FiguresByKey = field(default_factory=FiguresByKey)


def linearize_turns(messages: pl.DataFrame, threads: Threads) -> Threaded:
    """Ends linear conversations, whose messages `filtering.mark` has marked, as the recipe says.

    `cut` keeps the turns before a removed message and then ends on the last assistant turn;
    `drop` removes the whole conversation; `skip` an answer with its question, a question with its
    answer, and a system message alone. A removed message that is trimmed anyway goes alone. The
    result does not depend on the order of the rows.
    """
    turns, repeated = shared_ids.told_apart(messages)
    turns, apart, figures = _joined(turns, threads.join)
    turns = turns.sort("conversation", "position")
    turns, merged = repeated_roles.without_repeats(turns, threads.repeated_role)
    turns, removed = removal.without_removed(turns.with_columns(decides=_decides(threads)))
    turns, skipped = removal.without_skipped(turns)
    turns, trimmed = _trim(turns, threads)
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("conversation")
    turns = turns.with_columns(position=position).select(MESSAGES.keys())
    outcomes = pl.concat([repeated, apart, merged, removed, skipped, trimmed])
    return Threaded(turns, outcomes, 0, figures)


def _joined(
    turns: pl.DataFrame, join: Join | None
) -> tuple[pl.DataFrame, pl.DataFrame, FiguresByKey]:
    """The turns with the pieces of conversations joined, outcomes of these pieces, and figures."""
    if join is None:
        return turns, empty(OUTCOMES), FiguresByKey()
    joined = joining.join(turns)
    return joined.turns, joined.outcomes, FiguresByKey({joining.KEY: joined.figures})


def names(messages: pl.DataFrame, threads: Threads) -> pl.DataFrame:
    """The `conversation` and the `message` of each row, as `linearize_turns` names them; `piece` is
    the conversation before pieces are joined."""
    named = shared_ids.names_apart(messages)
    named = named.with_columns(piece="conversation")
    if threads.join is None:
        return named
    return named.with_columns(joining.homes(messages.with_columns(named)))


def _decides(threads: Threads) -> pl.Expr:
    """Whether a turn may take others along: one that is trimmed anyway does not, all in order.

    Where everything is trimmed, all turns decide.
    """
    is_started = _is_started(threads)
    stays = is_started & _is_before_end(is_started, threads)
    return stays | stays.any().over("conversation").not_()


def _trim(turns: pl.DataFrame, threads: Threads) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trims the starts and ends of conversations, all in order.

    A turn that a filter removes has its reason; it is among these since it decided nothing.
    """
    turns = turns.with_columns(is_started=_is_started(threads))
    stays = pl.col("is_started") & _is_before_end(pl.col("is_started"), threads)
    trailing, leading = pl.lit("trailing_turn"), pl.lit("leading_turn")
    trimmed = pl.when("is_started").then(trailing).otherwise(leading)
    emptied = removal.Why(trimmed, pl.lit("nothing is left of it"))
    turn_goes = removal.Why(pl.coalesce("removed_by", trimmed), pl.col("why"))
    left, outcomes = removal.leave_out(turns, stays, turn_goes, emptied)
    return left.drop("is_started"), outcomes


def _is_started(threads: Threads) -> pl.Expr:
    """Whether a turn is kept by the `start` of the recipe."""
    is_started = pl.lit(True) if threads.start == "any" else _is_from_first_user()
    return is_started.fill_null(False)


def _is_before_end(is_started: pl.Expr, threads: Threads) -> pl.Expr:
    """Whether a turn is kept by the `end` of the recipe."""
    return pl.lit(True) if threads.end == "any" else removal.is_up_to_last_answer(is_started)


def _is_from_first_user() -> pl.Expr:
    """Whether a turn stands no earlier than the first question, or is a system message."""
    questions = pl.col("position").filter(pl.col("role") == "user")
    after = pl.col("position") >= questions.min().over("conversation")
    return after.fill_null(False) | pl.col("role").is_in(["system", "developer"])


def train_once(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages, each trained in the first row that holds it and nowhere else."""
    first = pl.struct(MESSAGE_KEY).is_first_distinct()
    return messages.with_columns(train=pl.col("train") & first)
