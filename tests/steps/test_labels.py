"""Labels of a source: read in each of its forms, filters over them, and their figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import BuildError, ConfigError
from chatdata.dataset import manifest, reader, report
from chatdata.steps import labels
from tests.support.builds import make, rows_of
from tests.support.reading import read, unread

RECIPE = """
name: labelled
version: 1.0.0
source: {oasst: {}}
max_dropped: 1.0
"""


def said_of(id: str, **judged: float) -> dict[str, Any]:
    """A tree of a question and an answer, of which people judged so."""
    answer = {"message_id": f"{id}a", "text": f"{id}?", "role": "assistant", "labels": judged}
    return {"message_id": id, "text": f"I am {id}", "role": "prompter", "replies": [answer]}


def build(folder: Path, rows: list[dict[str, Any]], *settings: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return make(folder, RECIPE, path, "out", *settings)


def column(*judged: dict[str, float] | None) -> pl.DataFrame:
    texts = [None if numbers is None else json.dumps(numbers) for numbers in judged]
    return pl.DataFrame({"labels": texts}, schema={"labels": pl.String})


# ----------------------------------------------------------------------------- as they are read


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        (
            {"name": ["spam", "humor"], "value": [0.5, 0], "count": [3, 2]},
            {"humor": 0, "spam": 0.5},
        ),
        ({"spam": {"value": 0.5, "count": 3}, "humor": {"value": 0}}, {"humor": 0, "spam": 0.5}),
        ({"spam": 0.5, "humor": None, "quality": "high"}, {"spam": 0.5}),
        ({"name": ["spam"], "value": []}, None),
        (None, None),
        ([0.5], None),
    ],
)
def test_labels_are_read_in_each_of_their_forms(given_as: Any, expected: Any) -> None:
    message = {"message_id": "m", "text": "q", "role": "prompter", "labels": given_as}
    for source in ("oasst", "auto"):
        rows, problems = read(source, [message])
        assert problems == []
        (text,) = rows["labels"]
        assert (text and json.loads(text)) == expected
    assert unread("oasst", message) == {}


# ----------------------------------------------------------------------------------- the filter

VALUES = st.one_of(st.none(), st.floats(0, 1).map(lambda number: round(number, 3)))


@settings(max_examples=80)
@given(values=st.lists(VALUES, max_size=8), above=st.floats(0, 1), below=st.floats(0, 1))
def test_a_message_goes_where_its_label_is_beyond_a_bound(
    values: list[float | None], above: float, below: float
) -> None:
    """And stays where nobody judged it."""
    table = column(*(None if value is None else {"a.b": value} for value in values))
    hit = table.select(labels.is_beyond(**{"a.b": {"above": above, "below": None}})).to_series()
    assert hit.to_list() == [value is not None and value > above for value in values]
    hit = table.select(labels.is_beyond(**{"a.b": {"above": None, "below": below}})).to_series()
    assert hit.to_list() == [value is not None and value < below for value in values]


def test_a_build_to_read(tmp_path: Path) -> None:
    rows = [
        said_of("rude", toxicity=0.75, quality=0.5),
        said_of("poor", toxicity=0.0, quality=0.1),
        said_of("both", toxicity=1.0, quality=0.0),
        said_of("fine", toxicity=0.5, quality=0.9),
        said_of("unjudged"),
    ]
    out = build(tmp_path, rows, "drop=[{labels: {toxicity: {above: 0.5}, quality: {below: 0.2}}}]")
    dropped = reader.scan_ledger(out).filter(unit="message", reason="labels").collect()
    assert dict(dropped.select("id", "detail").iter_rows()) == {
        "rudea": "toxicity is 0.75, above 0.5",
        "poora": "quality is 0.1, below 0.2",
        "botha": "toxicity is 1.0, above 0.5; quality is 0.0, below 0.2",
    }
    assert sorted(row["group"] for row in rows_of(out)) == ["oasst1/fine", "oasst1/unjudged"]
    facts = manifest.read(out)
    assert facts["labels"]["toxicity"] == {
        "messages": 4,
        "mean": 0.5625,
        "at_least": {"0.25": 3, "0.5": 3, "0.75": 2},
    }
    assert "| toxicity | 4 | 0.5625 | 3 | 3 | 2 |" in (out / "README.md").read_text()
    assert "0.5625" in report.page(out)


def test_figures_stand_in_a_build_without_the_filter_and_nothing_else_changes(
    tmp_path: Path,
) -> None:
    rows = [said_of("a", toxicity=0.5), said_of("b", toxicity=0.25)]
    out = build(tmp_path, rows)
    assert manifest.read(out)["labels"]["toxicity"]["messages"] == 2
    bare = [{**row, "replies": [{**row["replies"][0], "labels": None}]} for row in rows]
    (tmp_path / "bare").mkdir()
    without = build(tmp_path / "bare", bare)
    assert "labels" not in manifest.read(without).as_json() or not manifest.read(without).labels
    assert manifest.read(without).content_hash == manifest.read(out).content_hash


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{}", "it names no label"),
        ("{toxicity: 0.5}", r"'toxicity' is 0.5; write \{above: NUMBER\}"),
        ("{toxicity: {}}", "toxicity: it removes nothing"),
        ("{toxicity: {over: 1}}", "unknown key 'over'; did you mean 'above'"),
        ("{toxicity: {above: 0.2, below: 0.5}}", "is everything"),
    ],
)
def test_wrong_bounds_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    with pytest.raises(ConfigError, match=words):
        load_recipe(tmp_path / "r.yaml", [f"drop=[{{labels: {settings}}}]"])


def test_a_label_that_nothing_has_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    rows = [said_of("a", toxicity=0.5, spam=0.0)]
    words = "labels names 'toxicty', .*did you mean 'toxicity'.* There are: spam, toxicity"
    with pytest.raises(BuildError, match=words):
        build(tmp_path, rows, "drop=[{labels: {toxicty: {above: 0.5}}}]")
    with pytest.raises(BuildError, match="no message that was read has any label"):
        build(tmp_path, [said_of("a")], "drop=[{labels: {toxicity: {above: 0.5}}}]")


def test_a_source_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.replace("oasst", "sharegpt"))
    with pytest.raises(ConfigError, match="filter 'labels' needs 'labels', which source"):
        load_recipe(tmp_path / "r.yaml", ["drop=[{labels: {toxicity: {above: 0.5}}}]"])


@settings(max_examples=50)
@given(values=st.lists(st.floats(-1, 2), max_size=12), cut=st.integers(0, 12))
def test_figures_of_parts_add_up_to_those_of_the_whole(values: list[float], cut: int) -> None:
    rows = [{"a": value} for value in values]
    parts = labels.count(column(*rows[:cut])) + labels.count(column(*rows[cut:]))
    assert parts.entry() == labels.count(column(*rows)).entry()


def test_the_validation_trees(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    messages = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    judged = [
        dict(zip(m["labels"]["name"], m["labels"]["value"], strict=True))
        for m in messages
        if m["labels"]
    ]
    toxic = sum(numbers.get("toxicity", 0) > 0.5 for numbers in judged)
    settings = ["drop=[{labels: {toxicity: {above: 0.5}}}]", "render=null"]
    out = tmp_path / "out"
    facts = build_dataset(load_recipe("oasst1-en", settings), out, inputs=[str(path)])
    removed = reader.scan_ledger(out).filter(pl.col("detail").str.starts_with("toxicity is"))
    assert removed.collect().height == toxic > 10
    assert facts.labels is not None
    assert facts.labels["quality"].messages == sum("quality" in numbers for numbers in judged)
