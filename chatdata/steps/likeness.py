"""Conversations that are alike: how much, which of them are connected, and which are to go.

Two conversations are alike by what their answers share, and less by what their questions do not:

    shared runs of words / (all runs of words of both + words that the questions of one alone have)

A text that both quote adds nothing: five questions about one pasted document, with five answers,
are not alike. Of prompts, which have nothing beside them, this is the Jaccard similarity.

Candidates agree in a band of their MinHash signatures (Broder 1997; Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", 3.4), and count only where the sets themselves say so. A cluster is
a connected component, for the split. A conversation goes only where it is itself like one that
stays. Nothing depends on the order of the rows.

To the keys of `duplicates` are added:

    signature  MinHash of the shingles
    shingles   the runs of words of what is compared, as sorted numbers; fetched for candidates
    words      the words of what counts against likeness, alike
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.steps import duplicates, minhash, ngrams
from chatdata.steps.duplicates import Forest
from chatdata.steps.minhash import Numbers, Rows

Fetch = Callable[[pl.DataFrame], tuple[list[Numbers], list[Numbers]]]
Shares = npt.NDArray[np.float64]

FETCHED = ("shingles", "words")

# The order of a cluster's conversations; the first stays, with the rest of its tree.
_ORDER = {
    "longest": (["size", "rank", "conversation"], [True, False, False]),
    "smallest_id": (["rank", "conversation"], [False, False]),
}
_STAYS = {"of": pl.String, "detail": pl.String}
_RECALL = 0.99  # the share of pairs exactly as alike as the threshold that must become candidates
_CROWD = 200  # rows of a bucket, above which it is cut by what counts against likeness
_MOST_CUTS = 32
_BITS = 1024  # of a sketch
_AT_ONCE = 512  # sketches that are made together


@dataclass(frozen=True, slots=True)
class Alike:
    """When two conversations are alike: options of a near-duplicate filter."""

    threshold: float
    permutations: int
    ngram: int
    seed: int

    def bands(self) -> tuple[int, int]:
        """Bands and places in each: the widest bands that find _RECALL of the pairs."""
        for width in range(self.permutations, 1, -1):
            bands = self.permutations // width
            if 1 - (1 - self.threshold**width) ** bands >= _RECALL:
                return bands, width
        return self.permutations, 1


def with_sets(keyed: pl.DataFrame, alike: Alike) -> pl.DataFrame:
    """Keys to find alike conversations by; a conversation without any word has no key."""
    values, offsets = ngrams.shingles(keyed["compared"], alike.ngram, alike.seed)
    words, ends = ngrams.shingles(keyed["against"], 1, alike.seed)
    signatures = minhash.signatures(values, offsets, alike.permutations)
    keyed = keyed.select(
        pl.exclude("compared", "against"),
        shingles=_lists(values, offsets),
        words=_lists(words, ends),
        signature=pl.Series(signatures, dtype=pl.Array(pl.UInt32, alike.permutations)),
    )
    return keyed.filter(pl.col("shingles").list.len() > 0)


def _lists(values: Numbers, offsets: Rows) -> pl.Series:
    lists = pa.LargeListArray.from_arrays(arrow.int64(offsets), arrow.uint32(values))
    return pl.Series(lists, dtype=pl.List(pl.UInt32))


# ----------------------------------------------------------------------------------------- clusters


def clusters(keyed: pl.DataFrame, options: Alike, fetch: Fetch) -> pl.Series:
    """The cluster of each row of keys: a number of the connected component it is in."""
    buckets = list(minhash.buckets(keyed["signature"].to_numpy(), *options.bands()))
    rows = np.unique(np.concatenate([*buckets, np.empty(0, np.int64)]))
    sets = Sets.of(keyed[rows], options.threshold, fetch)
    forest = Forest(len(rows))
    for bucket in buckets:
        for part in _cut(np.searchsorted(rows, bucket), sets):
            _join(part, forest, sets)
    cluster = np.arange(keyed.height)
    cluster[rows] = rows[forest.roots(np.arange(len(rows)))]
    return pl.Series("cluster", cluster)


def _join(bucket: Rows, forest: Forest, sets: Sets) -> None:
    """Connects the rows of a bucket that are alike; a pair that is connected is not compared."""
    roots = forest.roots(bucket)
    for place, row in enumerate(bucket[:-1]):
        is_apart = roots[place:] != roots[place]
        if not is_apart.any():
            return  # all of the rest is connected
        rivals = bucket[place:][is_apart]
        are_alike = sets.scores(int(row), rivals) >= sets.threshold
        if are_alike.any():
            forest.join(np.append(rivals[are_alike], row))
            roots = forest.roots(bucket)


def _cut(bucket: Rows, sets: Sets) -> Iterator[Rows]:
    """Yields parts of a crowded bucket that hold each pair of it that can be alike.

    Where the questions of two may differ in n words, and words are dealt into n + 1 hands, the two
    have a hand in common.
    """
    most = max(len(sets.shingles[row]) for row in bucket)
    hands = int((1 - sets.threshold) / sets.threshold * most + 1e-9) + 1
    words = [sets.words[row] for row in bucket]
    if len(bucket) <= _CROWD or hands > _MOST_CUTS or not any(map(len, words)):
        yield bucket
        return
    dealt = _deal(words, hands)
    for hand in range(hands):
        column = np.ascontiguousarray(dealt[:, hand : hand + 1])
        yield from (bucket[part] for part in minhash.equal_rows(column))


def _deal(words: Sequence[Numbers], hands: int) -> npt.NDArray[np.uint64]:
    """A number for each hand of each set of words: the same for the same words."""
    flat = np.concatenate(words).astype(np.uint64)
    owner = np.repeat(np.arange(len(words)), [len(each) for each in words])
    cells = owner * hands + (flat % np.uint64(hands)).astype(np.int64)
    order = np.argsort(cells, kind="stable")
    first = np.flatnonzero(np.diff(cells[order], prepend=-1))
    dealt = np.zeros((len(words), hands), np.uint64)
    dealt.ravel()[cells[order][first]] = np.add.reduceat(ngrams.mixed(flat + 1)[order], first)
    return dealt


# ----------------------------------------------------------------------------------------- likeness


@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of some rows, their trees, and sketches of the sets.

    A bit of a sketch is whether an odd number of the set falls on it. Two sets differ in at least
    as many numbers as their sketches do in bits, which is quickly seen.
    """

    shingles: list[Numbers]
    words: list[Numbers]
    origins: npt.NDArray[np.uint32]
    threshold: float
    sizes: Rows
    sketches: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]

    @classmethod
    def of(cls, rows: pl.DataFrame, threshold: float, fetch: Fetch) -> Sets:
        """The sets of rows of keys."""
        shingles, words = fetch(rows)
        return cls(
            shingles,
            words,
            rows["origin"].rank("dense").to_numpy(),
            threshold,
            np.asarray([len(each) for each in shingles], np.int64),
            (_sketches(shingles), _sketches(words)),
        )

    def scores(self, row: int, rows: Rows) -> Shares:
        """How much a row is like each of several rows; 0 where that is less than the threshold, or
        where both are of one tree."""
        scores = np.zeros(len(rows))
        some = self._may_be_alike(row, rows)
        if not len(some):
            return scores
        sizes = self.sizes[rows[some]] + self.sizes[row]
        shared = _shared(self.shingles, row, rows[some])
        words = np.asarray([len(self.words[each]) for each in rows[some]]) + len(self.words[row])
        against = words - 2 * _shared(self.words, row, rows[some])
        exact = shared / (sizes - shared + against)
        scores[some] = np.where(exact >= self.threshold, exact, 0)
        return scores

    def _may_be_alike(self, row: int, rows: Rows) -> Rows:
        """Which of several rows a row may be like, by the least that their sets differ."""
        most = (1 - self.threshold) * (self.sizes[rows] + self.sizes[row]) + 1e-6
        least = (1 + self.threshold) * _differ(self.sketches[0], row, rows)
        some = np.flatnonzero((least <= most) & (self.origins[rows] != self.origins[row]))
        against = 2 * self.threshold * _differ(self.sketches[1], row, rows[some])
        may_be: Rows = some[least[some] + against <= most[some]]
        return may_be


def _differ(sketches: npt.NDArray[np.uint64], row: int, rows: Rows) -> Rows:
    """In how many bits the sketch of a row differs from those of several rows."""
    counts: Rows = np.bitwise_count(sketches[rows] ^ sketches[row]).sum(axis=1, dtype=np.int64)
    return counts


def _shared(sets: Sequence[Numbers], row: int, rows: Rows) -> Rows:
    """How many numbers a set has in common with each of several sets; sets are sorted."""
    picked = [sets[each] for each in rows]
    flat, ends = np.concatenate(picked), np.cumsum([len(each) for each in picked])
    if not len(sets[row]):
        return np.zeros(len(rows), np.int64)
    place = np.minimum(np.searchsorted(sets[row], flat), len(sets[row]) - 1)
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(sets[row][place] == flat)])
    shared: Rows = np.diff(total[ends], prepend=0)
    return shared


def _sketches(sets: Sequence[Numbers]) -> npt.NDArray[np.uint64]:
    """The sketch of each set, a row each."""
    made = [np.empty((0, _BITS // 64), np.uint64)]
    for start in range(0, len(sets), _AT_ONCE):
        some = sets[start : start + _AT_ONCE]
        owner = np.repeat(np.arange(len(some)), [len(each) for each in some])
        bits = owner * _BITS + (np.concatenate(some) % _BITS)
        odd = np.bincount(bits, minlength=len(some) * _BITS).astype(np.uint8) & 1
        made.append(np.packbits(odd).view(np.uint64).reshape(len(some), -1))
    return np.concatenate(made)


# ------------------------------------------------------------------------------------------ repeats


def repeats(clustered: pl.DataFrame, keep: str, options: Alike, fetch: Fetch) -> pl.DataFrame:
    """The members of clusters that are to go, each with the conversation that stays in its place
    in `of`, and how much it is like it in `detail`.

    In the order of `keep`, with the conversations of a tree together, each stays unless it is like
    one that stays.
    """
    if keep == "all":
        return pl.concat([clustered.clear(), pl.DataFrame(schema=_STAYS)], how="horizontal")
    ordered = _in_order(clustered, keep)
    like = _repeated(ordered, Sets.of(ordered, options.threshold, fetch))
    of = [ordered["conversation"][row] for row, _ in like.values()]
    shares = [np.floor(share * 100) / 100 for _, share in like.values()]
    detail = [f"{share:.2f} like {id}" for share, id in zip(shares, of, strict=True)]
    stays = pl.DataFrame({"of": of, "detail": detail}, schema=_STAYS)
    return pl.concat([ordered[list(like)], stays], how="horizontal").sort("conversation")


def _in_order(clustered: pl.DataFrame, keep: str) -> pl.DataFrame:
    """The members of clusters, cluster by cluster in the order of `keep`, those of a tree together:
    where the first of them stands."""
    columns, descending = _ORDER[keep]
    ranked = duplicates.ranked(clustered)
    ranked = ranked.sort("cluster", *columns, descending=[False, *descending])
    first_of_tree = pl.int_range(pl.len()).min().over("cluster", "origin")
    return ranked.sort(pl.col("cluster"), first_of_tree, maintain_order=True)


def _repeated(ordered: pl.DataFrame, sets: Sets) -> dict[int, tuple[int, float]]:
    """What `_stand_ins` gives of all clusters."""
    like: dict[int, tuple[int, float]] = {}
    lengths = ordered["cluster"].rle().struct.field("len").to_list()
    for end, length in zip(itertools.accumulate(lengths), lengths, strict=True):
        like |= _stand_ins(range(end - length, end), sets)
    return like


def _stand_ins(rows: range, sets: Sets) -> dict[int, tuple[int, float]]:
    """The rows of a cluster that are to go, each with the row that it is most like of those that
    stay, and how much."""
    stay, repeated = list[int](), dict[int, tuple[int, float]]()
    for row in rows:
        scores = sets.scores(row, np.asarray(stay, np.int64))
        best = int(scores.argmax()) if stay else 0
        if stay and scores[best]:
            repeated[row] = stay[best], float(scores[best])
        else:
            stay.append(row)
    return repeated
