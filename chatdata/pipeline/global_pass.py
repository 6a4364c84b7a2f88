"""What needs all conversations, between the two passes of a build: the corpus filters of a recipe,
and what its sources are mixed by.

Each part leaves a table of what each filter compares (`write_keys`), so that neither texts nor
parts are held together in memory. `decide` then goes through the filters in the order of the
recipe; each sees what those before it have left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from chatdata.core import arrow, schema
from chatdata.pipeline.context import BuildContext
from chatdata.steps import duplicates, keeping, likeness, mixing
from chatdata.steps.entries import ClustersEntry
from chatdata.steps.filtering import Drop
from chatdata.steps.likeness import Alike
from chatdata.steps.minhash import Numbers
from chatdata.steps.mixing import Mix, Share

_REMOVED = {"part": pl.Int32, "conversation": pl.String, "reason": pl.String, "detail": pl.String}
_TAKEN = {"part": pl.Int32, "conversation": pl.String, "times": pl.Int64}
Measured = Callable[[pl.DataFrame], pl.DataFrame]
_SPLIT_GROUPS = {"part": pl.Int32, "group": pl.String, "split_group": pl.String}


@dataclass(frozen=True, slots=True)
class GlobalDecisions:
    """What becomes of conversations that repeat others, or are more than a source's share.

    `removed` names conversations, the filter or `not_sampled`, and why. `spared` are rows of
    `keeping.SPARED`, for conversations that are kept by hand. `split_groups` names the
    groups that take the split of another group, `split_group`. `near_duplicates` has the figures of
    each near-duplicate filter, by its name. `taken` says how often conversations are taken that are
    taken more than once, and `epochs` how often each source is.
    """

    removed: pl.DataFrame
    spared: pl.DataFrame
    split_groups: pl.DataFrame
    near_duplicates: dict[str, ClustersEntry]
    taken: pl.DataFrame
    epochs: dict[str, float]

    def of_part(self, part: int) -> GlobalDecisions:
        """The decisions that concern a part."""
        split_groups = self.split_groups.filter(part=part)
        removed, taken = self.removed.filter(part=part), self.taken.filter(part=part)
        return GlobalDecisions(removed, self.spared, split_groups, {}, taken, {})

    def split_groups_of(self, groups: pl.Series) -> pl.Series:
        """The groups, or in the place of a group the one whose split it takes."""
        return groups.replace(self.split_groups["group"], self.split_groups["split_group"])


def write_keys(context: BuildContext, part: int, messages: pl.DataFrame) -> None:
    """Writes what each corpus filter compares of the conversations of a part, and for each
    conversation its group and the source of the recipe that gives the conversation."""
    for number, drop in enumerate(context.drops("corpus")):
        keys = _keys(drop, messages).with_row_index("row")
        keys = keys.with_columns(part=pl.lit(part, pl.Int32))
        keys.write_ipc(context.files.table(f"keys-{number}", part))
    groups = messages.unique("conversation", maintain_order=True).select(
        "conversation", "group", source="mixed_as"
    )
    groups = groups.with_columns(part=pl.lit(part, pl.Int32))
    groups.write_ipc(context.files.table("groups", part))


def _keys(drop: Drop, messages: pl.DataFrame) -> pl.DataFrame:
    filter_, compared = drop.filter, drop.filter.expression(**drop.options)
    by_tree = not filter_.siblings
    if filter_.is_prefix:
        return duplicates.with_prefixes(messages, compared, by_tree)
    keys = duplicates.keys(messages, compared.first(), by_tree, filter_.against)
    alike = _alike(drop)
    return likeness.with_sets(keys, alike) if alike else duplicates.with_digest(keys)


def _alike(drop: Drop) -> Alike | None:
    """When conversations are alike to a filter; None where only equal ones concern it."""
    if not drop.filter.is_near:
        return None
    return Alike(**{name: drop.options[name] for name in Alike.__slots__})


def nothing_decided() -> GlobalDecisions:
    """Decisions that change nothing."""
    tables = [pl.DataFrame(schema=schema) for schema in (_REMOVED, _SPLIT_GROUPS, _TAKEN)]
    removed, split_groups, taken = tables
    return GlobalDecisions(removed, schema.empty(keeping.SPARED), split_groups, {}, taken, {})


def decide(context: BuildContext, keep: Sequence[str], measure: Measured) -> GlobalDecisions:
    """What the corpus filters remove, over all parts, and of the rest what mixing leaves out.

    `keep` are ids of conversations that no filter removes. `measure` gives the `tokens` and
    `trained_tokens` of each `conversation`, of those that are not removed.
    """
    removed, near = pl.DataFrame(schema=_REMOVED), dict[str, ClustersEntry]()
    members, spared = list[pl.DataFrame](), [schema.empty(keeping.SPARED)]
    for number, drop in enumerate(context.drops("corpus")):
        decided = _decide_filter(context, number, drop, removed, keep)
        removed = pl.concat([removed, decided.removed])
        members.append(decided.members)
        spared.append(decided.spared)
        if decided.clusters is not None:
            near[drop.filter.name] = decided.clusters
    mixed = _mixed(context, removed, measure)
    removed = pl.concat([removed, _not_sampled(mixed)])
    split_groups = _split_groups(context, members, removed)
    taken = mixed.filter(pl.col("times") > 1).select(_TAKEN.keys())
    return GlobalDecisions(
        removed, pl.concat(spared), split_groups, near, taken, mixing.epochs(mixed)
    )


@dataclass(frozen=True, slots=True)
class _FilterDecision:
    """The conversations that a filter removes, those that are kept by hand, the groups in its
    clusters, and its figures."""

    removed: pl.DataFrame
    spared: pl.DataFrame
    members: pl.DataFrame
    clusters: ClustersEntry | None


def _decide_filter(
    context: BuildContext, number: int, drop: Drop, removed: pl.DataFrame, keep: Sequence[str]
) -> _FilterDecision:
    """What a corpus filter makes of the conversations that those before it have left."""
    keys = _read(context, f"keys-{number}")
    keys = keys.join(removed, on="conversation", how="anti", maintain_order="left")
    keys = keys.join(_ranks(context), on="conversation", how="left", maintain_order="left")
    alike = _alike(drop)
    if drop.filter.is_prefix:
        repeats, members = _begun(context, number, keys)
    elif alike:
        repeats, members = _like(context, number, keys, alike, drop.options["keep"])
    else:
        members = duplicates.members(keys, duplicates.equal(keys))
        repeats = duplicates.repeats(members)
    if "detail" not in repeats.columns:
        repeats = repeats.with_columns(detail=pl.lit(drop.filter.repeats) + pl.col("of"))
    repeats = repeats.with_columns(reason=pl.lit(drop.filter.name))
    repeats, spared = keeping.split(repeats, keep, drop.filter.name)
    return _FilterDecision(
        repeats.select(_REMOVED.keys()),
        spared,
        members.select("group", "cluster"),
        _clusters(alike, members, repeats) if alike else None,
    )


def _begun(
    context: BuildContext, number: int, keys: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The conversations that another one begins with, and the members of clusters."""
    held = []
    for part in context.parts:
        prefixes = arrow.read_table(context.files.table(f"keys-{number}", part))
        rows = prefixes.select("conversation", digest="prefixes").explode("digest")
        held.append(rows.join(keys, on="digest", how="semi"))
    repeats = duplicates.begun(keys, pl.concat(held))
    return repeats, duplicates.begun_members(repeats, keys)


def _like(
    context: BuildContext, number: int, keys: pl.DataFrame, alike: Alike, keep: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The conversations that are like one that stays, and the members of clusters."""
    fetch = functools.partial(_sets, context, number)
    members = duplicates.members(keys, likeness.clusters(keys, alike, fetch))
    return likeness.repeats(members, keep, alike, fetch), members


def _ranks(context: BuildContext) -> pl.DataFrame:
    """The place in the recipe of the source of each conversation, its `rank`."""
    names = [options.name or key for key, options in context.recipe.source.items()]
    ranks = {name: rank for rank, name in enumerate(names)}
    rank = pl.col("source").replace_strict(ranks, return_dtype=pl.Int64)
    return _read(context, "groups").select("conversation", rank=rank)


def _mixed(context: BuildContext, removed: pl.DataFrame, measure: Measured) -> pl.DataFrame:
    """The conversations that are left, with how often each is taken by the recipe's weights and
    caps."""
    shares = {
        options.name or key: Share(options.weight, options.cap)
        for key, options in context.recipe.source.items()
    }
    mix = context.recipe.mix or Mix()
    left = _read(context, "groups").join(
        removed, on="conversation", how="anti", maintain_order="left"
    )
    if mix == Mix() and all(share == Share() for share in shares.values()):
        return left.with_columns(size=pl.lit(1, pl.Int64), times=pl.lit(1, pl.Int64))
    if mix.by == "conversations":
        return mixing.times(left.with_columns(size=pl.lit(1, pl.Int64)), shares, mix)
    sizes = measure(removed).select("conversation", size=mix.by)
    sized = left.join(sizes, on="conversation", how="left", maintain_order="left")
    return mixing.times(sized.with_columns(pl.col("size").fill_null(0)), shares, mix)


def _not_sampled(mixed: pl.DataFrame) -> pl.DataFrame:
    """The conversations that are taken not once."""
    left_out = mixed.filter(times=0)
    left_out = left_out.with_columns(reason=pl.lit("not_sampled"), detail=pl.lit(None, pl.String))
    return left_out.select(_REMOVED.keys())


_FETCHED = [*duplicates.FETCHED, *likeness.FETCHED]


def _read(context: BuildContext, kind: str) -> pl.DataFrame:
    """A table of all parts, without what is fetched later."""
    files = (context.files.table(kind, part) for part in context.parts)
    return pl.concat([arrow.read_table(file).select(pl.exclude(_FETCHED)) for file in files])


def _sets(
    context: BuildContext, number: int, keys: pl.DataFrame
) -> tuple[list[Numbers], list[Numbers]]:
    """The shingles and the words of each row of a table of keys, from the files of the parts."""
    fetched: dict[tuple[int, int], tuple[Numbers, Numbers]] = {}
    for (part,), rows in keys.partition_by("part", as_dict=True).items():
        file = context.files.table(f"keys-{number}", int(part))
        sets = arrow.read_table(file, columns=list(likeness.FETCHED))[rows["row"]]
        pairs = zip(*(map(pl.Series.to_numpy, sets[name]) for name in sets.columns), strict=True)
        fetched.update(zip(rows.select("part", "row").iter_rows(), pairs, strict=True))
    both = [fetched[place] for place in keys.select("part", "row").iter_rows()]
    return [shingles for shingles, _ in both], [words for _, words in both]


def _clusters(alike: Alike, members: pl.DataFrame, repeats: pl.DataFrame) -> ClustersEntry:
    """The figures of a near-duplicate filter, for the manifest."""
    sizes = members["cluster"].value_counts()["count"]
    return ClustersEntry(
        threshold=alike.threshold,
        permutations=alike.permutations,
        clusters=len(sizes),
        largest=int(sizes.max() or 0),  # type: ignore[arg-type]
        dropped=repeats.height,
    )


def _split_groups(
    context: BuildContext, members: list[pl.DataFrame], removed: pl.DataFrame
) -> pl.DataFrame:
    """The groups that take the split of another group, since a cluster connects them."""
    if not members:
        return pl.DataFrame(schema=_SPLIT_GROUPS)
    left = _read(context, "groups").join(removed, on="conversation", how="anti")
    homes = duplicates.homes(members, left.select("part", "group").unique())
    return homes.rename({"home": "split_group"}).select(_SPLIT_GROUPS.keys())
