"""`new` writes a recipe that fits a file, that editors know, and that builds at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatdata import load_recipe, sources
from chatdata.cli import main
from chatdata.core import config
from chatdata.dataset import manifest
from chatdata.pipeline import recipe_schema

jsonschema = pytest.importorskip("jsonschema")
GERMAN = "Wie wird das Wetter morgen in der Stadt, und soll ich einen Schirm mitnehmen?"


def talk(number: int, asked: str, answer: str) -> dict[str, Any]:
    turns = [("user", f"{asked} ({number})"), ("assistant", f"{answer} ({number})")]
    return {"messages": [{"role": role, "content": words} for role, words in turns]}


def asked_in_english(number: int, answer: str) -> dict[str, Any]:
    return talk(number, "What is the weather like tomorrow, and where do you know it from?", answer)


PLAIN = [asked_in_english(n, "It will rain all day, so take a coat with you.") for n in range(9)]
SHORT = [("Hallo du", "Moin"), ("Bonsoir mon ami", "Salut a toi"), ("Wo bist du", "Im Bad")] * 3
CALL = '<tool_call>\n{"name": "weather", "arguments": {"day": 1}}\n</tool_call>'
CASES: dict[str, tuple[list[dict[str, Any]], list[str], list[str]]] = {
    "plain": (PLAIN, ["auto:", "OpenAI messages"], ["  - lift_reasoning", "\nredact:"]),
    "thoughts": (
        [asked_in_english(n, "<think>Rain.</think>It will rain all day.") for n in range(9)],
        ["\n  - lift_reasoning", "Seen: reasoning in tags", "9 messages"],
        ["\n  - lift_tools"],
    ),
    "calls": (
        [asked_in_english(n, f"Let me look at that for you.\n{CALL}") for n in range(1)]
        + [{"messages": [PLAIN[0]["messages"][0], {"role": "assistant", "content": CALL}]}],
        ["\n  - lift_tools", "Seen: calls in tags"],
        [],
    ),
    "two languages": (
        PLAIN
        + [talk(n, GERMAN, "Morgen regnet es den ganzen Tag, nimm ihn mit.") for n in range(9)],
        ["\n  - wrong_language: {allow: [de, en], decide: detected}"],
        [],
    ),
    "texts too short to have a language": (
        [talk(n, *texts) for n, texts in enumerate(SHORT)],
        ["\n  # - wrong_language: {allow: [en]}: texts so short say nothing"],
        ["\n  - wrong_language", "detected"],
    ),
    "secrets": (
        [asked_in_english(n, f"Write to anna.{n}@weather-office.org about it.") for n in range(9)],
        ["\nredact:", "email in 9 messages"],
        ["No secret was seen"],
    ),
    "an escape by chance": (
        [asked_in_english(n, f"It rains in town {n}, they say.") for n in range(600)]
        + [asked_in_english(601, r"A file is called weather\_of\_today and has \*stars\* in it.")],
        ["\nclean: []", "\n  # - escapes", "1 message"],
        [],
    ),
    "most is the same": (PLAIN[:1] * 9, ["\nmax_dropped: 1.0"], []),
}


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_fits_its_file_and_builds(name: str, here: Path) -> None:
    records, has, lacks = CASES[name]
    (here / "data.jsonl").write_text("\n".join(map(json.dumps, records)))
    done = run("new", "mine", "--from", "data.jsonl")
    assert done.exit_code == 0, done.output
    text = (here / "mine.yaml").read_text()
    if "two languages" in name:
        text = text.replace("[en, de]", "[de, en]")
    for words in has:
        assert words in text
    for words in lacks:
        assert words not in text
    built = run("build", "mine.yaml", "--out", "o", "-q")
    assert built.exit_code == 0, built.output
    render = manifest.read(here / "o").render
    assert render is not None
    assert render.trained_tokens > 0
    assert "unrenderable" not in manifest.read(here / "o").counts.conversations.dropped


def test_trees_have_their_filters_and_their_policy(here: Path) -> None:
    trees = sources.embedded("chatdata:sample/oasst.trees.jsonl")
    assert run("new", "trees", "--from", trees).exit_code == 0
    loaded = load_recipe(here / "trees.yaml")
    assert next(iter(loaded.drop[0])) == "deleted"
    assert "policy: all_leaves" in (here / "trees.yaml").read_text()
    assert loaded.threads.repeated_role == "keep"  # which is for lists alone


def test_the_schema_lies_beside_it_and_the_recipe_fits_the_schema(here: Path) -> None:
    assert run("new", "deep/mine").exit_code == 0
    first = (here / "deep" / "mine.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=recipe.schema.json"
    schema = json.loads((here / "deep" / "recipe.schema.json").read_text())
    assert schema == recipe_schema.schema()
    jsonschema.validate(config.load_yaml(here / "deep" / "mine.yaml"), schema)


def test_files_are_seen_from_the_recipe(here: Path) -> None:
    (here / "data.jsonl").write_text("\n".join(map(json.dumps, PLAIN)))
    assert run("new", "deep/mine", "--from", "data.jsonl").exit_code == 0
    assert '["../data.jsonl"]' in (here / "deep" / "mine.yaml").read_text()
    assert run("check", "deep/mine.yaml").exit_code == 0


def test_what_is_wrong_leaves_nothing(here: Path) -> None:
    (here / "odd.jsonl").write_text('{"body": 1}\n')
    (here / "mine.yaml").write_text("mine")
    for arguments, words in (
        (("new", "mine"), "'mine.yaml' is there already"),
        (("new", "x", "--from", "none.jsonl"), "there is no file 'none.jsonl'"),
        (("new", "x", "--from", "odd.jsonl"), "has no known shape"),
        (("new", "-x y", "--force"), None),
        (("new", "a b"), "'a b' is no name of a dataset"),
    ):
        done = run(*arguments)
        assert done.exit_code in (1, 2)
        assert words is None or words in done.stderr
    assert sorted(path.name for path in here.iterdir()) == ["mine.yaml", "odd.jsonl"]
    assert (here / "mine.yaml").read_text() == "mine"
    assert run("new", "mine", "--force").exit_code == 0
