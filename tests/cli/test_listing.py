"""`list` and `recipe`: what a recipe can name, all about one of them, and the shipped recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from chatdata import load_recipe
from chatdata.cli import entry_page, main
from chatdata.pipeline import shipped
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS

NEEDS = {"deleted", "not_reviewed", "synthetic", "unfinished_tree", "labels"}  # of trees alone


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("name", [*FILTERS, *CLEANERS])
def test_the_page_of_an_entry_has_all_options_and_an_example_that_works(
    name: str, tmp_path: Path
) -> None:
    shown = run("list", name).output
    model = FILTERS[name].recipe_model() if name in FILTERS else CLEANERS[name].options
    lines = [line.strip() for line in shown.splitlines()]
    for option in model.model_fields:
        assert any(line.startswith(f"{option}: ") for line in lines), shown
    example = lines[lines.index("example") + 1]
    source = "oasst" if name in NEEDS else "jsonl"
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nversion: 1.0.0\nsource: {{{source}: {{files: [a]}}}}\n{example}\n")
    (entry,) = load_recipe(path).resolved()[example.split(":")[0]]
    assert list(entry) == [name]


@pytest.mark.parametrize("name", ["chatml", "sharegpt", "email", "chats", "auto"])
def test_the_page_of_anything_else_has_an_example(name: str) -> None:
    result = run("list", name)
    assert result.exit_code == 0
    example = result.output.splitlines()[-1].strip()
    assert name in example
    if not example.startswith("chatdata"):
        assert YAML(typ="safe", pure=True).load(example)


def test_a_table_alone() -> None:
    shown = run("list", "cleaners").output
    assert "white_space" in shown
    assert "wrong_language" not in shown


def test_json_names_all_with_their_defaults() -> None:
    tables = json.loads(run("list", "--json").output)
    filters = {entry["name"]: entry for entry in tables["filters"]}
    assert set(filters) == set(FILTERS)
    assert filters["contaminated"]["options"]["against"] == {"required": True}
    assert filters["contaminated"]["options"]["ngram"] == {"default": 13}
    (entry,) = json.loads(run("list", "wrong_language", "--json").output)
    assert entry["options"]["decide"] == {
        "type": "declared | detected | both",
        "default": "declared",
        "about": "Who tells the language of a message: the source, a detector, or both.",
    }
    assert entry["options"]["on_removed"]["default"] == "cut"


def test_examples_are_of_filters_that_need_a_value() -> None:
    def needs(name: str) -> bool:
        return any(field.is_required() for field in FILTERS[name].options.model_fields.values())

    assert {name for name in FILTERS if needs(name)} <= set(entry_page.EXAMPLES)


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    assert "did you mean 'wrong_language'?" in run("list", "wrong_langage").stderr
    far = run("list", "qqqq")
    assert far.exit_code == 1
    assert far.stderr.count("\n") == 1
    assert "`chatdata list` names everything" in far.stderr


@pytest.mark.parametrize("path", shipped.recipes(), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_printed_as_it_is(path: Path) -> None:
    assert run("recipe", path.stem).output == path.read_text(encoding="utf-8")


def test_the_schema_is_printed() -> None:
    assert json.loads(run("recipe", "--schema").output)["title"] == "A recipe of chatdata"


def test_recipe_without_a_name_says_which_there_are() -> None:
    result = run("recipe")
    assert result.exit_code == 2
    assert "oasst1-en" in result.stderr
