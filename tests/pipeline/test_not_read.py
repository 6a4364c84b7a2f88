"""Keys that nothing looked at: in the manifest, the card, the report and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe, preview_dataset
from chatdata.cli import main
from chatdata.core.errors import SourceError
from chatdata.dataset import manifest, report

GOLDEN = Path(__file__).parent.parent / "golden" / "not_read.txt"
RECIPE = """
name: n
version: 1.0.0
source: {jsonl: {}}
max_dropped: 1
"""
SECRET = "correct-horse"  # what stands under a key is in no file


def record(number: int, **more: Any) -> dict[str, Any]:
    question = {"role": "user", "content": f"What is {number} and {number}?"}
    answer = {"role": "assistant", "content": f"{number + number}."}
    if number % 3 == 0:
        answer["rating"] = SECRET
    return {"messages": [question, answer], **more}


def records() -> list[Any]:
    return [
        *(record(number, system_prompt="Answer briefly.", model=SECRET) for number in range(6)),
        record(6, context="a-label", **{"Ann Lee": SECRET}),
        {"prompt": "Say something kind.", "completion": "No.", "label": False},
        {"prompt": "Say something kind.", "completion": "You matter.", "label": True},
        {"prompt": "Say something.", "chosen": "Hello.", "rejected": "Bah."},
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records())))
    return tmp_path / "r.yaml"


def run(*arguments: object) -> str:
    outcome = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    return "\n".join(line.rstrip() for line in outcome.output.splitlines()) + "\n"


def test_what_check_prints_is_the_golden(recipe: Path, request: pytest.FixtureRequest) -> None:
    printed = run("check", recipe, "--input", recipe.parent / "a.jsonl")
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(printed)
    assert printed == GOLDEN.read_text()


def test_every_page_names_the_keys_and_quotes_no_value(recipe: Path) -> None:
    out = recipe.parent / "out"
    printed = run("build", recipe, "--input", recipe.parent / "a.jsonl", "--out", out)
    words = "model in 6 records, (no name) in 1 record, context in 1 record, rating in 3 messages"
    assert f"not read: {words}\n" in printed
    counts = {"records": {"model": 6, "(no name)": 1, "context": 1}, "messages": {"rating": 3}}
    assert manifest.read(out).not_read == {"jsonl": counts}
    assert "| jsonl | `model` | 6 records |\n" in (out / "README.md").read_text()
    page = report.page(out)
    assert '<td>jsonl: rating</td><td class="n">3 messages</td>' in page
    files = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert all(SECRET.encode() not in data and b"Ann Lee" not in data for data in files)
    assert run("verify", out)


def test_a_dataset_of_which_all_was_read_says_nothing(recipe: Path) -> None:
    (recipe.parent / "b.jsonl").write_text(json.dumps(record(1)))
    out = recipe.parent / "out"
    printed = run("build", recipe, "--input", recipe.parent / "b.jsonl", "--out", out)
    assert "not read" not in printed
    assert "not_read" not in json.loads((out / "manifest.json").read_text())
    assert "nothing in a build looked at" not in (out / "README.md").read_text()
    assert 'id="not-read"' not in report.page(out)


def test_sources_are_counted_apart(tmp_path: Path) -> None:
    both = RECIPE.replace("{jsonl: {}}", "{a: {format: jsonl}, b: {format: jsonl}}")
    (tmp_path / "r.yaml").write_text(both)
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record(1, **{f"only_{name}": 1})))
    inputs = [f"{name}={tmp_path / name}.jsonl" for name in ("a", "b")]
    described = preview_dataset(load_recipe(str(tmp_path / "r.yaml")), inputs=inputs)
    assert described.not_read == {
        "a": {"records": {"only_a": 1}},
        "b": {"records": {"only_b": 1}},
    }
    printed = run("check", tmp_path / "r.yaml", *(a for i in inputs for a in ("--input", i)))
    assert "not read of a: only_a in 1 record\nnot read of b: only_b in 1 record\n" in printed


def test_check_counts_what_it_looks_at(recipe: Path) -> None:
    """A hundred records of two hundred and fifty."""
    many = [record(number, id=str(number), model="m") for number in range(1, 251)]
    (recipe.parent / "c.jsonl").write_text("\n".join(map(json.dumps, many)))
    described = preview_dataset(recipe, inputs=[str(recipe.parent / "c.jsonl")])
    assert described.counts.records.read == 100
    assert described.not_read == {"jsonl": {"records": {"model": 100}, "messages": {"rating": 33}}}


def test_strict_keys_refuses(recipe: Path) -> None:
    strict = load_recipe(str(recipe), ["source.jsonl.strict_keys=true"])
    inputs = [str(recipe.parent / "a.jsonl")]
    words = (
        r"source 'jsonl' has strict_keys, and nothing reads model in 6 records \(first in "
        r"a.jsonl:1\), \(no name\) in 1 record \(first in a.jsonl:7\), context in 1 record "
        r"\(first in a.jsonl:7\), and 1 more; take these keys out of the files, or "
        r"strict_keys out of the recipe\."
    )
    for make in (
        lambda: preview_dataset(strict, inputs=inputs),
        lambda: build_dataset(strict, recipe.parent / "out", inputs=inputs),
    ):
        with pytest.raises(SourceError, match=words):
            make()
    assert not (recipe.parent / "out").exists()


def test_strict_keys_accepts_what_is_read(recipe: Path) -> None:
    (recipe.parent / "b.jsonl").write_text(json.dumps(record(1, system_prompt="Be brief.")))
    strict = load_recipe(str(recipe), ["source.jsonl.strict_keys=true"])
    described = preview_dataset(strict, inputs=[str(recipe.parent / "b.jsonl")])
    assert described.counts.conversations.kept == 1
