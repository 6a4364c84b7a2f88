"""Train and test, by a hash of the group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from chatdata.core.hashing import fraction_column


def split_of(groups: pl.Series, test_percent: float) -> pl.Series:
    """The split of each row, by a hash of its group alone.

    Rows of one group (a tree, the pieces of one dialogue) are in one split, and stay there when
    rows are added, whatever their order.
    """
    is_test = fraction(groups) < test_percent / 100
    return is_test.replace_strict({True: "test", False: "train"}, return_dtype=pl.String)


def fraction(groups: pl.Series) -> pl.Series:
    """From 0 to 1 for each group: below which share of test groups it is none."""
    return fraction_column(groups, "split")


def leaking_groups(groups: pl.Series, splits: pl.Series) -> int:
    """How many groups have rows in more than one split: 0, unless something is wrong."""
    pairs = pl.DataFrame({"group": groups, "split": splits}).unique()
    return pairs.height - pairs["group"].n_unique()


class EmptySplit(NamedTuple):
    """A split that a recipe asks for and that has no rows: why, and the way out. `is_chance`: so
    few rows may miss a split that a recipe means to have."""

    words: str
    is_chance: bool


_FEW = 100  # rows


def empty_split(rows: Mapping[str, int], test_percent: float) -> EmptySplit | None:
    """The split that has none of the rows although it has a share of them; None where none is."""
    shares = {"test": test_percent, "train": 100 - test_percent}
    total = sum(rows.values())
    name = next((name for name in shares if shares[name] and not rows.get(name)), None)
    if not total or name is None:
        return None
    change = "raise" if name == "test" else "lower"
    percent = " (it counts percent: 10 is a tenth)" if shares[name] < 1 else ""
    words = (
        f"split.test_percent is {test_percent:g}, and the {name} split has none of the {total} "
        f"rows; {change} it{percent}, add data, or leave `split` out."
    )
    return EmptySplit(words, is_chance=total < _FEW and shares[name] >= 1)
