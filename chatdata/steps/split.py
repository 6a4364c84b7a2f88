"""Train and test, by a hash of the group."""

from __future__ import annotations

import polars as pl

from chatdata.core.hashing import fraction_column


def split_of(groups: pl.Series, test_percent: float) -> pl.Series:
    """The split of each row, by a hash of its group alone.

    Rows of one group (a tree, the pieces of one dialogue) are in one split, and stay there when
    rows are added, whatever their order.
    """
    is_test = fraction_column(groups, "split") < test_percent / 100
    return is_test.replace_strict({True: "test", False: "train"}, return_dtype=pl.String)


def leaking_groups(groups: pl.Series, splits: pl.Series) -> int:
    """How many groups have rows in more than one split: 0, unless something is wrong."""
    pairs = pl.DataFrame({"group": groups, "split": splits}).unique()
    return pairs.height - pairs["group"].n_unique()
