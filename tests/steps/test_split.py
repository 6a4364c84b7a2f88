"""The split: by the group alone, about as large as asked, and it stays put."""

from __future__ import annotations

import polars as pl
import pytest

from chatdata.steps import split

GROUPS = pl.Series([f"oasst1/{i}" for i in range(20_000)])


@pytest.mark.parametrize("percent", [0, 0.5, 10, 50, 100])
def test_the_share_is_about_what_was_asked(percent: float) -> None:
    share = (split.split_of(GROUPS, percent) == "test").mean()
    assert share == pytest.approx(percent / 100, abs=0.01)


def test_a_group_stays_where_it_is() -> None:
    whole = dict(zip(GROUPS, split.split_of(GROUPS, 10), strict=True))
    some = GROUPS.gather_every(7).reverse()
    assert [whole[group] for group in some] == split.split_of(some, 10).to_list()


def test_a_larger_test_split_holds_the_smaller_one() -> None:
    small, large = (split.split_of(GROUPS, percent) == "test" for percent in (5, 10))
    assert (small & ~large).sum() == 0


def test_the_split_of_some_groups_on_every_machine() -> None:
    """A golden: published splits depend on these."""
    splits = split.split_of(pl.Series(["oasst1/a", "oasst1/b", "sharegpt/x", "é", ""]), 40)
    assert splits.to_list() == ["test", "train", "train", "train", "train"]


def test_leakage_is_counted() -> None:
    groups, splits = (
        pl.Series(["a", "a", "b", "c", "c"]),
        pl.Series(["train", "test"] * 2 + ["test"]),
    )
    assert split.leaking_groups(groups, splits) == 1
    splits = split.split_of(GROUPS, 50)
    assert split.leaking_groups(pl.concat([GROUPS, GROUPS]), pl.concat([splits, splits])) == 0
