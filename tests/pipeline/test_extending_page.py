"""The examples of docs/extending.md are short, and do what the page says."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core import extensions
from chatdata.dataset import manifest, reader
from chatdata.pipeline import prepare
from chatdata.verify.verification import verdicts_on

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = [
    (match[1], code) for _, code in BLOCKS if (match := re.match(r"# ([\w.]+)\n", code)) is not None
]
PATTERNS, FUNCTIONS, INTERVIEWS, NUMBERS = [code for name, code in FILES if name == "recipe.yaml"]
CAPITALS = "WHY DOES NOBODY EVER ANSWER ME HERE?"
CHATS = {
    "model": ["Hi", "As an AI language model, hello.", "And?", "Well."],
    "loud": [CAPITALS, "Calm down.", "Sorry.", "Good."],
    "asks": ["Hello", "Hello?"],
    "signed": ["Hello", "Hello.\n-- \nThe house"],
    "digits": ["12345678 9", "Yes."],
}


def test_every_example_has_at_most_thirty_lines() -> None:
    assert len(FILES) >= 8
    assert all(code.count("\n") <= 30 for _, code in FILES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page, and conversations."""
    for name, code in FILES:
        (tmp_path / name).write_text(code)
    roles = ("user", "assistant")
    chats = (
        {"id": id, "messages": [{"role": roles[n % 2], "content": t} for n, t in enumerate(texts)]}
        for id, texts in CHATS.items()
    )
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    return tmp_path


def built(folder: Path, recipe: str) -> tuple[dict[str, str], Path]:
    """The reasons of what a recipe drops, and where it was built."""
    (folder / "recipe.yaml").write_text(recipe)
    out = folder / "out"
    build_dataset(load_recipe(folder / "recipe.yaml", ["max_dropped=1"]), out, force=True)
    assert not [verdict for verdict in verdicts_on(out) if verdict.outcome == "failed"]
    rows = reader.scan_ledger(out).filter(outcome="dropped").collect()
    return dict(rows.select("id", "reason").iter_rows()), out


def test_a_pattern_is_looked_for_in_what_a_role_says(folder: Path) -> None:
    reasons, _ = built(folder, PATTERNS)
    assert reasons == {"jsonl/model#0": "matches", "jsonl/model#1": "matches"}


def test_functions_of_a_file_clean_and_filter(folder: Path) -> None:
    reasons, out = built(folder, FUNCTIONS)
    assert set(reasons.values()) == {"shouting", "unanswered"}
    assert {id.split("#")[0] for id in reasons} == {"jsonl/loud", "jsonl/asks"}
    detail = reader.scan_ledger(out).filter(id="jsonl/asks").collect()["detail"].to_list()
    assert detail == ["ends with a question of 6 letters"]
    shown = {
        row["id"]: row["messages"] for row in reader.scan(out, "messages").collect().to_dicts()
    }
    assert shown["jsonl/signed"][-1]["content"] == "Hello."
    described = manifest.read(out)
    assert [(e.kind, e.name, e.file) for e in described.extensions or ()] == [
        ("cleaner", "without_signature", "rules.py"),
        ("filter", "shouting", "rules.py"),
        ("filter", "unanswered", "rules.py"),
    ]
    assert described.recipe.filters["rules.py:shouting"]["share"] == 0.9
    assert "Messages mostly in capitals." in (out / "README.md").read_text()


def test_a_function_reads_files(folder: Path) -> None:
    text = "Q: Who?\nA: Me.\n\nQ: And?\n\nQ: Why?\nA: So."
    (folder / "interviews.txt").write_text(text)
    reasons, out = built(folder, INTERVIEWS)
    assert reasons["interviews/interview-1"] == "trailing_turn"
    rows = reader.scan(out, "messages").collect().to_dicts()
    assert {row["id"] for row in rows} == {f"interviews/interview-{n}" for n in (0, 2)}
    (entry,) = manifest.read(out).extensions or ()
    assert (entry.kind, entry.name, entry.file) == ("source", "records", "reader.py")
    (file,) = manifest.read(out).sources
    assert (file.path, file.bytes) == ("interviews.txt", len(text))
    again = ["--input", str(folder / "interviews.txt"), "--python", str(folder / "reader.py")]
    done = CliRunner().invoke(main, ["verify", str(out), "--rebuild", *again])
    assert done.exit_code == 0, done.output


def test_a_number_is_compared_and_stands_in_the_ledger(folder: Path) -> None:
    reasons, out = built(folder, NUMBERS)
    assert reasons["jsonl/digits#0"] == "digits"
    detail = reader.scan_ledger(out).filter(id="jsonl/digits#0").collect()["detail"].to_list()
    assert detail == ["0.9"]


@pytest.fixture
def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of the page, as if it were installed."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / "house_rules-1.2.0.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head)
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {place}" for name, place in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    extensions.forget_found()
    yield folder
    monkeypatch.undo()
    extensions.forget_found()
    for name in ("house_rules", "house_rules_lines"):
        sys.modules.pop(name, None)


RECIPE = """
name: house
version: 1.0.0
source: {lines: {files: [pairs.txt]}}
clean: [one_space]
drop: [house_names: {names: [Acme]}]
render: {template: brackets, tokenizer: bytes}
max_dropped: 1
"""


def test_a_package_adds_things_of_every_kind(package: Path) -> None:
    (package / "pairs.txt").write_text("Who  are you?\tA  friend.\nAnd?\tOf Acme.\nno tab\n")
    reasons, out = built(package, RECIPE)
    assert set(reasons.values()) == {"house_names", "trailing_turn", "unknown_record"}
    described = manifest.read(out)
    assert [(e.kind, e.name, e.package) for e in described.extensions or ()] == [
        ("source", "lines", "house-rules"),
        ("cleaner", "one_space", "house-rules"),
        ("filter", "house_names", "house-rules"),
        ("template", "brackets", "house-rules"),
    ]
    assert described.versions["house-rules"] == "1.2.0"
    listed = CliRunner().invoke(main, ["list"]).output
    assert "(house-rules 1.2.0) Messages that name a house." in listed
    assert "(house-rules 1.2.0) Files of a question and an answer in each line" in listed


@pytest.mark.slow
def test_workers_load_packages_and_run_the_code_that_was_hashed(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.replace("drop: [", "drop: [python: scores.py:rare, ")
    (package / "recipe.yaml").write_text(recipe)
    (package / "scores.py").write_text(
        'def rare(message):\n    """Rare."""\n    return "zebra 77" in message["content"]\n'
    )
    monkeypatch.setattr(prepare, "PART_BYTES", 2500)
    lines = (f"Question {n}\tZebra {n}. zebra {n}" for n in range(100))
    (package / "pairs.txt").write_text("\n".join(lines))
    loaded = load_recipe(package / "recipe.yaml", ["render=null"])
    (package / "scores.py").write_text("this is no Python")
    hashes = [
        build_dataset(loaded, package / f"of-{workers}", workers=workers).content_hash
        for workers in (1, 2)
    ]
    assert hashes[0] == hashes[1]


def test_a_package_that_cannot_be_loaded_harms_nobody_who_does_not_name_it(package: Path) -> None:
    (package / "house_rules.py").write_text("import a_module_that_nobody_has\n")
    load_recipe("sample")
    listed = CliRunner().invoke(main, ["list"])
    assert listed.exit_code == 0
    assert "cannot be loaded (ModuleNotFoundError" in listed.output
    command = ["check", "sample", "--set", "drop=[house_names]"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "filter 'house_names' of package 'house-rules' cannot be loaded" in done.output
