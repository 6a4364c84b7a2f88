"""Mixing: weights hold, nothing is taken twice, and a sample grows from within."""

from __future__ import annotations

from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.mixing import Share, left_out, limits

NAMES = ["a", "b", "c"]


def table(counts: dict[str, int]) -> pl.DataFrame:
    rows = [
        (f"{name}/{i}", f"{name}/{i // 3}", name) for name in counts for i in range(counts[name])
    ]
    return pl.DataFrame(
        rows, schema=["conversation", "group", "source"], orient="row", strict=True
    ).cast(pl.String)


def taken(counts: dict[str, int], shares: dict[str, Share]) -> set[str]:
    rows = table(counts)
    return set(rows["conversation"]) - set(left_out(rows, shares)["conversation"])


weights = st.integers(1, 1000).map(lambda n: n / 100)
some_counts = st.fixed_dictionaries({name: st.integers(0, 200) for name in NAMES})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(some_counts, st.fixed_dictionaries(dict.fromkeys(NAMES, weights)))
def test_weights_hold_to_a_conversation_and_one_source_is_used_up(
    counts: dict[str, int], given_weights: dict[str, float]
) -> None:
    numbers = limits(counts, {name: Share(weight) for name, weight in given_weights.items()})
    there = [name for name in NAMES if counts[name]]
    assert all(numbers[name] <= counts[name] for name in NAMES)
    assert not there or any(numbers[name] == counts[name] for name in there)
    exact = {name: Fraction(str(weight)) for name, weight in given_weights.items()}
    for one in there:
        for other in there:
            assert numbers[one] / exact[one] < (numbers[other] + 1) / exact[other]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(some_counts, st.integers(1, 100), st.integers(0, 100))
def test_a_larger_cap_takes_what_a_smaller_one_took(
    counts: dict[str, int], cap: int, more: int
) -> None:
    small = taken(counts, {name: Share(cap=cap) for name in NAMES})
    large = taken(counts, {name: Share(cap=cap + more) for name in NAMES})
    assert small <= large
    for name in NAMES:
        assert sum(id.startswith(name) for id in small) == min(cap, counts[name])


def test_the_order_of_the_rows_does_not_show() -> None:
    rows = table({"a": 50, "b": 20})
    shares = {"a": Share(1), "b": Share(3)}
    one = left_out(rows, shares)
    other = left_out(rows.sample(fraction=1, shuffle=True, seed=1), shares)
    assert one.equals(other)
    assert limits({"a": 50, "b": 20}, shares) == {"a": 6, "b": 20}


def test_a_sample_is_not_the_first_of_the_file() -> None:
    kept = taken({"a": 300}, {"a": Share(cap=30)})
    assert kept != {f"a/{i}" for i in range(30)}
    assert max(int(id[2:]) for id in kept) > 200
