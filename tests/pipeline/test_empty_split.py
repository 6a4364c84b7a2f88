"""A split that a recipe asks for and that has no rows: refused, or, by chance, mentioned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core.errors import BuildError
from chatdata.steps.split import empty_split

RECIPE = "name: n\nversion: 1.0.0\nsource: {jsonl: {}}\nsplit: {test_percent: 5}\n"


def conversation(number: int) -> str:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": str(number)}]
    return json.dumps({"id": number, "messages": messages})


def run(folder: Path, command: str, rows: int, percent: float, *more: str) -> Result:
    (folder / "r.yaml").write_text(RECIPE)
    (folder / "a.jsonl").write_text("\n".join(map(conversation, range(rows))))
    arguments = [str(folder / "r.yaml"), "--input", str(folder / "a.jsonl"), *more]
    return CliRunner().invoke(main, [command, *arguments, "--set", f"split.test_percent={percent}"])


REFUSED = [
    (
        12,
        0.1,
        "split.test_percent is 0.1, and the test split has none of the 12 rows; raise it (it "
        "counts percent: 10 is a tenth), add data, or leave `split` out.",
    ),
    (
        12,
        99.9,
        "split.test_percent is 99.9, and the train split has none of the 12 rows; lower it (it "
        "counts percent: 10 is a tenth), add data, or leave `split` out.",
    ),
]


@pytest.mark.parametrize(("rows", "percent", "words"), REFUSED)
def test_a_share_that_gives_a_split_nothing_is_refused(
    tmp_path: Path, rows: int, percent: float, words: str
) -> None:
    for command, more in (("check", ()), ("build", ("--out", str(tmp_path / "out")))):
        outcome = run(tmp_path, command, rows, percent, *more)
        assert (outcome.exit_code, outcome.stderr) == (1, f"Error: {words}\n")
    assert not (tmp_path / "out").exists()


def test_few_rows_may_miss_a_split_and_it_is_said(tmp_path: Path) -> None:
    words = (
        "split.test_percent is 5, and the test split has none of the 2 rows; raise it, add data, "
        "or leave `split` out.\n"
    )
    for command, more in (("check", ()), ("build", ("--out", str(tmp_path / "out")))):
        outcome = run(tmp_path, command, 2, 5, *more)
        assert (outcome.exit_code, outcome.stderr) == (0, words)


def test_ids_of_one_name_share_a_split_and_it_is_said(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    talks = [{"id": f"talk_{number}", "conversations": turns} for number in range(100)]
    (tmp_path / "a.json").write_text(json.dumps(talks))
    recipe = load_recipe("sharegpt", ["render=null", "drop=[]", "split={test_percent: 5}"])
    with pytest.raises(BuildError, match="Conversations of a group share a split"):
        build_dataset(recipe, tmp_path / "out", inputs=[str(tmp_path / "a.json")])


def test_conversations_that_all_begin_alike_are_built_and_it_is_said(tmp_path: Path) -> None:
    words = (
        "split.test_percent is 5, and the test split has none of the 120 rows; raise it, add data, "
        "or leave `split` out. Where nearly all conversations are alike, they share a split by "
        "`near_duplicate_prompt`; without it in `drop` they do not.\n"
    )
    rule = "drop=[{near_duplicate_prompt: {min_words: 1, keep: all}}]"
    out = ("--out", str(tmp_path / "out"), "--set", rule)
    outcome = run(tmp_path, "build", 120, 5, *out)
    assert (outcome.exit_code, outcome.stderr) == (0, words)


@pytest.mark.parametrize("percent", [0, 100])
def test_a_split_that_nobody_asks_for_may_be_empty(tmp_path: Path, percent: float) -> None:
    outcome = run(tmp_path, "check", 3, percent)
    assert (outcome.exit_code, outcome.stderr) == (0, "")


def test_check_does_not_judge_a_part(tmp_path: Path) -> None:
    """The first hundred conversations of more may miss a split that the whole fills."""
    outcome = run(tmp_path, "check", 101, 0.1)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    recipe = load_recipe(str(tmp_path / "r.yaml"), ["split.test_percent=0.1"])
    with pytest.raises(BuildError, match="none of the 101 rows"):
        build_dataset(recipe, tmp_path / "out", inputs=[str(tmp_path / "a.jsonl")])


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 100))
def test_exactly_a_split_with_a_share_and_without_rows_is_named(
    train: int, test: int, percent: float
) -> None:
    empty = empty_split({"train": train, "test": test}, percent)
    shares = {"test": percent, "train": 100 - percent}
    rows = {"train": train, "test": test}
    missing = [name for name in shares if shares[name] > 0 and rows[name] == 0]
    assert (empty is None) == (not missing or train + test == 0)
    if empty:
        assert f"the {missing[0]} split has none of the {train + test} rows" in empty.words
        assert empty.is_chance == (train + test < 100 and shares[missing[0]] >= 1)
