"""Conversations made to fit: what a template refuses goes, what is too long is cut or split."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from chatdata.core import ledger
from chatdata.core.ledger import OUTCOMES
from chatdata.core.schema import MESSAGE_KEY, empty
from chatdata.render.conversation import is_structured
from chatdata.render.options import Render
from chatdata.render.row_plans import Measure, RowPlan, cut_table, plan, row_messages
from chatdata.render.segments.encoded import refusals
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.windows import Cut


@dataclass(frozen=True, slots=True)
class Fitted:
    """Messages of conversations that can be rendered, their windows, and what became of others.

    `windows` is None where each conversation is a single row; `outcomes` are rows of OUTCOMES.
    """

    messages: pl.DataFrame
    windows: pl.DataFrame | None
    outcomes: pl.DataFrame


def fit(messages: pl.DataFrame, pool: TextPool, options: Render) -> Fitted:
    """Drops conversations that the template refuses, and fits the others into `max_tokens`.

    `messages` are rows of MESSAGES in order. A conversation that is too long is dropped, cut
    after an assistant turn, or split into several rows. A conversation that a cut makes the
    beginning of another is dropped.
    """
    rows, measure = plan(pool), Measure(pool, options)
    kept, refused = _without_refused(messages, rows.windows(messages), pool, options)
    if options.max_tokens is None:
        return Fitted(kept, rows.windows(kept), _outcomes(messages, kept, refused))
    if options.overflow == "split":
        windows, cuts = rows.split(kept, measure, options)
        kept, too_long = _cut(kept, cuts)
        kept, refused_rows = _without_refused(kept, windows, pool, options)
        order = kept.select("conversation").unique(maintain_order=True)
        windows = order.join(windows, on="conversation", maintain_order="left_right")
        return Fitted(kept, windows, _outcomes(messages, kept, refused, too_long, refused_rows))
    fitted, too_long = _shortened(kept, rows, measure, options)
    kept, prefixes = _without_prefixes(kept, fitted)
    return Fitted(kept, rows.windows(kept), _outcomes(messages, kept, refused, too_long, prefixes))


def _outcomes(before: pl.DataFrame, after: pl.DataFrame, *dropped: pl.DataFrame) -> pl.DataFrame:
    """The outcomes of conversations that were dropped, and those of the messages that went."""
    conversations = pl.concat([empty(OUTCOMES), *dropped])
    return pl.concat(
        [conversations, ledger.orphaned_messages(before, after, conversations, "too_long")]
    )


def _without_refused(
    messages: pl.DataFrame, windows: pl.DataFrame | None, pool: TextPool, options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops the conversations of which the template cannot write a row exactly."""
    rows = row_messages(messages, windows)
    refused = refusals(rows, pool)
    if options.train_on == "assistant_with_header":
        why = "train_on is assistant_with_header, which knows no headers beside reasoning and tools"
        refused = _with_more(refused, rows.filter(is_structured()), why)
    if options.train_on == "all":
        why = "train_on is all, and an answer has a weight of its own"
        refused = _with_more(refused, rows.filter(pl.col("weight").is_not_null()), why)
    if options.train_on in ("all", "assistant_with_header"):
        why = f"train_on is {options.train_on}, and an answer has train_parts"
        refused = _with_more(refused, rows.filter(pl.col("train_parts").is_not_null()), why)
    if refused.is_empty():
        return messages, empty(OUTCOMES)
    if windows is not None:
        refused = refused.rename({"conversation": "row"})
        refused = refused.join(windows, on="row", how="left", maintain_order="left")
    return ledger.drop(messages, refused, "unrenderable", pl.col("detail"))


def _with_more(refused: pl.DataFrame, rows: pl.DataFrame, why: str) -> pl.DataFrame:
    """The refused rows, and those of these messages."""
    names = rows["conversation"].unique(maintain_order=True)
    names = names.filter(names.is_in(refused["conversation"].implode()).not_())
    more = {"conversation": names, "detail": [why] * len(names)}
    return pl.concat([refused, pl.DataFrame(more, schema=refused.schema)])


def _cut(messages: pl.DataFrame, cuts: list[Cut]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ends conversations early, and drops those of which no answer is left."""
    table = messages.join(cut_table(cuts), on="conversation", how="left", maintain_order="left")
    is_whole, stays = pl.col("cut_at").is_null(), pl.col("position") <= pl.col("cut_at")
    is_answered = ((pl.col("role") == "assistant") & stays).any().over("conversation")
    unanswered = table.filter(is_whole.not_(), is_answered.not_())
    left = table.filter(is_whole | stays).select(messages.columns)
    return ledger.drop(left, unanswered, "too_long", pl.col("detail"))


def _shortened(
    messages: pl.DataFrame, rows: RowPlan, measure: Measure, options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops conversations that are too long, or cuts them after the last answer that fits.

    What a template writes may depend on the last turn, so what was cut is measured again.
    """
    dropped = [empty(OUTCOMES)]
    while True:
        table = rows.so_far(messages, measure)
        tokens = pl.col("so_far").max().over("conversation")
        table = table.with_columns(long=tokens > options.max_tokens, tokens=tokens)
        if not table["long"].any():
            return messages, pl.concat(dropped)
        messages, too_long = _shortened_once(table, messages.columns, options)
        dropped.append(too_long)


def _shortened_once(
    table: pl.DataFrame, columns: list[str], options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    position = pl.col("position")
    fits = position.filter(
        pl.col("role") == "assistant",
        pl.col("so_far") <= options.max_tokens,
        position < position.max(),
    )
    last = fits.max().over("conversation") if options.overflow == "cut" else pl.lit(None, pl.Int32)
    table = table.with_columns(last=last)
    is_long = pl.col("long").fill_null(False)
    hopeless = table.filter(is_long, pl.col("last").is_null())
    stays = is_long.not_() | (position <= pl.col("last")).fill_null(False)
    detail = pl.format(f"{{}} tokens, {options.max_tokens} allowed", "tokens")
    return ledger.drop(table.filter(stays).select(columns), hopeless, "too_long", detail)


def _without_prefixes(
    before: pl.DataFrame, after: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops conversations that were cut to the beginning of another.

    A message has a single parent, so a conversation is known by its last message.
    """
    lengths = before.group_by("conversation").agg(before=pl.len())
    ends = after.filter(pl.col("position") == pl.col("position").max().over("conversation"))
    ends = ends.join(lengths, on="conversation", how="left", maintain_order="left")
    cut_ends = ends.filter(pl.col("position") + 1 < pl.col("before"))
    if cut_ends.is_empty():
        return after, empty(OUTCOMES)
    covering = after.join(cut_ends, on=["conversation", "message"], how="anti").select(MESSAGE_KEY)
    covered = cut_ends.join(covering, on=MESSAGE_KEY, how="semi", maintain_order="left")
    repeats = cut_ends.filter(pl.struct(MESSAGE_KEY).is_first_distinct().not_())
    detail = "up to " + pl.col("message")
    return ledger.drop(after, pl.concat([covered, repeats]), "prefix_of_another", detail)
