"""How conversations begin and end: the `threads` of a recipe, and its use on linear turns.

`linearize_turns` trims conversations that are linear already; `trees.linearize` makes them out of
trees. Both take messages that `filtering.mark` has marked, and return what stays and the
outcomes of what goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import polars as pl
from pydantic import Field

from chatdata.core.config import Strict
from chatdata.core.hashing import short_hash
from chatdata.core.ledger import BECAUSE, GOES_WITH, MERGED, OUTCOMES, outcomes_of
from chatdata.core.schema import MESSAGE_KEY, MESSAGES, SPOKEN, empty
from chatdata.steps import joining
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.pairs import PairPolicy

Policy = Literal["all_leaves", "best_rank", "top_k", "all_prefixes"]
RepeatedRole = Literal["keep", "merge", "drop"]
Join = Literal["pieces"]

_MARKS = ("removed_by", "on_removed", "why")  # what `filtering.mark` adds


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
    turns, repeated = _name_apart(messages)
    turns, apart, figures = _joined(turns, threads.join)
    turns = turns.sort("conversation", "position")
    turns, merged = _without_repeated_roles(turns, threads.repeated_role)
    turns, removed = _without_removed(turns.with_columns(decides=_decides(threads)))
    turns, skipped = _without_skipped(turns)
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
    named = _names_apart(messages)
    named = named.with_columns(piece="conversation")
    if threads.join is None:
        return named
    return named.with_columns(joining.homes(messages.with_columns(named)))


def _names_apart(messages: pl.DataFrame) -> pl.DataFrame:
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


# ------------------------------------------------------------------------------ ids that are shared


def _shared_ids(messages: pl.DataFrame) -> pl.Series:
    """The ids that several records claim."""
    claims = messages.select("conversation", "where").unique()
    return claims.filter(pl.col("conversation").is_duplicated())["conversation"].unique()


def _name_apart(messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
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


# ----------------------------------------------------------------------- turns of one role in a row


def _without_repeated_roles(
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


# --------------------------------------------------------------------------- turns that are removed


class _Why(NamedTuple):
    """Why something goes: expressions of a reason and of its detail."""

    reason: pl.Expr
    detail: pl.Expr | None = None


def _leave_out(
    turns: pl.DataFrame, stays: pl.Expr, turn_goes: _Why, conversation_goes: _Why
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
_BECAUSE = _Why(pl.col("culprit_by"), BECAUSE + pl.col("culprit"))


def _without_removed(turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
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
    stays = is_clean | (pl.col("is_before") & _is_up_to_last_answer(pl.col("is_before")))
    is_marked = pl.col("removed_by").is_not_null()
    reason = pl.coalesce("removed_by", "culprit_by")
    reason = pl.when("is_before").then(pl.lit("trailing_turn")).otherwise(reason)
    detail = pl.when(is_marked).then("why").otherwise(_GOES_WITH)
    left, outcomes = _leave_out(turns, stays, _Why(reason, detail), _BECAUSE)
    return left.drop("culprit", "culprit_by", "is_before"), outcomes


def _of_culprit(column: str) -> pl.Expr:
    """A column of the first turn that is marked `cut` or `drop` and decides."""
    removes = pl.col("on_removed").is_in(["cut", "drop"]) & pl.col("decides")
    return pl.col(column).filter(removes).first().over("conversation")


def _is_up_to_last_answer(counts: pl.Expr) -> pl.Expr:
    """Whether a turn stands no later than the last answer of its conversation that `counts`."""
    answers = pl.col("position").filter(counts & (pl.col("role") == "assistant"))
    return pl.col("position") <= answers.max().over("conversation").fill_null(-1)


def _without_skipped(turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Removes the exchanges in which a turn, the culprit, is marked `skip`, all in order."""
    skips = pl.col("on_removed").eq_missing("skip")
    if turns.filter(skips).is_empty():
        return turns, empty(OUTCOMES)
    turns = turns.with_columns(exchange=_starts_exchange().cum_sum())
    turns = turns.with_columns(culprit=_skipped_by("message"), culprit_by=_skipped_by("removed_by"))
    detail = pl.when(skips).then("why").otherwise(_GOES_WITH)
    turn_goes = _Why(pl.col("culprit_by"), detail)
    left, outcomes = _leave_out(turns, pl.col("culprit").is_null(), turn_goes, _BECAUSE)
    return left.drop("culprit", "culprit_by", "exchange"), outcomes


def _starts_exchange() -> pl.Expr:
    """Whether a turn does not go with the turn before it: as an answer goes with its question or
    with the results of tools, and a result with the call."""
    role = pl.col("role").cast(pl.String)
    before = role.shift(1).over("conversation")
    answers = (role == "assistant") & before.is_in(["user", "tool"])
    reports = (role == "tool") & before.is_in(["assistant", "tool"])
    return (answers | reports).fill_null(False).not_()


def _skipped_by(column: str) -> pl.Expr:
    """A column of the message that a turn goes with: itself, or the first of its exchange."""
    skips = pl.col("on_removed").eq_missing("skip")
    first = pl.col(column).filter(skips).first().over("exchange")
    return pl.coalesce(pl.when(skips).then(column), first)


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
    emptied = _Why(trimmed, pl.lit("nothing is left of it"))
    turn_goes = _Why(pl.coalesce("removed_by", trimmed), pl.col("why"))
    left, outcomes = _leave_out(turns, stays, turn_goes, emptied)
    return left.drop("is_started"), outcomes


def _is_started(threads: Threads) -> pl.Expr:
    """Whether a turn is kept by the `start` of the recipe."""
    is_started = pl.lit(True) if threads.start == "any" else _is_from_first_user()
    return is_started.fill_null(False)


def _is_before_end(is_started: pl.Expr, threads: Threads) -> pl.Expr:
    """Whether a turn is kept by the `end` of the recipe."""
    return pl.lit(True) if threads.end == "any" else _is_up_to_last_answer(is_started)


def _is_from_first_user() -> pl.Expr:
    """Whether a turn stands no earlier than the first question, or is a system message."""
    questions = pl.col("position").filter(pl.col("role") == "user")
    after = pl.col("position") >= questions.min().over("conversation")
    return after.fill_null(False) | pl.col("role").is_in(["system", "developer"])


# --------------------------------------------------------------------------------------- train once


def train_once(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages, each trained in the first row that holds it and nowhere else."""
    first = pl.struct(MESSAGE_KEY).is_first_distinct()
    return messages.with_columns(train=pl.col("train") & first)
