"""Conversations that repeat each other: equal ones, and those that are the beginning of another.

A table of keys has one row a conversation:

    conversation, group
    origin     its tree: paths of a tree share turns by nature, and do not repeat each other
    size       characters of its turns
    rank       the place of its source in the recipe, where the order of sources decides
    digest     of what is compared; of beginnings, of all turns
    prefixes   digests of its beginnings, the whole not counted; fetched part by part

What `likeness` adds to find alike conversations, it names. Nothing depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.hashing import beginnings, digest_column
from chatdata.core.schema import SPOKEN
from chatdata.steps import split

RowNumbers = npt.NDArray[np.int64]

FETCHED = ("prefixes",)
_OF = ("origin", "turns", "rank")
_FEW, _MUCH = 10, 0.01  # groups: more of them, and a larger share of all, are many


# --------------------------------------------------------------------------------------------- keys


def keys(
    messages: pl.DataFrame, compared: pl.Expr, by_tree: bool, against: pl.Expr | None = None
) -> pl.DataFrame:
    """The keys of conversations, with what is compared in a column `compared`, still a text, and in
    `against` what counts against likeness, or null.

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
        against=pl.lit(None, pl.String) if against is None else against,
    )
    return keyed.filter(pl.col("compared").is_not_null())


def with_digest(keyed: pl.DataFrame) -> pl.DataFrame:
    """Keys to find equal conversations by."""
    return keyed.select(pl.exclude("compared", "against"), digest=digest_column(keyed["compared"]))


def with_prefixes(messages: pl.DataFrame, turn: pl.Expr, by_tree: bool) -> pl.DataFrame:
    """Keys to find conversations by that are the beginning of another. `turn` is what is compared
    of a message."""
    begun = beginnings(messages["conversation"], messages.select(turn).to_series())
    keyed = keys(messages.with_columns(begun=begun), pl.col("begun").implode().first(), by_tree)
    digests = pl.col("compared").list
    return keyed.select(
        pl.exclude("compared", "against"),
        turns=digests.len(),
        digest=digests.last(),
        prefixes=digests.head(digests.len() - 1),
    )


# ----------------------------------------------------------------------------------------- clusters


def equal(keyed: pl.DataFrame) -> pl.Series:
    """The cluster of each row of keys: the same for equal digests."""
    return keyed["digest"].rank("dense")


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


# ----------------------------------------------------------------------------------------- outcomes


def members(keyed: pl.DataFrame, cluster: pl.Series) -> pl.DataFrame:
    """The keys of the conversations that are in a cluster with a conversation of another tree."""
    clustered = keyed.with_columns(cluster=cluster)
    return clustered.filter(pl.col("origin").n_unique().over("cluster") > 1)


def ranked(keyed: pl.DataFrame) -> pl.DataFrame:
    """Keys with a `rank`: the same for all where they have none."""
    return keyed if "rank" in keyed.columns else keyed.with_columns(rank=pl.lit(0, pl.Int64))


def repeats(clustered: pl.DataFrame) -> pl.DataFrame:
    """The members that are to go, with the conversation that stays in their place in `of`: that of
    the first source, and of it the smallest id, with the rest of its tree."""
    clustered = ranked(clustered).sort("cluster", "rank", "conversation")
    first = pl.col("conversation", "origin").first().over("cluster")
    clustered = clustered.with_columns(first.name.prefix("first_"))
    repeated = clustered.filter(pl.col("origin") != pl.col("first_origin"))
    return repeated.drop("first_origin").rename({"first_conversation": "of"}).sort("conversation")


def begun(keyed: pl.DataFrame, prefixes: pl.DataFrame) -> pl.DataFrame:
    """The conversations that another one begins with, which is in `of`: of several that with most
    turns, then of the first source, then of the smallest id, since nothing longer begins with it.

    `prefixes` are rows of (conversation, digest), one for each beginning.
    """
    keyed = ranked(keyed)
    longer = prefixes.join(keyed.select("conversation", *_OF), on="conversation")
    longer = longer.rename({"conversation": "of", **{name: f"of_{name}" for name in _OF}})
    pairs = keyed.join(longer, on="digest").filter(pl.col("origin") != pl.col("of_origin"))
    order = ["conversation", "of_turns", "of_rank", "of"]
    pairs = pairs.sort(order, descending=[False, True, False, False])
    return pairs.unique("conversation", keep="first", maintain_order=True)


def begun_members(repeated: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    """The members of clusters: conversations and the one that begins with them."""
    stay = keyed.join(repeated.select(conversation="of"), on="conversation", how="semi")
    both = [
        repeated.select("group", cluster="of"),
        stay.select("group", cluster="conversation"),
    ]
    return pl.concat(both)


def homes(
    clusters: Sequence[pl.DataFrame], left: pl.DataFrame, groups: int | None = None
) -> pl.DataFrame:
    """The groups that must share a split with another, and the group whose split they take.

    `clusters` are tables of members, `left` has a row for each group of which something is
    published, or for those of them that are members; `groups` is then the number of all.

    Groups that clusters connect take the split of the smallest of them in `home`, and where they
    are many, that of the group which is the last to be a test group: a question that half of the
    data begin with would else make half of the data the test split, or none.
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
    moved = moved.with_columns(fraction=split.fraction(moved["group"]))
    last = pl.col("group").sort_by("fraction").last()
    is_large = pl.len() > max(_FEW, (left.height if groups is None else groups) * _MUCH)
    home = pl.when(is_large).then(last).otherwise(pl.col("group").first()).over("place")
    moved = moved.with_columns(home=home).drop("place", "fraction")
    return moved.filter(pl.col("home") != pl.col("group"))
