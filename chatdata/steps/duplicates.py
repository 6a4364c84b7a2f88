"""Conversations that repeat each other: equal, or alike by the runs of words that they share.

Two conversations are alike where their sets of word runs have a Jaccard similarity of at least
`threshold`. Candidates are found by MinHash and locality-sensitive hashing (Broder 1997; Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", 3.4) and counted only where the similarity, from
the sets themselves, says so. A cluster is a connected component: A like B and B like C makes one
cluster of three, also where A and C are less alike. Nothing depends on the order of the rows.

A table of keys has one row a conversation:

    conversation, group
    origin     its tree: paths of a tree share turns by nature, and do not repeat each other
    size       characters of its turns
    rank       the place of its source in the recipe, where the order of sources decides
    digest     of what is compared, where equality is asked for
    signature  MinHash, where likeness is asked for
    shingles   the runs of words, as sorted numbers; fetched for candidates alone
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core.document import Number, Part, Real
from chatdata.core.hashing import digest_column
from chatdata.core.schema import SPOKEN
from chatdata.steps import ngrams

PACKAGES = ("datasketch", "numpy")  # whose versions may change which conversations are alike

RowNumbers = npt.NDArray[np.int64]
Shingles = npt.NDArray[np.uint32]
Fetch = Callable[[pl.DataFrame], list[Shingles]]

# The order of a cluster's conversations; the first stays, with the rest of its tree.
_ORDER = {
    "longest": (["size", "rank", "conversation"], [True, False, False]),
    "smallest_id": (["rank", "conversation"], [False, False]),
}
_RECALL = 0.99  # the share of pairs exactly as alike as the threshold that must become candidates


class ClustersEntry(Part):
    """What a near-duplicate filter found, for the manifest."""

    threshold: Real
    permutations: Number
    clusters: Number
    largest: Number  # conversations
    dropped: Number


@dataclass(frozen=True, slots=True)
class Alike:
    """When two conversations are alike: options of a near-duplicate filter."""

    threshold: float
    permutations: int
    ngram: int
    seed: int

    def bands(self) -> tuple[int, int]:
        """Bands and rows in each: the longest bands that find _RECALL of the pairs."""
        for rows in range(self.permutations, 1, -1):
            bands = self.permutations // rows
            if 1 - (1 - self.threshold**rows) ** bands >= _RECALL:
                return bands, rows
        return self.permutations, 1


# --------------------------------------------------------------------------------------------- keys


def keys(messages: pl.DataFrame, compared: pl.Expr, by_tree: bool) -> pl.DataFrame:
    """The keys of conversations, with what is compared in a column `compared`, still a text.

    A conversation that has nothing to compare has no row.
    """
    tree = pl.concat_str(pl.col("group").first(), pl.col("message").first(), separator="\t")
    keyed = messages.group_by("conversation", maintain_order=True).agg(
        pl.col("group").first(),
        origin=tree if by_tree else pl.col("conversation").first(),
        size=pl.sum_horizontal(pl.col(name).str.len_chars().sum() for name in SPOKEN).cast(
            pl.Int64
        ),
        compared=compared,
    )
    return keyed.filter(pl.col("compared").is_not_null())


def with_digest(keyed: pl.DataFrame) -> pl.DataFrame:
    """Keys to find equal conversations by."""
    return keyed.select(pl.exclude("compared"), digest=digest_column(keyed["compared"]))


def with_shingles(keyed: pl.DataFrame, alike: Alike) -> pl.DataFrame:
    """Keys to find alike conversations by; a conversation without any word has no key."""
    values, offsets = ngrams.shingles(keyed["compared"], alike.ngram)
    sets = pa.LargeListArray.from_arrays(offsets, values)
    signatures = _signatures(values, offsets, alike)
    keyed = keyed.select(
        pl.exclude("compared"),
        shingles=pl.Series(sets, dtype=pl.List(pl.UInt32)),
        signature=pl.Series(signatures, dtype=pl.Array(pl.UInt32, alike.permutations)),
    )
    return keyed.filter(pl.col("shingles").list.len() > 0)


def _signatures(values: Shingles, offsets: RowNumbers, alike: Alike) -> npt.NDArray[np.uint32]:
    """The MinHash signature of each set, a row each."""
    from datasketch import MinHash

    sets = (values[start:end].tolist() for start, end in itertools.pairwise(offsets))
    sketches = MinHash.generator(
        sets, num_perm=alike.permutations, seed=alike.seed, hashfunc=_as_it_is, scheme="affine32"
    )
    rows = [sketch.hashvalues for sketch in sketches]
    return np.asarray(rows, np.uint32).reshape(-1, alike.permutations)


def _as_it_is(shingle: int) -> int:
    """The hash of a shingle, which is a hash."""
    return shingle


# ----------------------------------------------------------------------------------------- clusters


def equal(keyed: pl.DataFrame) -> pl.Series:
    """The cluster of each row of keys: the same for equal digests."""
    return keyed["digest"].rank("dense")


def alike(keyed: pl.DataFrame, options: Alike, fetch: Fetch) -> pl.Series:
    """The cluster of each row of keys: a number of the connected component it is in.

    `fetch` gives the shingles of some rows.
    """
    buckets = list(_buckets(keyed["signature"].to_numpy(), options))
    forest = Forest(keyed.height)
    sets = _Sets(keyed, buckets, fetch)
    for bucket in buckets:
        _join(bucket, forest, sets, options.threshold)
    return pl.Series("cluster", forest.roots(np.arange(keyed.height)))


def _buckets(signatures: npt.NDArray[np.uint32], options: Alike) -> Iterator[RowNumbers]:
    """Yields the rows that agree in a band, for all bands, where there are several.

    By sorting, band after band: the index of the library holds a Python set for each bucket,
    which is a hundred times the memory.
    """
    bands, rows = options.bands()
    for band in range(bands):
        part = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows])
        words = part.view(f"V{4 * rows}").ravel()
        order = np.argsort(words, kind="stable")
        starts = np.flatnonzero(words[order][1:] != words[order][:-1]) + 1
        yield from (bucket for bucket in np.split(order, starts) if len(bucket) > 1)


def _join(bucket: RowNumbers, forest: Forest, sets: _Sets, threshold: float) -> None:
    """Connects the rows of a bucket that are alike; a pair that is connected is not compared."""
    for place, row in enumerate(bucket[:-1]):
        roots = forest.roots(bucket[place:])
        rivals = bucket[place:][roots != roots[0]]
        rivals = rivals[sets.origins[rivals] != sets.origins[row]]
        if len(rivals):
            are_alike = sets.similarities(row, rivals) >= threshold
            forest.join(np.append(rivals[are_alike], row))


class Forest:
    """Sets that grow together: which rows are connected (union-find)."""

    def __init__(self, size: int) -> None:
        self._above = np.arange(size)

    def roots(self, rows: RowNumbers) -> RowNumbers:
        """For each row the smallest row that is connected with it."""
        up = self._above[rows]
        while ((higher := self._above[up]) != up).any():
            up = higher
        self._above[rows] = up
        return up

    def join(self, rows: RowNumbers) -> None:
        """Connects these rows."""
        roots = self.roots(rows)
        self._above[roots] = roots.min()


class _Sets:
    """The shingles of the rows that stand in a bucket, and the trees of all rows."""

    def __init__(self, keyed: pl.DataFrame, buckets: Sequence[RowNumbers], fetch: Fetch) -> None:
        rows = np.unique(np.concatenate([*buckets, np.empty(0, np.int64)]))
        self._sets = dict(zip(rows.tolist(), fetch(keyed[rows]), strict=True))
        self.origins = keyed["origin"].rank("dense").to_numpy()

    def similarities(self, row: int, rows: RowNumbers) -> npt.NDArray[np.float64]:
        """The Jaccard similarity of a row with each of several rows."""
        return jaccard(self._sets[int(row)], [self._sets[int(each)] for each in rows])


def jaccard(shingles: Shingles, sets: Sequence[Shingles]) -> npt.NDArray[np.float64]:
    """How alike a set is to each of several sets: the share that both have of what either has.

    Sets are sorted numbers, none of them empty.
    """
    sizes = np.asarray([len(each) for each in sets])
    flat = np.concatenate(sets)
    place = np.minimum(np.searchsorted(shingles, flat), len(shingles) - 1)
    shared = np.add.reduceat(shingles[place] == flat, np.cumsum(sizes) - sizes, dtype=np.int64)
    return np.asarray(shared / (len(shingles) + sizes - shared))


# ----------------------------------------------------------------------------------------- outcomes


def members(keyed: pl.DataFrame, cluster: pl.Series) -> pl.DataFrame:
    """The keys of the conversations that are in a cluster with a conversation of another tree."""
    clustered = keyed.with_columns(cluster=cluster)
    return clustered.filter(pl.col("origin").n_unique().over("cluster") > 1)


def repeats(clustered: pl.DataFrame, keep: str) -> pl.DataFrame:
    """The members that are to go, with the conversation that stays in their place in `of`."""
    if keep == "all":
        return clustered.clear().with_columns(of=pl.lit(None, pl.String))
    columns, descending = _ORDER[keep]
    if "rank" not in clustered.columns:
        clustered = clustered.with_columns(rank=pl.lit(0))
    clustered = clustered.sort("cluster", *columns, descending=[False, *descending])
    first = pl.col("conversation", "origin").first().over("cluster")
    clustered = clustered.with_columns(first.name.prefix("first_"))
    repeated = clustered.filter(pl.col("origin") != pl.col("first_origin"))
    return repeated.drop("first_origin").rename({"first_conversation": "of"}).sort("conversation")


def likeness(
    repeated: pl.DataFrame, keyed: pl.DataFrame, options: Alike, fetch: Fetch
) -> pl.Series:
    """For each repeat, in words, how alike it is to the conversation that stays.

    Along a chain of conversations the similarity may be less than the threshold.
    """
    stays = repeated.select(conversation="of").join(keyed, on="conversation", maintain_order="left")
    details = []
    for shingles, kept, id in zip(fetch(repeated), fetch(stays), repeated["of"], strict=True):
        (shared,) = jaccard(shingles, [kept])
        way = ", by way of others" if shared < options.threshold else ""
        details.append(f"{np.floor(shared * 100) / 100:.2f} like {id}{way}")
    return pl.Series("detail", details, dtype=pl.String)


def homes(clusters: Sequence[pl.DataFrame], left: pl.DataFrame) -> pl.DataFrame:
    """The groups that must share a split with another, and the group whose split they take.

    `clusters` are tables of members, `left` has a row for each group of which something is
    published. Groups that clusters connect take the split of the smallest of them in `home`.
    """
    linked = [
        clustered.select("group", cluster=pl.format("{} {}", pl.lit(number), "cluster"))
        for number, clustered in enumerate(clusters)
    ]
    links = pl.concat([*linked, pl.DataFrame(schema={"group": pl.String, "cluster": pl.String})])
    places = links["group"].rank("dense").cast(pl.Int64) - 1
    forest = Forest(links["group"].n_unique())
    for (_,), clustered in links.with_columns(place=places).group_by(
        "cluster", maintain_order=True
    ):
        forest.join(clustered["place"].to_numpy())
    links = links.with_columns(place=forest.roots(places.to_numpy())).unique("group")
    moved = left.join(links.select("group", "place"), on="group").sort("group")
    moved = moved.with_columns(home=pl.col("group").first().over("place")).drop("place")
    return moved.filter(pl.col("home") != pl.col("group"))
