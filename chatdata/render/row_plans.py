"""How conversations become rows: each a single row, or a row for each answer.

`plan` decides by the template, and is the only place that does. A template that writes a turn
alike whatever follows teaches all answers in a single row. Many templates do so for words, and
leave out the reasoning of earlier answers: a conversation with reasoning or tools is a single row
where the template writes all its answers as it writes each alone.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import polars as pl

from chatdata.render import windows as spans
from chatdata.render.conversation import is_structured
from chatdata.render.options import Render
from chatdata.render.segments.encoded import encode, refusals
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import Bools, Ints
from chatdata.render.windows import Budget, Cut

# What ends conversations early: the last position that stays, and why.
_CUTS = {"conversation": pl.String, "cut_at": pl.Int64, "detail": pl.String}


class RowPlan(Protocol):
    """How the conversations of a template become rows."""

    def windows(self, messages: pl.DataFrame) -> pl.DataFrame | None:
        """The windows of conversations of any length; None where each is a single row."""
        ...

    def so_far(self, messages: pl.DataFrame, measure: Measure) -> pl.DataFrame:
        """The messages with `so_far`: the tokens of a row that would end there, if a row can."""
        ...

    def split(
        self, messages: pl.DataFrame, measure: Measure, options: Render
    ) -> tuple[pl.DataFrame, list[Cut]]:
        """Windows of at most `max_tokens`, and the conversations that end early."""
        ...


def plan(pool: TextPool) -> RowPlan:
    """How conversations become rows with the template of a pool's tokenizer."""
    template = pool.tokenizer.template
    return RowsByConversation(pool) if template.keeps_history else AnswerRows()


def row_messages(messages: pl.DataFrame, windows: pl.DataFrame | None) -> pl.DataFrame:
    """The messages of each row, `conversation` being the id of the row."""
    return messages if windows is None else spans.rows(messages, windows)


class Measure:
    """The tokens of messages and rows."""

    def __init__(self, pool: TextPool, options: Render) -> None:
        self._pool, self._options = pool, options

    def messages(self, rows: pl.DataFrame) -> Ints:
        """The tokens of each message, with those that the template adds to its content."""
        segments = encode(rows, self._pool, self._options.train_on)
        return np.bincount(segments.message, segments.tokens, rows.height).astype(np.int64)

    def starts(self, rows: pl.DataFrame) -> Ints:
        """The tokens that stand before the first message of each row."""
        return self._pool.tokenizer.template.start_tokens(rows, self._pool)

    def rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The tokens of each row, given as its messages: (row, tokens), in their order."""
        sized = rows.select(row="conversation", tokens=self.messages(rows))
        return sized.group_by("row", maintain_order=True).agg(pl.col("tokens").sum())

    def windows(self, windows: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
        """The tokens of the row of each window: (row, tokens), in their order."""
        return self.rows(spans.rows(messages, windows))


class RowsByConversation:
    """A conversation is a single row where the template can write it so, or a row an answer."""

    def __init__(self, pool: TextPool) -> None:
        self._pool = pool

    def windows(self, messages: pl.DataFrame) -> pl.DataFrame | None:
        """A window for each conversation or answer; None where each conversation is a row."""
        single, several = self._apart(messages)
        if several.is_empty():
            return None
        windows = pl.concat([spans.whole(single), AnswerRows().windows(several)])
        return _in_order_of(windows, messages)

    def so_far(self, messages: pl.DataFrame, measure: Measure) -> pl.DataFrame:
        """The messages with `so_far`: the tokens of a row that would end there, if a row can."""
        single, several = self._apart(messages)
        sized = SingleRows().so_far(single, measure)
        if several.is_empty():
            return sized
        sized = pl.concat([sized, AnswerRows().so_far(several, measure)])
        so_far = sized.select("conversation", "position", "so_far")
        return messages.join(so_far, on=["conversation", "position"], maintain_order="left")

    def split(
        self, messages: pl.DataFrame, measure: Measure, options: Render
    ) -> tuple[pl.DataFrame, list[Cut]]:
        """Windows of at most `max_tokens`, and the conversations that end early."""
        single, several = self._apart(messages)
        windows, cuts = SingleRows().split(single, measure, options)
        if several.is_empty():
            return windows, cuts
        more, more_cuts = AnswerRows().split(several, measure, options)
        return _in_order_of(pl.concat([windows, more]), messages), [*cuts, *more_cuts]

    def _apart(self, messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The conversations that are single rows, and those with a row for each answer."""
        structured = messages.filter(is_structured().any().over("conversation"))
        refused = refusals(structured, self._pool) if structured.height else None
        if refused is None or refused.is_empty():
            return messages, messages.clear()
        is_single = pl.col("conversation").is_in(refused["conversation"].implode()).not_()
        return messages.filter(is_single), messages.filter(is_single.not_())


def _in_order_of(windows: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """The windows in the order of their conversations."""
    order = messages.select("conversation").unique(maintain_order=True)
    return order.join(windows, on="conversation", maintain_order="left_right")


class SingleRows:
    """Each conversation is a single row, if it is not too long."""

    def so_far(self, messages: pl.DataFrame, measure: Measure) -> pl.DataFrame:
        """The messages with `so_far`: the tokens up to and with each message."""
        sized = messages.with_columns(so_far=measure.messages(messages))
        return sized.with_columns(pl.col("so_far").cum_sum().over("conversation"))

    def split(
        self, messages: pl.DataFrame, measure: Measure, options: Render
    ) -> tuple[pl.DataFrame, list[Cut]]:
        """Windows of at most `max_tokens`, and the conversations that end early.

        A template may write more at the ends of a row than in the middle of a row, so the rows
        are measured, and conversations with a row that is too long are split again with less to
        spend.
        """
        budget, cuts = options.budget(), list[Cut]()
        tokens = measure.messages(messages)
        sizes = messages.select("conversation", tokens=tokens)
        sizes = sizes.group_by("conversation", maintain_order=True).agg(pl.col("tokens").sum())
        long = sizes.filter(pl.col("tokens") > options.max_tokens)
        windows = [spans.whole(messages.join(long, on="conversation", how="anti"))]
        while not long.is_empty():
            is_long = messages["conversation"].is_in(long["conversation"].implode())
            part = messages.filter(is_long)
            starts = measure.starts(part)
            split, ends = spans.split(part, tokens[is_long.to_numpy()] - starts, starts, budget)
            sized = measure.windows(split, part).join(split, on="row", maintain_order="left")
            long = _long_conversations(sized, options)
            still = set(long["conversation"])
            windows.append(split.join(long, on="conversation", how="anti", maintain_order="left"))
            cuts += [cut for cut in ends if cut.conversation not in still]
            budget = _reduced(budget, long, options)
        return pl.concat(windows), cuts


def _long_conversations(sized: pl.DataFrame, options: Render) -> pl.DataFrame:
    """The conversations with a row of more than `max_tokens`, and the most tokens of a row."""
    most = sized.group_by("conversation", maintain_order=True).agg(pl.col("tokens").max())
    return most.filter(pl.col("tokens") > options.max_tokens)


def _reduced(budget: Budget, long: pl.DataFrame, options: Render) -> Budget:
    """The budget, less what the longest row has too much."""
    if long.is_empty():
        return budget
    excess = int(long["tokens"].to_numpy().max()) - options.budget().tokens
    return Budget(budget.tokens - excess, budget.carried)


class AnswerRows:
    """Each answer is a row, with the turns before it as context."""

    def windows(self, messages: pl.DataFrame) -> pl.DataFrame:
        """A window for each answer."""
        return spans.each_answer(messages)

    def so_far(self, messages: pl.DataFrame, measure: Measure) -> pl.DataFrame:
        """The messages with `so_far`: the tokens of the row of each answer, null elsewhere."""
        windows = spans.each_answer(messages)
        sized = windows.join(measure.windows(windows, messages), on="row")
        ends = sized.select("conversation", position="last", so_far="tokens")
        on = ["conversation", "position"]
        return messages.join(ends, on=on, how="left", maintain_order="left")

    def split(
        self, messages: pl.DataFrame, measure: Measure, options: Render
    ) -> tuple[pl.DataFrame, list[Cut]]:
        """Windows of at most `max_tokens`, and the conversations that end early.

        A row that is too long loses its earliest turns: it keeps what fits, or as much as
        `carry_tokens` allows.
        """
        limit = options.max_tokens or 0
        budget = Budget(limit, limit if options.carry_tokens is None else options.carry_tokens)
        windows, ends = spans.each_answer(messages), list[pl.DataFrame]()
        sizes = measure.windows(windows, messages)
        too_long = windows.filter(sizes["tokens"] > limit)
        bare = measure.windows(spans.without_context(too_long, messages), messages)
        while (exceeds := _exceeds(sizes, bare, budget)).any():
            windows, stuck = spans.with_less_context(windows, messages, exceeds)
            ends.append(stuck.group_by("conversation").agg(end=pl.col("first").min()))
            windows = _before(windows, ends[-1])
            sizes = measure.windows(windows, messages)
        return windows, _cuts(ends, limit)


def _exceeds(sizes: pl.DataFrame, bare: pl.DataFrame, budget: Budget) -> Bools:
    """Which rows are too long, or carry too much context.

    `bare` is what those rows that were too long at first have without their context.
    """
    tokens = pl.col("tokens")
    sized = sizes.join(bare, on="row", how="left", maintain_order="left", suffix="_bare")
    carries = (tokens - pl.col("tokens_bare") > budget.carried).fill_null(False)
    return sized.select((tokens > budget.tokens) | carries).to_series().to_numpy()


def _before(windows: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """The windows that end before their conversation does."""
    windows = windows.join(ends, on="conversation", how="left", maintain_order="left")
    is_before = pl.col("end").is_null() | (pl.col("last") < pl.col("end"))
    return windows.filter(is_before).select(spans.WINDOWS.keys())


def _cuts(ends: list[pl.DataFrame], limit: int) -> list[Cut]:
    """The conversations that end early, each at the earliest of its ends."""
    if not ends:
        return []
    earliest = pl.concat(ends).group_by("conversation").agg(pl.col("end").min())
    detail = f"an answer and its question need more than {limit} tokens"
    return [Cut(name, end - 1, detail) for name, end in earliest.sort("conversation").iter_rows()]


def cut_table(cuts: list[Cut]) -> pl.DataFrame:
    """Cuts as a table: conversation, cut_at, detail."""
    return pl.DataFrame(cuts, schema=_CUTS, orient="row")
