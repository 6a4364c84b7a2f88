"""The first pass over a part: its messages are cleaned, annotated, threaded and filtered."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from chatdata.core import ledger, schema
from chatdata.pipeline import global_pass, partitions
from chatdata.pipeline.annotate import annotate
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.split_reading import numbered
from chatdata.pipeline.stats import PartStats
from chatdata.steps import cleaning, filtering, filters, forgetting, keeping, pairs, threads, trees
from chatdata.steps.filtering import Drop
from chatdata.steps.threads import Threaded


def first_pass(context: BuildContext, part: int) -> PartStats:
    """The figures of the messages of a part, which are made conversations.

    Writes the conversations that are left, the outcomes of everything else, and what the global
    pass compares.
    """
    by_source = list(_by_source(context, part))
    messages, again = _together({made.name: made.threaded.messages for made in by_source})
    outcomes = [again, *(made.threaded.outcomes for made in by_source)]
    spared = [schema.empty(keeping.SPARED), *(made.spared for made in by_source)]
    keep = [*context.recipe.keep, *(id for made in by_source for id in made.stats.kept)]
    for drop in context.drops("conversation"):
        messages, _ = filtering.add_columns(messages, [drop], context.files.columns)
        messages, dropped, named = _drop_conversations(messages, drop, keep)
        outcomes.append(dropped)
        spared.append(named)
    pl.concat(spared).write_ipc(context.files.spared(part))
    messages.select(schema.MESSAGES.keys()).write_ipc(context.files.table("threaded", part))
    pl.concat(outcomes).write_ipc(context.files.table("outcomes", part))
    global_pass.write_keys(context, part, messages)
    nodes = pairs.together([made.nodes for made in by_source])
    if context.recipe.threads.pairs:
        nodes.write_ipc(context.files.table("nodes", part))
    with_variables = messages.filter(pl.col("variables").is_not_null())
    left = PartStats(
        threaded=messages["conversation"].n_unique(),
        with_variables=with_variables["conversation"].n_unique(),
        with_weights=messages.height - messages["weight"].null_count(),
        with_parts=messages.height - messages["train_parts"].null_count(),
        answers=nodes.filter(role="assistant").height,
    )
    return sum((made.stats for made in by_source), left)


@dataclass(frozen=True, slots=True)
class _Threaded:
    """What a source of the recipe, of this name, has in a part: conversations, rows of
    `keeping.SPARED`, figures, and the messages of its trees where pairs are made of them."""

    name: str
    threaded: Threaded
    spared: pl.DataFrame
    stats: PartStats
    nodes: pl.DataFrame

    def __add__(self, more: _Threaded) -> _Threaded:
        """What the trees and the lists of a source have together."""
        first, second = self.threaded, more.threaded
        both = Threaded(
            pl.concat([first.messages, second.messages]),
            pl.concat([first.outcomes, second.outcomes]),
            first.conversations + second.conversations,
            first.figures + second.figures,
        )
        spared = pl.concat([self.spared, more.spared])
        nodes = pl.concat([self.nodes, more.nodes])
        return _Threaded(self.name, both, spared, self.stats + more.stats, nodes)


def _by_source(context: BuildContext, part: int) -> Iterator[_Threaded]:
    """Yields what each source of the recipe has in a part."""
    for number, (key, options) in enumerate(context.recipe.source.items()):
        frames = list(partitions.read(context.files.messages(number), part))
        if frames:
            name = options.name or key
            kinds = schema.by_kind(numbered(pl.concat(frames)))
            first, *more = (_thread_source(context, name, messages) for messages in kinds)
            yield functools.reduce(operator.add, more, first)


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


def _thread_source(context: BuildContext, name: str, messages: pl.DataFrame) -> _Threaded:
    messages, cleaned = cleaning.run(messages, context.recipe.steps())
    messages, figures = annotate(context, messages)
    named = _named(context, messages)
    forgotten = forgetting.find(messages, context.recipe.threads, context.forget_ids())
    marked = _marked(context, messages, named.is_named)
    marked = forgetting.mark(marked, forgotten.is_forgotten)
    linearize = trees.linearize if schema.is_of_trees(messages) else threads.linearize_turns
    threaded = linearize(marked, context.recipe.threads)
    outcomes = forgetting.without_words(threaded.outcomes, forgotten.names)
    threaded = replace(threaded, outcomes=outcomes)
    stats = PartStats(
        cleaned=cleaned,
        figures=figures + threaded.figures,
        conversations=threaded.conversations,
        named=named.ids,
        kept=named.conversations,
        forgotten=forgotten.known,
    )
    spared = keeping.spared_messages(marked, named.names)
    return _Threaded(name, threaded, spared, stats, _nodes(context, marked))


def _nodes(context: BuildContext, marked: pl.DataFrame) -> pl.DataFrame:
    """The marked messages that pairs may be made of: those of trees, where a recipe makes pairs."""
    has_pairs = context.recipe.threads.pairs is not None and schema.is_of_trees(marked)
    return marked.select(pairs.NODES.keys()) if has_pairs else schema.empty(pairs.NODES)


@dataclass(frozen=True, slots=True)
class _Named:
    """The final names of messages, which of them are kept by hand, the ids of `keep` that name any,
    and the conversations that pieces were joined to which `keep` names."""

    names: pl.Series
    is_named: pl.Series
    ids: Counter[str]
    conversations: Counter[str]


def _named(context: BuildContext, messages: pl.DataFrame) -> _Named:
    """What `keep` names of the messages of a source."""
    keep = context.recipe.keep
    if not keep:
        nothing = pl.repeat(False, messages.height, dtype=pl.Boolean, eager=True)
        return _Named(messages["message"], nothing, Counter(), Counter())
    joined = Counter[str]()
    if schema.is_of_trees(messages):
        conversations = messages.select(pl.concat_str("group", "message", separator="/"))
        names = messages["message"]
        paths = trees.paths_to(messages, keep).with_columns(is_on_path=True)
        on_paths = messages.join(paths, on=schema.MESSAGE_KEY, how="left", maintain_order="left")
        of_conversation = on_paths["is_on_path"].fill_null(False)
    else:
        final = threads.names(messages, context.recipe.threads)
        conversations, names = final.select("conversation", "piece"), final["message"]
        homes = final.filter(pl.col("piece").is_in(keep))["conversation"].unique().sort()
        joined = Counter(homes.to_list())
        of_conversation = final["conversation"].is_in([*keep, *homes])
    both = pl.concat([names, *(column.alias(names.name) for column in conversations)])
    ids = Counter(both.filter(both.is_in(keep)).to_list())
    return _Named(names, names.is_in(keep) | of_conversation, ids, joined)


def _marked(context: BuildContext, messages: pl.DataFrame, is_named: pl.Series) -> pl.DataFrame:
    """The messages, marked by the filters that look at a message."""
    drops = context.drops("message")
    listed = {drop.filter.name for drop in drops}
    always = filters.always()
    first = [drop for drop in always if drop.filter.name not in listed]
    return keeping.mark(messages, [*first, *drops], always, is_named)


def _drop_conversations(
    messages: pl.DataFrame, drop: Drop, keep: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The messages that a filter of conversations leaves, outcomes of what it drops, and rows of
    `keeping.SPARED` of what is kept by hand."""
    hit = messages.select(drop.expression()).to_series()
    name = drop.filter.name
    rows = messages.filter(hit)
    if drop.filter.column:
        rows = rows.with_columns(detail=drop.filter.detail)
    rows, spared = keeping.split(rows, keep, name)
    why = pl.col(drop.filter.detail) if drop.filter.column else None
    return *ledger.drop_with_messages(messages, rows, name, why), spared
