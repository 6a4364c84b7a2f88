"""The second pass over a part: what repeats is dropped, the rest is split and rendered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from chatdata.core import arrow, ledger, schema, tallies
from chatdata.core.constants import SPLITS
from chatdata.core.hashing import hash_column
from chatdata.dataset import pair_rows, ranked_rows, row_digests, schemas, tables
from chatdata.dataset.pair_rows import PairRows
from chatdata.dataset.pair_tokens import PairTokens
from chatdata.dataset.ranked_rows import RankedRows
from chatdata.dataset.rows import Rows, by_split, message_rows, owners, token_rows
from chatdata.dataset.tables import Table
from chatdata.pipeline import digests, shard_rows
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.global_pass import GlobalDecisions, nothing_decided
from chatdata.pipeline.stats import PartStats, Totals
from chatdata.pipeline.tokenizing import RenderedPart, save_rows, tokenize
from chatdata.pipeline.tokenizing_pairs import tokenize_pairs
from chatdata.steps import keeping, mixing, pairs, split, threads
from chatdata.steps.figures import FiguresByKey


def second_pass(context: BuildContext, task: tuple[int, GlobalDecisions]) -> PartStats:
    """The figures of the rows of a part, which are written for the shards.

    `task` is the number of the part, and what the global pass decided about the part.
    """
    part, decisions = task
    threaded = arrow.read_table(context.files.table("threaded", part))
    messages, repeats = _drop_decided(threaded, decisions)
    mixed, again = mixing.repeated(messages, decisions.taken)
    rendered = _render(context, part, _in_order(context, mixed, decisions))
    rows = _rows(context, rendered, decisions)
    before = pl.concat([arrow.read_table(context.files.table("outcomes", part)), repeats])
    paired = _pairs(context, part, decisions, messages, before)
    of_pairs = tokenize_pairs(context, f"part {part}", paired.rows)
    spared = pl.concat([arrow.read_table(context.files.spared(part)), decisions.spared])
    kept = keeping.say(_kept_outcomes(rendered.messages, rows), spared)
    made = ledger.as_repeats(pl.concat([rendered.outcomes, kept]), again)
    outcomes = ledger.follow(pl.concat([before, made]))
    _save(context, part, rows, outcomes, paired)
    _save_pairs(context, part, paired, of_pairs.rows)
    hashed = digests.save(context.files, part, row_digests.of_conversations(rows))
    stats = _stats(context, part, rows, again) + _outcome_stats(context, outcomes, paired)
    return rendered.figures(rows, hashed) + of_pairs.stats + stats


def _stats(context: BuildContext, part: int, rows: Rows, again: pl.DataFrame) -> PartStats:
    """What is counted of the rows of a part, of which some are there `again`."""
    return PartStats(
        sources=_sources(context, part, rows, again),
        source_tokens=_tokens_by_source(context, part, rows, again),
        repeats=int(rows.is_named(again["conversation"]).sum()),
        leaking_groups=split.leaking_groups(pl.Series(rows.messages["group"]), rows.splits),
    )


def _outcome_stats(context: BuildContext, outcomes: pl.DataFrame, paired: _Paired) -> PartStats:
    """What is counted of outcomes, of pairs and of ranked answers."""
    by_hand = {keeping.KEY: keeping.count(outcomes)} if context.recipe.keep else {}
    return PartStats(
        figures=FiguresByKey(by_hand),
        tally=tallies.tally(pl.concat([outcomes, paired.outcomes])),
        pair_totals=Totals(paired.rows.totals()),
        pair_digests=(paired.rows.digests(),),
        questions=paired.rows.questions(),
        ranked_totals=Totals(paired.ranked.totals()),
        ranked_digests=(paired.ranked.digests(),),
    )


@dataclass(frozen=True, slots=True)
class _Paired:
    """The rows of the pairs of a part and of its ranked answers, and outcomes of the answers of
    its trees."""

    rows: PairRows
    ranked: RankedRows
    outcomes: pl.DataFrame


def _pairs(
    context: BuildContext,
    part: int,
    decisions: GlobalDecisions,
    kept: pl.DataFrame,
    outcomes: pl.DataFrame,
) -> _Paired:
    """The pairs of a part, where a recipe makes any, in the order of its messages.

    `kept` are the messages that stay before they are rendered, and `outcomes` is what became of the
    rest: whether a template can write an answer is nothing that a pair depends on.
    """
    options = context.recipe.threads
    if options.pairs is None:
        nothing = PairRows(arrow.no_rows(schemas.PAIRS), pl.Series(dtype=pl.String))
        return _Paired(nothing, ranked_rows.none(), schema.empty(ledger.OUTCOMES))
    nodes = arrow.read_table(context.files.table("nodes", part))
    nodes = pairs.with_losses(nodes, kept, outcomes)
    made = pairs.make(nodes, options.pairs, options.margin)
    ordered = _as_published(context, made.pairs, decisions)
    rows = PairRows(pair_rows.make(nodes, ordered), ordered["split"].cast(pl.String))
    groups = _as_published(context, made.groups, decisions)
    ranked = RankedRows(ranked_rows.make(nodes, groups), groups["split"].cast(pl.String))
    return _Paired(rows, ranked, made.outcomes)


def _as_published(
    context: BuildContext, rows: pl.DataFrame, decisions: GlobalDecisions
) -> pl.DataFrame:
    """The rows, which have a `group`, with their `split`, in the order of messages."""
    split_groups = decisions.split_groups_of(rows["group"])
    order = hash_column(rows["group"], "order")
    placed = rows.with_columns(split_groups, order=order, split=_splits(context, split_groups))
    return placed.sort("split", "order", maintain_order=True)


def _drop_decided(
    messages: pl.DataFrame, decisions: GlobalDecisions
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages that the global pass leaves, and outcomes of what it drops, by reason."""
    outcomes = [schema.empty(ledger.OUTCOMES)]
    first = messages.unique("conversation", keep="first", maintain_order=True)
    for removed in decisions.removed.partition_by("reason", maintain_order=True):
        conversations = first.join(removed, on="conversation", maintain_order="left")
        messages, dropped = ledger.drop_with_messages(
            messages, conversations, pl.col("reason"), pl.col("detail")
        )
        outcomes.append(dropped)
    return messages, pl.concat(outcomes)


def _in_order(
    context: BuildContext, messages: pl.DataFrame, decisions: GlobalDecisions
) -> pl.DataFrame:
    """The messages in the order in which they are published, those of the test split last."""
    order = hash_column(messages["group"], "order")
    splits = _splits(context, decisions.split_groups_of(messages["group"]))
    ordered = messages.with_columns(order=order, split=splits)
    ordered = ordered.sort("split", "order", "conversation", "position")
    return ordered.select(schema.MESSAGES.keys())


def _splits(context: BuildContext, split_groups: pl.Series) -> pl.Series:
    """The split of each group, as an Enum whose order is that of the splits."""
    percent = context.recipe.split.test_percent if context.recipe.split else 0
    return split.split_of(split_groups, percent).cast(pl.Enum(SPLITS))


def _render(context: BuildContext, part: int, messages: pl.DataFrame) -> RenderedPart:
    """The rows of tokens of a part, where the recipe renders.

    Raises RenderError where a row is not what the template writes.
    """
    if context.tokenizer is None:
        return RenderedPart(messages)
    once = context.recipe.threads.train_once
    return tokenize(context, f"part {part}", messages, threads.train_once if once else _as_it_is)


def _as_it_is(messages: pl.DataFrame) -> pl.DataFrame:
    return messages


def _rows(context: BuildContext, rendered: RenderedPart, decisions: GlobalDecisions) -> Rows:
    """The rows of a part as they are published, with their splits."""
    split_groups = decisions.split_groups_of(rendered.messages["group"])
    messages = message_rows(rendered.messages.with_columns(split_groups))
    splits = _splits(context, pl.Series(messages["group"])).cast(pl.String)
    if rendered.tokens is None:
        return Rows(messages, None, np.empty(0, np.int64), splits)
    return Rows(messages, token_rows(rendered.tokens), owners(messages, rendered.tokens), splits)


def measured(context: BuildContext, task: tuple[int, pl.DataFrame]) -> pl.DataFrame:
    """The `tokens` and `trained_tokens` of the conversations of a part, each taken once.

    `task` is the number of the part, and the conversations that are removed.
    """
    part, removed = task
    threaded = arrow.read_table(context.files.table("threaded", part))
    left = threaded.join(removed, on="conversation", how="anti", maintain_order="left")
    tokens = _render(context, part, _in_order(context, left, nothing_decided())).tokens
    assert tokens is not None
    rows = pl.DataFrame(
        {
            "conversation": pl.Series(tokens.conversations, dtype=pl.String),
            "tokens": np.diff(tokens.offsets).astype(np.int64),
            "trained_tokens": tokens.trained.astype(np.int64),
        }
    )
    return rows.group_by("conversation", maintain_order=True).sum()


def _by_row(context: BuildContext, part: int, rows: Rows, again: pl.DataFrame) -> list[str]:
    """The source of the recipe that gives each row."""
    groups = arrow.read_table(context.files.table("groups", part))
    sources = dict(groups.select("conversation", "source").iter_rows())
    of = dict(again.iter_rows())
    return [sources[of.get(id, id)] for id in rows.messages["id"].to_pylist()]


def _sources(context: BuildContext, part: int, rows: Rows, again: pl.DataFrame) -> Counter[str]:
    """How many rows each source of the recipe gives."""
    return Counter(_by_row(context, part, rows, again))


def _tokens_by_source(context: BuildContext, part: int, rows: Rows, again: pl.DataFrame) -> Totals:
    """How many tokens, and trained tokens, each source of the recipe gives, where they decide."""
    if rows.tokens is None or context.recipe.mix is None:
        return Totals()
    return Totals(rows.tokens_by(_by_row(context, part, rows, again)))


def _kept_outcomes(messages: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Outcomes of what is published: each row, and each message in the first row that holds it."""
    no_reason = pl.lit(None, pl.String)
    first = messages.unique(schema.MESSAGE_KEY, keep="first", maintain_order=True)
    conversations = messages.unique("conversation", keep="first", maintain_order=True)
    detail = pl.concat_str(pl.lit("in "), pl.lit(rows.splits), pl.lit(rows.several()))
    place = pl.format("turn {}", "position")
    return pl.concat(
        [
            ledger.outcomes_of("message", first, "message", no_reason, place),
            ledger.outcomes_of("conversation", conversations, "conversation", no_reason, detail),
        ]
    )


def _save(
    context: BuildContext, part: int, rows: Rows, outcomes: pl.DataFrame, paired: _Paired
) -> None:
    """Writes the tables of a part, from which shards are written."""
    entries = ledger.entries(pl.concat([outcomes, paired.outcomes]))
    entries = entries.to_arrow().cast(tables.LEDGER.schema)
    save_rows(context, part, rows, tables.TABLES)
    for name in tables.LEDGER.splits:
        shard_rows.save(context.files, part, tables.LEDGER, name, entries)
    if context.keeps_dropped:
        dropped = ledger.dropped_rows(outcomes).to_arrow().cast(tables.DROPPED.schema)
        (name,) = tables.DROPPED.splits
        shard_rows.save(context.files, part, tables.DROPPED, name, dropped)


def _save_pairs(context: BuildContext, part: int, paired: _Paired, tokens: PairTokens) -> None:
    """Writes the pairs of a part, its ranked answers, and the rows of tokens of the pairs."""
    rows: dict[Table, PairRows | RankedRows | PairTokens] = {
        tables.PAIRS: paired.rows,
        tables.RANKED: paired.ranked,
        tables.PAIR_TOKENS: tokens,
    }
    for table, made in rows.items():
        for name, of_split in by_split(made.table, made.splits).items():
            shard_rows.save(context.files, part, table, name, of_split)
