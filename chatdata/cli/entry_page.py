"""All about one thing that a recipe can name: what it does, its options, an example."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from pydantic import BaseModel

from chatdata import sources
from chatdata.cli.listing import Entry
from chatdata.cli.terminal import say
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS

# Values for options that must be given.
EXAMPLES: dict[str, dict[str, Any]] = {
    "matches": {"pattern": "(?i)as an AI language model", "role": "assistant"},
    "contaminated": {"against": ["questions.jsonl"]},
    "labels": {"toxicity": {"above": 0.5}},
}
_UNITS = {
    "message": "looks at each message",
    "conversation": "looks at each conversation",
    "corpus": "compares all conversations, and runs last",
}
_SINGULAR = {"kinds of secrets": "kind of secrets"}


def print_page(title: str, entry: Entry) -> None:
    """Prints all about an entry of the table with this title."""
    values = as_json(title, entry)
    click.secho(f"{entry.name}", bold=True, nl=False)
    click.echo(f"  {values['kind']}")
    say(_reflowed(values["text"]))
    if values["options"]:
        click.secho("\noptions", bold=True)
    for name, option in values["options"].items():
        default = "must be given" if option.get("required") else _yaml(option["default"])
        say(f"  {name}: {default}   ({option['type']})")
        if option["about"]:
            say(f"      {option['about']}")
    if title == "filters":
        say(f"\n{_UNITS[FILTERS[entry.name].unit]}" if entry.name in FILTERS else "")
    click.secho("\nexample", bold=True)
    say(f"  {values['example']}")


def _reflowed(text: str) -> str:
    """A docstring as lines of any length: a line for each paragraph, but for indented examples."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        part if part.startswith(" ") else part.replace("\n", " ") for part in paragraphs
    )


def as_json(title: str, entry: Entry) -> dict[str, Any]:
    """All about an entry, as plain values."""
    return {
        "name": entry.name,
        "kind": _SINGULAR.get(title, title.removesuffix("s")),
        "text": _text(title, entry),
        "options": dict(_options(title, entry)),
        "example": _example(title, entry),
    }


def _text(title: str, entry: Entry) -> str:
    """The whole docstring of what an entry names."""
    name = entry.name
    if title == "filters" and name in set(FILTERS):
        return inspect.getdoc(FILTERS[name].expression) or entry.about
    if title == "cleaners" and name in set(CLEANERS):
        return inspect.getdoc(CLEANERS[name].function) or entry.about
    if title == "sources" and name in sources.names():
        return inspect.getdoc(sources.get(name)) or entry.about
    return entry.about


def _options(title: str, entry: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the options of an entry: type, and default or `required`."""
    model = _model(title, entry)
    if model is None:
        return
    schema = model.model_json_schema()
    for name, described in schema.get("properties", {}).items():
        default = {"default": described.get("default")}
        required = {"required": True} if name in schema.get("required", []) else default
        about = {"about": described.get("description", "")}
        yield name, {"type": words(described, schema.get("$defs", {})), **required, **about}


def _model(title: str, entry: Entry) -> type[BaseModel] | None:
    """The model of what a recipe may write for an entry."""
    if title == "filters" and entry.options is not None:
        return FILTERS[entry.name].recipe_model()
    return entry.options


def words(described: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """What a value may be by a part of a JSON Schema, whose references are in `parts`."""
    if "$ref" in described:
        return words(parts[described["$ref"].rpartition("/")[2]], parts)
    if "enum" in described:
        return " | ".join(map(str, described["enum"]))
    if "const" in described:
        return str(described["const"])
    if "anyOf" in described:
        return " or ".join(words(choice, parts) for choice in described["anyOf"])
    kind = described.get("type")
    if kind == "array":
        return f"list of {words(described.get('items', {}), parts)}"
    if kind == "object":
        inner = described.get("additionalProperties")
        return f"mapping to {words(inner, parts)}" if isinstance(inner, Mapping) else "mapping"
    names = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    return names.get(str(kind), str(kind or "anything")) + _bounds(described)


def _bounds(described: Mapping[str, Any]) -> str:
    """The least and the most of a number, in words."""
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{signs[key]} {described[key]:,}" for key in signs if key in described]
    return f" {' and '.join(bounds)}" if bounds else ""


def _example(title: str, entry: Entry) -> str:
    """How a recipe names an entry."""
    name = entry.name
    if title in ("filters", "cleaners"):
        options = EXAMPLES.get(name) or _all_given(entry)
        item = f"{name}: {_yaml(options)}" if options else name
        return f"{'drop' if title == 'filters' else 'clean'}: [{item}]"
    return {
        "sources": f"source: {{{name}: {{files: [data.jsonl]}}}}",
        "templates": f"render: {{template: {name}, tokenizer: bytes}}",
        "kinds of secrets": f"redact: {{kinds: [{name}]}}",
        "recipes": f"chatdata build {name}",
    }[title]


def _all_given(entry: Entry) -> dict[str, Any]:
    """The options of an entry with their defaults, but for those that are null."""
    fields = entry.options.model_fields if entry.options else {}
    values = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {name: value for name, value in values.items() if value is not None}


def _yaml(value: Any) -> str:
    """A value as a recipe has it in a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    is_plain = isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum()
    return str(value) if is_plain else text
