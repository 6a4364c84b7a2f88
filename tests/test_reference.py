"""The pages of docs/reference say what the code says, and their examples are valid."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from chatdata.core import config
from chatdata.core.config import Strict
from chatdata.pipeline.recipe import Recipe
from tests.support import reference
from tests.support.reference import models, recipes

BLOCKS = [
    block
    for page in ("filters.md", "cleaners.md")
    for block in re.findall(
        r"^```yaml\n(.*?)^```$", (reference.FOLDER / page).read_text(), re.MULTILINE | re.DOTALL
    )
    if "python:" not in block  # which needs its file
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "training.md" else [])
        for name in reference.PAGES
    ],
)
def test_a_page_is_made_from_the_code(name: str) -> None:
    """`python -m tests.support.reference` writes the pages again."""
    assert (reference.FOLDER / name).read_text(encoding="utf-8") == reference.text(name)


def test_every_page_is_made() -> None:
    assert {path.name for path in reference.FOLDER.glob("*.md")} == set(reference.PAGES)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.split(r"[\[\]{}:, ]+", block)[1])
def test_an_example_of_a_list_is_a_recipe(block: str) -> None:
    """Each filter and cleaner, with an example of each option."""
    head = "name: x\nversion: 1.0.0\nsource: {auto: {files: [x.jsonl]}}\n"
    made = Recipe.model_validate(config.parse_yaml(head + block, "the page"))
    assert len(made.clean or made.drop) == 1


@pytest.mark.parametrize("model", recipes.listed_models(), ids=lambda model: model.__name__)
def test_an_example_of_a_key_is_a_value_of_it(model: type[Strict]) -> None:
    examples = recipes.examples(model)
    assert set(examples) <= set(model.model_fields)
    for name, field in model.model_fields.items():
        if model is not Recipe and name in examples:
            models.check_example(field, examples[name])


def test_a_recipe_of_all_examples_is_one() -> None:
    made = Recipe.model_validate(recipes.examples(Recipe))
    assert made.model_fields_set == set(Recipe.model_fields)


class _Bare(Strict):
    bare: int = 3


class _Wide(Strict):
    wide: int = models.FieldInfo(default=3, description="How wide it is.", examples=[-1], ge=0)


def test_a_key_without_words_is_refused() -> None:
    with pytest.raises(models.Wordless, match="'bare' of _Bare has no words"):
        models.keys(_Bare)


def test_an_example_that_is_no_value_is_seen() -> None:
    field = _Wide.model_fields["wide"]
    with pytest.raises(ValidationError):
        models.check_example(field, models.example_of(field))
