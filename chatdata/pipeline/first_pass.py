"""The first pass over a part: its messages are cleaned, annotated, threaded and filtered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from chatdata import sources
from chatdata.core import ledger, schema
from chatdata.pipeline import global_pass, partitions
from chatdata.pipeline.annotate import annotate
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.stats import PartStats
from chatdata.steps import cleaning, filtering, filters, threads, trees
from chatdata.steps.filtering import Drop
from chatdata.steps.threads import Threaded


def first_pass(context: BuildContext, part: int) -> PartStats:
    """The figures of the messages of a part, which are made conversations.

    Writes the conversations that are left, the outcomes of everything else, and what the global
    pass compares.
    """
    by_source = list(_by_source(context, part))
    messages, again = _together({name: threaded.messages for name, threaded, _ in by_source})
    outcomes = [again, *(threaded.outcomes for _, threaded, _ in by_source)]
    for drop in context.drops("conversation"):
        messages, dropped = _drop_conversations(messages, drop)
        outcomes.append(dropped)
    messages.select(schema.MESSAGES.keys()).write_ipc(context.files.table("threaded", part))
    pl.concat(outcomes).write_ipc(context.files.table("outcomes", part))
    global_pass.write_keys(context, part, messages)
    with_variables = messages.filter(pl.col("variables").is_not_null())
    left = PartStats(
        threaded=messages["conversation"].n_unique(),
        with_variables=with_variables["conversation"].n_unique(),
        with_weights=messages.height - messages["weight"].null_count(),
        with_parts=messages.height - messages["train_parts"].null_count(),
    )
    return sum((stats for _, _, stats in by_source), left)


def _by_source(context: BuildContext, part: int) -> Iterator[tuple[str, Threaded, PartStats]]:
    """Yields the name of each source of the recipe, the conversations that the source has in a
    part, and the figures of its messages."""
    for number, (key, options) in enumerate(context.recipe.source.items()):
        frames = list(partitions.read(context.files.messages(number), part))
        if frames:
            name = options.name or key
            yield name, *_thread_source(context, options.format, pl.concat(frames))


def _together(tables: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The conversations of all sources, `mixed_as` the source of the recipe that gives each, and
    outcomes of the conversations that a source before has as well.

    Two sources may hold the same conversation: rows of a published dataset keep their ids.
    """
    together = pl.DataFrame(schema={**schema.MESSAGES, "mixed_as": pl.String})
    outcomes = [schema.empty(ledger.OUTCOMES)]
    for name, messages in tables.items():
        before = together["conversation"].unique().implode()
        again = messages.filter(pl.col("conversation").is_in(before))
        messages, dropped = ledger.drop_with_messages(
            messages, again, "duplicate_id", pl.lit("in another source as well")
        )
        together = pl.concat([together, messages.with_columns(mixed_as=pl.lit(name))])
        outcomes.append(dropped)
    return together, pl.concat(outcomes)


def _thread_source(
    context: BuildContext, format: str, messages: pl.DataFrame
) -> tuple[Threaded, PartStats]:
    messages, cleaned = cleaning.run(messages, context.recipe.steps())
    messages, figures = annotate(context, messages)
    threaded = _thread(context, format, messages)
    return threaded, PartStats(
        cleaned=cleaned, figures=figures, conversations=threaded.conversations
    )


def _thread(context: BuildContext, format: str, messages: pl.DataFrame) -> Threaded:
    """The conversations of messages, marked by the filters that look at a message."""
    drops = context.drops("message")
    listed = {drop.filter.name for drop in drops}
    always = [drop for drop in filters.always() if drop.filter.name not in listed]
    marked = filtering.mark(messages, [*always, *drops])
    is_tree = sources.get(format).SCHEMA is schema.NODES
    return (trees.linearize if is_tree else threads.linearize_turns)(marked, context.recipe.threads)


def _drop_conversations(messages: pl.DataFrame, drop: Drop) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages that a filter of conversations leaves, and outcomes of what it drops."""
    hit = messages.select(drop.expression()).to_series()
    return ledger.drop_with_messages(messages, messages.filter(hit), drop.filter.name)
