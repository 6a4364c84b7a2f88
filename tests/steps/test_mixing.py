"""Mixing: weights hold, nothing is taken twice, and a sample grows from within."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.dataset import reader
from chatdata.steps.mixing import Mix, Share, left_out, limits, targets, times
from chatdata.verify.verification import verify_folder

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


@pytest.mark.slow
@settings(max_examples=66, derandomize=True)
@given(some_counts, st.fixed_dictionaries(dict.fromkeys(NAMES, weights)))
def test_weights_hold_to_a_conversation_and_one_source_is_used_up(
    counts: dict[str, int], given_weights: dict[str, float]
) -> None:
    numbers = limits(counts, {name: Share(weight) for name, weight in given_weights.items()})
    present = [name for name in NAMES if counts[name]]
    assert all(numbers[name] <= counts[name] for name in NAMES)
    assert not present or any(numbers[name] == counts[name] for name in present)
    exact = {name: Fraction(str(weight)) for name, weight in given_weights.items()}
    for left in present:
        for right in present:
            assert numbers[left] / exact[left] < (numbers[right] + 1) / exact[right]


@settings(max_examples=50, derandomize=True)
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
    ordered = left_out(rows, shares)
    shuffled = left_out(rows.sample(fraction=1, shuffle=True, seed=1), shares)
    assert ordered.equals(shuffled)
    assert limits({"a": 50, "b": 20}, shares) == {"a": 6, "b": 20}


def test_a_sample_is_not_the_first_of_the_file() -> None:
    kept = taken({"a": 300}, {"a": Share(cap=30)})
    assert kept != {f"a/{i}" for i in range(30)}
    assert max(int(id[2:]) for id in kept) > 200


# ----------------------------------------------------------------------------------- in a build

RECIPE = """
name: mix
version: 1.0.0
about: Conversations of two sources
source:
  talks: {format: jsonl, files: [talks.jsonl], license: mit}
  notes: {format: jsonl, files: [notes.jsonl]}
drop: [empty]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe beside 30 conversations of one source and 20 of another."""
    for name, rows in (("talks", 30), ("notes", 20)):
        records = [{"prompt": f"{name} {number}", "completion": "so"} for number in range(rows)]
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in records)
        )
    (tmp_path / "mix.yaml").write_text(RECIPE)
    return tmp_path / "mix.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        (["source.talks.weight=3", "source.notes.weight=1"], {"talks": 30, "notes": 10}),
        (["source.notes.cap=7"], {"talks": 30, "notes": 7}),
    ],
)
def test_a_build_takes_the_shares_of_its_recipe_and_says_so(
    recipe: Path, tmp_path: Path, settings: list[str], numbers: dict[str, int]
) -> None:
    out = tmp_path / "out"
    facts = build_dataset(load_recipe(recipe, settings), out)
    sources = reader.scan(out, "messages").collect()["source"].to_list()
    assert {name: sources.count(name) for name in numbers} == numbers
    left_out = 50 - len(sources)
    assert facts["counts"]["conversations"]["dropped"] == {"not_sampled": left_out}
    assert facts["counts"]["messages"]["dropped"] == {"not_sampled": 2 * left_out}
    assert {each["source"]: each["rows"] for each in facts["shares"]} == numbers
    assert f"| talks | 30 | {3000 / len(sources):.1f} % |" in (out / "README.md").read_text()
    assert {each.outcome for each in verify_folder(out, everything=True)} <= {"ok", "skipped"}
    again = build_dataset(load_recipe(recipe, settings), tmp_path / "again", workers=2)
    assert again["content_hash"] == facts["content_hash"]


def test_a_source_with_a_cap_of_0_need_not_be_there(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "talks.jsonl").unlink()
    facts = build_dataset(load_recipe(recipe, ["source.talks.cap=0"]), tmp_path / "out")
    assert facts["counts"]["conversations"]["kept"] == 20
    assert facts["shares"] is None


# ------------------------------------------------------------------ sizes, repeats and temperature

sizes = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in NAMES})


@settings(max_examples=66, derandomize=True)
@given(sizes, st.fixed_dictionaries(dict.fromkeys(NAMES, weights)), st.integers(1, 8))
def test_no_source_is_taken_more_often_than_it_may_and_none_is_repeated_without_need(
    available: dict[str, int], given_weights: dict[str, float], epochs: int
) -> None:
    shares = {name: Share(weight) for name, weight in given_weights.items()}
    wanted = targets(available, shares, Mix(max_epochs=epochs))
    present = [name for name in NAMES if available[name]]
    assert all(wanted[name] <= epochs * available[name] for name in NAMES)
    rates = [Fraction(wanted[name], available[name]) for name in present]
    if present:  # the source with most for its weight is taken once, or another as often as it may
        assert min(rates) <= 1
        is_rounded = [wanted[n] + 1 > epochs * available[n] for n in present]
        assert any(is_rounded) or any(wanted[n] == available[n] for n in present)
    once = targets(available, shares, Mix(max_epochs=1))
    assert all(once[name] <= wanted[name] for name in NAMES)


caps = st.none() | st.integers(1, 20_000)


@settings(max_examples=66, derandomize=True)
@given(
    sizes,
    st.fixed_dictionaries(dict.fromkeys(NAMES, weights)),
    st.fixed_dictionaries(dict.fromkeys(NAMES, caps)),
    st.integers(1, 8),
)
def test_a_cap_limits_what_is_taken_again_too_and_weights_hold(
    available: dict[str, int],
    given_weights: dict[str, float],
    limit: dict[str, int | None],
    epochs: int,
) -> None:
    shares = {name: Share(given_weights[name], limit[name]) for name in NAMES}
    wanted = targets(available, shares, Mix(max_epochs=epochs))
    most = {name: min(epochs * available[name], limit[name] or 10**9) for name in NAMES}
    assert all(wanted[name] <= most[name] for name in NAMES)
    present = [name for name in NAMES if available[name]]
    exact = {name: Fraction(str(weight)) for name, weight in given_weights.items()}
    for left in present:
        for right in present:
            assert wanted[left] / exact[left] < (wanted[right] + 1) / exact[right]
    is_used_up = [wanted[n] == available[n] or wanted[n] + 1 > most[n] for n in present]
    assert any(is_used_up) or not present


def test_what_is_taken_is_new_before_anything_is_taken_again() -> None:
    """A cap leaves nothing out of which something else is a repeat."""
    shares = {"a": Share(1, 30), "b": Share(1)}
    rows = table({"a": 20, "b": 40}).with_columns(size=pl.lit(1, pl.Int64))
    often = times(rows, shares, Mix(max_epochs=4)).filter(source="a")["times"]
    assert (often.sum(), often.min(), often.max()) == (30, 1, 2)


def test_a_conversation_of_no_size_is_not_taken_more_often_than_the_rest() -> None:
    rows = table({"a": 9, "b": 9}).with_columns(size=pl.lit(1, pl.Int64))
    rows = rows.with_columns(size=pl.when(group="a/1").then(0).otherwise("size"))
    assert times(rows, {"a": Share(1), "b": Share(1)})["times"].max() == 1


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_what_is_taken_fills_what_is_wanted(
    tokens: list[int], weight: int, other_weight: int
) -> None:
    """To the last conversation that fits, whole epochs first; a repeat is never before its like."""
    rows = table({"a": len(tokens), "b": len(tokens)})
    rows = rows.with_columns(size=pl.Series([*tokens, *reversed(tokens)], dtype=pl.Int64))
    shares = {"a": Share(weight), "b": Share(other_weight)}
    taken = times(rows, shares, Mix(by="tokens", max_epochs=5))
    available = dict.fromkeys("ab", sum(tokens))
    wanted = targets(available, shares, Mix(max_epochs=5))
    for name in "ab":
        of_source = taken.filter(source=name)
        numbers = of_source["times"].to_list()
        assert numbers == sorted(numbers, reverse=True)
        assert max(numbers) - min(numbers) <= 1
        sum_of = int((of_source["size"] * of_source["times"]).sum())
        assert wanted[name] - max(tokens) < sum_of <= wanted[name] or not sum(tokens)


def test_a_temperature_of_one_is_the_sizes_and_a_high_one_makes_them_equal() -> None:
    available, shares = {"a": 1000, "b": 10, "c": 0}, dict.fromkeys(NAMES, Share())
    assert targets(available, shares, Mix(temperature=1)) == available
    equal = targets(available, shares, Mix(temperature=10**9, max_epochs=1000))
    assert equal["c"] == 0
    assert abs(equal["a"] - equal["b"]) <= 1
    between = targets(available, shares, Mix(temperature=2, max_epochs=1000))
    assert between == {"a": 1000, "b": 100, "c": 0}
