"""What needs all conversations, between the two passes of a build: the corpus filters of a recipe,
and what its sources are mixed by.

Each part leaves a table of what each filter compares (`keys`), so that neither texts nor
parts are held together in memory. `decide` then goes through the filters in the order of the
recipe; each sees what those before it have left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core import arrow, schema
from chatdata.pipeline.context import BuildContext
from chatdata.steps import duplicates, filtering, keeping, likeness, mixing
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


def keys(context: BuildContext, messages: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What each corpus filter compares of conversations, by the name of the table."""
    drops = context.drops("corpus")
    messages, _ = filtering.add_columns(messages, drops, context.files.columns)
    return {f"keys-{number}": _keys(drop, messages) for number, drop in enumerate(drops)}


def keys_of_part(part: int, of_filter: pl.DataFrame) -> pl.DataFrame:
    """What a corpus filter compares of the conversations of a part, each with its place."""
    return of_filter.with_row_index("row").with_columns(part=pl.lit(part, pl.Int32))


def groups(part: int, sources: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The conversations of a part with their group and the source of the recipe that gives each.
    `sources` are messages with these."""
    kinds = dict.fromkeys(("conversation", "group", "source"), pl.String)
    named = pl.concat([pl.DataFrame(schema=kinds), *sources])
    named = named.unique("conversation", maintain_order=True)
    return named.with_columns(part=pl.lit(part, pl.Int32))


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


Repeats = tuple[int, pl.DataFrame, Sequence[str]]  # see `decide_filter`


def decide(
    context: BuildContext,
    keep: Sequence[str],
    measure: Measured,
    decide_repeats: Callable[[Repeats], FilterDecision],
) -> GlobalDecisions:
    """What the corpus filters remove, over all parts, and of the rest what mixing leaves out.

    `keep` are ids of conversations that no filter removes. `measure` gives the `tokens` and
    `trained_tokens` of each `conversation`, of those that are not removed. `decide_repeats` gives
    what `decide_filter` does.
    """
    removed, near = pl.DataFrame(schema=_REMOVED), dict[str, ClustersEntry]()
    members, spared = list[pl.DataFrame](), [schema.empty(keeping.SPARED)]
    for number, drop in enumerate(context.drops("corpus")):
        decided = decide_repeats((number, removed, keep))
        removed = pl.concat([removed, decided.removed])
        members.append(decided.members)
        spared.append(decided.spared)
        if decided.clusters is not None:
            near[drop.filter.name] = decided.clusters
    mixed = _mixed(context, removed, measure)
    removed = pl.concat([removed, mixed.left_out])
    split_groups = _split_groups(context, members, removed)
    return GlobalDecisions(
        removed, pl.concat(spared), split_groups, near, mixed.taken, mixed.epochs
    )


@dataclass(frozen=True, slots=True)
class FilterDecision:
    """The conversations that a filter removes, those that are kept by hand, the groups in its
    clusters, and its figures."""

    removed: pl.DataFrame
    spared: pl.DataFrame
    members: pl.DataFrame
    clusters: ClustersEntry | None


def decide_filter(context: BuildContext, task: Repeats) -> FilterDecision:
    """What a corpus filter makes of the conversations that those before it have left.

    `task` is the number of the filter, what those before it remove, and ids that none removes.
    """
    number, removed, keep = task
    drop = context.drops("corpus")[number]
    alike = _alike(drop)
    again = None if drop.filter.is_prefix or alike else _digests_again(context, number)
    keys = _keys_left(context, number, removed, again)
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
    return FilterDecision(
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


_DIGESTS = 1 << 22  # that are compared at a time
_Hashes = npt.NDArray[np.int64]


def _digests_again(context: BuildContext, number: int) -> _Hashes:
    """Hashes of the digests that stand in the keys more than once: numbers, so that what is equal
    to nothing is not held together."""
    files = (context.files.table(f"keys-{number}", part) for part in context.parts)
    rows = sum(map(arrow.height, files))
    ranges = rows // _DIGESTS + 1
    again = []
    for place in range(ranges):
        parts = (_hashes(context, number, part) for part in context.parts)
        hashes = np.sort(np.concatenate([part[part % ranges == place] for part in parts]))
        again.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
    return np.sort(np.concatenate(again))


def _hashes(context: BuildContext, number: int, part: int) -> _Hashes:
    keys = arrow.read_table(context.files.table(f"keys-{number}", part), columns=["digest"])
    return _hashes_of(keys["digest"])


def _hashes_of(digests: pl.Series) -> _Hashes:
    return digests.str.head(15).str.to_integer(base=16).cast(pl.Int64).to_numpy()


def _keys_left(
    context: BuildContext, number: int, removed: pl.DataFrame, again: _Hashes | None
) -> pl.DataFrame:
    """The keys of what is left of all parts, without what is fetched later, with the place in the
    recipe of the source of each, its `rank`; where `again` is given, of these digests alone."""
    names = [options.name or key for key, options in context.recipe.source.items()]
    rank = pl.col("source").replace_strict(
        {name: rank for rank, name in enumerate(names)}, return_dtype=pl.Int64
    )
    tables = []
    for part in context.parts:
        file = context.files.table(f"keys-{number}", part)
        keys = arrow.read_table(file, columns=pl.exclude(_FETCHED))
        if again is not None:
            keys = keys.filter(np.isin(_hashes_of(keys["digest"]), again))
        keys = keys.join(removed, on="conversation", how="anti", maintain_order="left")
        ranks = arrow.read_table(context.files.table("groups", part))
        ranks = ranks.select("conversation", rank=rank)
        tables.append(keys.join(ranks, on="conversation", how="left", maintain_order="left"))
    return pl.concat(tables)


@dataclass(frozen=True, slots=True)
class _Mixed:
    """What mixing leaves out (rows of `removed`), what is taken more than once, and how often each
    source is taken."""

    left_out: pl.DataFrame
    taken: pl.DataFrame
    epochs: dict[str, float]


def _mixed(context: BuildContext, removed: pl.DataFrame, measure: Measured) -> _Mixed:
    """What becomes of the conversations that are left by the recipe's weights and caps."""
    shares = {
        options.name or key: Share(options.weight, options.cap)
        for key, options in context.recipe.source.items()
    }
    mix = context.recipe.mix or Mix()
    if mix == Mix() and all(share == Share() for share in shares.values()):
        sources = {
            name for part in _groups_left(context, removed) for name in part["source"].unique()
        }
        nothing = nothing_decided()
        return _Mixed(nothing.removed, nothing.taken, dict.fromkeys(sorted(sources), 1.0))
    left = pl.concat(_groups_left(context, removed))
    mixed = _by_shares(left, shares, mix, functools.partial(measure, removed))
    taken = mixed.filter(pl.col("times") > 1).select(_TAKEN.keys())
    return _Mixed(_not_sampled(mixed), taken, mixing.epochs(mixed))


def _groups_left(context: BuildContext, removed: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yields the conversations of each part that are left, with their groups and sources."""
    for part in context.parts:
        groups = arrow.read_table(context.files.table("groups", part))
        yield groups.join(removed, on="conversation", how="anti", maintain_order="left")


def _by_shares(
    left: pl.DataFrame, shares: dict[str, Share], mix: Mix, measure: Callable[[], pl.DataFrame]
) -> pl.DataFrame:
    """The conversations with how often each is taken."""
    if mix.by == "conversations":
        return mixing.times(left.with_columns(size=pl.lit(1, pl.Int64)), shares, mix)
    sizes = measure().select("conversation", size=mix.by)
    sized = left.join(sizes, on="conversation", how="left", maintain_order="left")
    return mixing.times(sized.with_columns(pl.col("size").fill_null(0)), shares, mix)


def _not_sampled(mixed: pl.DataFrame) -> pl.DataFrame:
    """The conversations that are taken not once."""
    left_out = mixed.filter(times=0)
    left_out = left_out.with_columns(reason=pl.lit("not_sampled"), detail=pl.lit(None, pl.String))
    return left_out.select(_REMOVED.keys())


_FETCHED = [*duplicates.FETCHED, *likeness.FETCHED]


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
    connected = pl.concat(table.select("group") for table in members).unique()
    number, tables = 0, []
    for part in _groups_left(context, removed):
        left = part.select("part", "group").unique()
        number += left.height
        tables.append(left.join(connected, on="group", how="semi"))
    homes = duplicates.homes(members, pl.concat(tables), number)
    return homes.rename({"home": "split_group"}).select(_SPLIT_GROUPS.keys())
