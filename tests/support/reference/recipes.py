"""The page of all keys of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chatdata.core import config
from chatdata.pipeline import shipped
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.recipe_keys import KEYS
from chatdata.pipeline.recipe_parts import Pack, Publish, PythonRecords, SourceOptions, Split
from chatdata.render.options import Render
from chatdata.render.parts import TrainParts
from chatdata.render.templates import TEMPLATES
from chatdata.sources.fields import Fields
from chatdata.steps.mixing import Mix
from chatdata.steps.redact import Redact
from chatdata.steps.secrets import KINDS
from chatdata.steps.threads import Threads
from tests.support.reference import models

_HEAD = """\
# Recipe

A recipe is one YAML file, written in the order in which it runs. A key that is not known is an
error, which names the nearest key. `--set a.b=VALUE` changes any key from the command line. An
editor that reads [recipe.schema.json](../recipe.schema.json) completes and checks all of this.

"""
_KINDS = {
    "clean": "list of [cleaners](cleaners.md)",
    "drop": "list of [filters](filters.md)",
    "source": "[sources](#sourcename) by name",
}
# The heading of each model, and where its keys stand.
SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "source.NAME": (
        SourceOptions,
        "The options of a source. NAME is what reads the files, or any name where `format` says "
        "that. All that can read is in [sources](sources.md).",
    ),
    "source.NAME.fields": (
        Fields,
        "Paths to the parts of a conversation, in records of no known shape. A path is a key, or "
        "keys with dots between.",
    ),
    "source.NAME.python": (PythonRecords, "A function that makes the records."),
    "redact": (Redact, "Secrets become placeholders: [redaction](../redaction.md)."),
    "threads": (
        Threads,
        "How conversations begin and end. A word alone is a policy: `threads: best_rank`. Of the "
        "best replies, `threads: {top_k: 2}` follows two.",
    ),
    "mix": (Mix, "How sources are mixed: [mixing](../mixing.md)."),
    "split": (Split, "The splits, by a hash of the group."),
    "render": (Render, "Rows of tokens: [rendering](../rendering.md)."),
    "render.train_on": (TrainParts, "Parts of answers, in the place of a name."),
    "pack": (Pack, "An index that puts rows into bins."),
    "publish": (Publish, "Where the dataset goes."),
}
EXAMPLES: dict[str, Any] = {
    "name": "my-chats", "version": "1.0.0", "about": "What we asked and were told.",
    "source": {"oasst": {"files": ["trees.jsonl"]}}, "clean": ["html", "white_space"],
    "redact": {"kinds": ["email", "phone"]}, "threads": {"policy": "best_rank"},
    "drop": ["empty", {"too_few_turns": {"below": 4}}], "mix": {"by": "tokens"},
    "forget": ["ids.txt"], "keep": ["oasst1/QWJhYvA"], "split": {"test_percent": 5},
    "render": {"tokenizer": "bytes", "max_tokens": 2048}, "pack": {"max_tokens": 2048},
    "publish": {"repo": "you/my-chats", "license": "cc0-1.0"}, "max_dropped": 0.9,
    "SourceOptions.format": "auto", "SourceOptions.repo": "OpenAssistant/oasst1",
    "SourceOptions.revision": "fdf72ae0827c1cda404aff25b6603abec9e3399b",
    "SourceOptions.files": ["data/*.parquet"], "SourceOptions.name": "forum",
    "SourceOptions.weight": 3, "SourceOptions.cap": 10000, "SourceOptions.license": "cc-by-4.0",
    "SourceOptions.variables": {"enable_thinking": "thinks"},
    "SourceOptions.fields": {"messages": "talk"},
    "SourceOptions.python": {"function": "reader.py:records"},
    "Redact.kinds": ["key", "email"], "Redact.countries": ["DE", "AT"],
    "Threads.top_k": 2, "Threads.pairs": "best_worst", "Threads.join": "pieces",
    "Mix.temperature": 2, "Mix.max_epochs": 4, "Split.test_percent": 5,
    "Render.tokenizer": "Qwen/Qwen3-8B@<commit>", "Render.template": "chatml",
    "Render.max_tokens": 4096, "Render.carry_tokens": 512, "Render.system": "Be brief.",
    "Render.variables": {"enable_thinking": False}, "Render.date": "2026-01-31",
    "Render.train_on": {"reasoning": False}, "Pack.max_tokens": 4096,
    "Publish.repo": "you/my-chats", "Publish.license": "cc0-1.0",
}  # fmt: skip


def words(model: str) -> Callable[[str, FieldInfo], str | None]:
    """What finds the words of a key of a model: at its definition, or in `recipe_keys`."""
    listed = KEYS.get("" if model == "Recipe" else model, {})
    return lambda name, field: field.description or listed.get(name)


def page() -> str:
    """The keys of a recipe, then those of each key that has keys."""
    _link()
    parts = [_HEAD, "## The keys\n\n", _table(Recipe)]
    for title, (model, about) in SECTIONS.items():
        parts += [f"\n## {title}\n\n", f"{about}\n\n", _table(model)]
    for title, rows in _names().items():
        parts += [f"\n## {title}\n\n", models.table(["name", "what it is"], rows)]
    return "".join(parts)


def _names() -> dict[str, list[list[str]]]:
    """What the keys may name that has no page of its own: rows of name and words, by title."""
    templates = {name: template.about for name, template in TEMPLATES.items()}
    shipped_recipes = {path.stem: config.text_in_yaml(path, "about") for path in shipped.recipes()}
    listed: dict[str, Mapping[str, str]] = {
        "Templates": templates,
        "Kinds of secrets": {str(kind): about for kind, about in KINDS.items()},
        "Recipes that come with chatdata": shipped_recipes,
    }
    return {
        title: [[f"`{name}`", about] for name, about in abouts.items()]
        for title, abouts in listed.items()
    }


def _link() -> None:
    """Says where the keys of each model stand."""
    for title, (model, _) in SECTIONS.items():
        models.LINKS[model] = f"[{title.split('.')[-1]}](#{title.lower().replace('.', '')})"
    models.LINKS_OF_KEYS.update({(Recipe, name): kind for name, kind in _KINDS.items()})


def _table(model: type[BaseModel]) -> str:
    return models.keys(model, words(model.__name__), examples(model))


def examples(model: type[BaseModel]) -> dict[str, Any]:
    """The examples of keys of a model of a recipe."""
    prefix = "" if model is Recipe else f"{model.__name__}."
    return {
        name: EXAMPLES[f"{prefix}{name}"]
        for name in model.model_fields
        if f"{prefix}{name}" in EXAMPLES
    }


def listed_models() -> list[type[BaseModel]]:
    """The models whose keys the page has."""
    return [Recipe, *(model for model, _ in SECTIONS.values())]
