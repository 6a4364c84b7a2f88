"""The first pass over a part: its messages are cleaned, annotated, threaded and filtered."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    return put_together(context, part, lambda _, messages: make(context, messages))


@dataclass(frozen=True, slots=True)
class Made:
    """What the first pass makes of messages of a source of the recipe: tables, and figures.

    The tables are `messages` of the conversations that are left, in their order, `outcomes` of the
    others, `spared` (rows of `keeping.SPARED`), `nodes` of trees where pairs are made, `keys-N` of
    the corpus filters, and `ids`, the conversations before any is dropped. What is made of some
    groups does not depend on the others.
    """

    tables: Mapping[str, pl.DataFrame]
    stats: PartStats

    def __add__(self, more: Made) -> Made:
        """What is made of the messages of both, which have no group in common."""
        tables = {
            name: pl.concat([table, more.tables[name]]) for name, table in self.tables.items()
        }
        return Made(tables, self.stats + more.stats).in_order()

    def in_order(self) -> Made:
        """The same with its conversations in order."""
        places = {
            name: ["conversation", "position"] if name == "messages" else ["conversation"]
            for name in self.tables
            if name == "messages" or name.startswith("keys-")
        }
        ordered = {name: self.tables[name].sort(place) for name, place in places.items()}
        return Made({**self.tables, **ordered}, self.stats)


MakeSource = Callable[[str, pl.DataFrame], Made]  # of its name and messages


def put_together(context: BuildContext, part: int, make_source: MakeSource) -> PartStats:
    """The figures of a part, and its files, of what `make_source` makes of each source."""
    names, made = list[str](), list[Made]()
    ids = pl.Series(dtype=pl.String)  # of the sources before
    for name, messages in by_source(context, part):
        of_source = make_source(name, messages)
        if of_source.tables["ids"]["conversation"].is_in(ids.implode()).any():
            of_source = make(context, messages, ids)
        ids = pl.concat([ids, of_source.tables["ids"]["conversation"]])
        names.append(name)
        made.append(of_source)
    return _write(context, part, names, made or [_of_nothing(context)])


def by_source(context: BuildContext, part: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yields the name of each source of the recipe that has files, and its messages in a part."""
    for number, (key, options) in enumerate(context.recipe.source.items()):
        frames = list(partitions.read(context.files.messages_of(number, part)))
        if frames:
            yield options.name or key, numbered(pl.concat(frames))


def make(
    context: BuildContext, messages: pl.DataFrame, ids_before: pl.Series | None = None
) -> Made:
    """What the first pass makes of the messages of a source.

    Two sources may hold the same conversation: rows of a published dataset keep their ids.
    `ids_before` are those that sources before have.
    """
    kinds = (_thread_source(context, of_kind) for of_kind in schema.by_kind(messages))
    return _filtered(context, functools.reduce(operator.add, kinds), ids_before)


def _filtered(context: BuildContext, made: _Threaded, ids_before: pl.Series | None) -> Made:
    """What is made of conversations: those that filters leave."""
    messages = made.threaded.messages
    ids = messages.select("conversation").unique(maintain_order=True)
    outcomes, spared = [made.threaded.outcomes], [made.spared]
    if ids_before is not None:
        again = messages.filter(pl.col("conversation").is_in(ids_before.implode()))
        messages, dropped = ledger.drop_with_messages(
            messages, again, "duplicate_id", pl.lit("in another source as well")
        )
        outcomes.append(dropped)
    keep = [*context.recipe.keep, *made.stats.kept]
    for drop in context.drops("conversation"):
        messages, _ = filtering.add_columns(messages, [drop], context.files.columns)
        messages, dropped, named = _drop_conversations(messages, drop, keep)
        outcomes.append(dropped)
        spared.append(named)
    tables = {
        "messages": messages.select(schema.MESSAGES.keys()),
        "outcomes": pl.concat(outcomes),
        "spared": pl.concat(spared),
        "nodes": made.nodes,
        "ids": ids,
        **global_pass.keys(context, messages),
    }
    return Made(tables, made.stats).in_order()


def _of_nothing(context: BuildContext) -> Made:
    """What is made of no source at all."""
    messages = schema.empty(schema.MESSAGES)
    tables = {
        "messages": messages,
        "outcomes": schema.empty(ledger.OUTCOMES),
        "spared": schema.empty(keeping.SPARED),
        "nodes": schema.empty(pairs.NODES),
        **global_pass.keys(context, messages),
    }
    return Made(tables, PartStats())


def _write(
    context: BuildContext, part: int, names: Sequence[str], made: Sequence[Made]
) -> PartStats:
    """Writes what was made of the sources of these names. Returns the figures of all."""

    def of_all(kind: str) -> pl.DataFrame:
        return pl.concat(of_source.tables[kind] for of_source in made)

    messages, nodes = of_all("messages"), pairs.together([m.tables["nodes"] for m in made])
    tables = {
        "threaded": messages,
        "outcomes": of_all("outcomes").sort(ledger.OUTCOMES.keys()),
        "groups": global_pass.groups(part, _by_name(names, made)),
        **({"nodes": nodes} if context.recipe.threads.pairs else {}),
    }
    for number, _ in enumerate(context.drops("corpus")):
        tables[f"keys-{number}"] = global_pass.keys_of_part(part, of_all(f"keys-{number}"))
    for kind, table in tables.items():
        partitions.save_frame(table, context.files.table(kind, part))
    partitions.save_frame(of_all("spared"), context.files.spared(part))
    with_variables = messages.filter(pl.col("variables").is_not_null())
    left = PartStats(
        threaded=messages["conversation"].n_unique(),
        with_variables=with_variables["conversation"].n_unique(),
        with_weights=messages.height - messages["weight"].null_count(),
        with_parts=messages.height - messages["train_parts"].null_count(),
        answers=nodes.filter(role="assistant").height,
    )
    return sum((of_source.stats for of_source in made), left)


def _by_name(names: Sequence[str], made: Sequence[Made]) -> Iterator[pl.DataFrame]:
    """Yields conversations and groups of each source, with its name."""
    for name, of_source in zip(names, made, strict=False):
        columns = pl.col("conversation", "group"), pl.lit(name).alias("source")
        yield of_source.tables["messages"].select(*columns)


@dataclass(frozen=True, slots=True)
class _Threaded:
    """Conversations of a source, rows of `keeping.SPARED`, figures, and the messages of its trees
    where pairs are made of them."""

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
        return _Threaded(both, spared, self.stats + more.stats, nodes)


def _thread_source(context: BuildContext, messages: pl.DataFrame) -> _Threaded:
    """The conversations that messages of a kind make."""
    messages, cleaned = cleaning.run(messages, context.recipe.steps())
    messages, figures = annotate(context, messages)
    named = _named(context, messages)
    forgotten = forgetting.find(messages, context.recipe.threads, context.forget_ids())
    marked = _marked(context, messages, named.is_named)
    marked = forgetting.mark(marked, forgotten.is_forgotten)
    of_trees = schema.is_of_trees(messages)
    marked = trees.with_tools(marked) if of_trees else marked
    linearize = trees.linearize if of_trees else threads.linearize_turns
    threaded = linearize(marked, context.recipe.threads)
    outcomes = forgetting.without_words(threaded.outcomes, forgotten.names, of_trees=of_trees)
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
    return _Threaded(threaded, spared, stats, _nodes(context, marked))


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
