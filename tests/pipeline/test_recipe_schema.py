"""The JSON Schema of recipes: equal to the published file, true of all shipped recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatdata.core import config
from chatdata.pipeline import recipe_schema, shipped
from chatdata.pipeline.recipe_keys import KEYS
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS

jsonschema = pytest.importorskip("jsonschema")
PUBLISHED = Path(__file__).parent.parent.parent / "docs" / "recipe.schema.json"
SCHEMA = recipe_schema.schema()
LEAST = {"name": "x", "version": "1.0.0", "source": {"auto": {"files": ["a.jsonl"]}}}


def faults(recipe: dict[str, Any]) -> list[str]:
    """Where a recipe is not what the schema says."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [error.json_path for error in validator.iter_errors(recipe)]


def test_the_published_schema_is_that_of_the_code(request: pytest.FixtureRequest) -> None:
    text = recipe_schema.as_text()
    if request.config.getoption("--update-golden"):
        PUBLISHED.write_text(text, encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == text


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", shipped.recipes(), ids=lambda path: path.stem)
def test_shipped_recipes_fit(path: Path) -> None:
    assert faults(config.load_yaml(path)) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"drop": ["empty", {"wrong_language": {"allow": ["en"], "on_removed": "drop"}}]},
        {"drop": [{"empty": None}, {"labels": {"toxicity": {"above": 0.5}}}]},
        {"drop": [{"python": "mine.py:long"}], "clean": ["html", {"white_space": {}}]},
        {"threads": {"top_k": 2}},
        {"threads": {"policy": {"top_k": 2}}},
        {"threads": "best_rank"},
        {"forget": "ids.txt"},
        {"source": {"mine": {"format": "jsonl", "files": ["a"], "fields": {"messages": "m"}}}},
        {"render": {"tokenizer": "bytes", "train_on": {"end": False}}},
        {"split": None, "render": None, "mix": {"by": "tokens", "temperature": 2}},
    ],
)
def test_what_a_recipe_may_write_fits(changed: dict[str, Any]) -> None:
    assert faults(LEAST | changed) == []


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"drpo": []}, "$"),
        ({"drop": ["emty"]}, "$.drop[0]"),
        ({"drop": [{"wrong_language": {"alow": []}}]}, "$.drop[0]"),
        ({"drop": ["contaminated"]}, "$.drop[0]"),  # needs an option
        ({"clean": [{"white_space": {"max_blank_lines": "two"}}]}, "$.clean[0]"),
        ({"render": {"tokenizer": "bytes", "template": "chatmll"}}, "$.render"),
        ({"version": "1.0"}, "$.version"),
        ({"source": {}}, "$.source"),
    ],
)
def test_what_a_recipe_may_not_write_does_not(changed: dict[str, Any], path: str) -> None:
    assert faults(LEAST | changed) == [path]


def test_all_options_of_filters_and_cleaners_are_in_it() -> None:
    for key, registry in (("drop", FILTERS), ("clean", CLEANERS)):
        named = SCHEMA["properties"][key]["items"]["anyOf"][-1]["properties"]
        assert set(named) == {*registry, "python"}
        for name in registry:
            written = json.dumps(named[name])
            assert all(f'"{option}"' in written for option in registry[name].options.model_fields)


def test_every_key_says_what_it_means() -> None:
    models = {"": SCHEMA, **{name: SCHEMA["$defs"][name] for name in KEYS if name}}
    for name, model in models.items():
        assert set(KEYS[name]) == set(model["properties"]), name
