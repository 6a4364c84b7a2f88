"""The JSON Schema of recipes: what an editor needs to complete and to check them.

`docs/recipe.schema.json` holds it. What no schema can say (which filter runs before which, which
option needs another) is left to `chatdata check`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from chatdata import sources
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.recipe_keys import KEYS
from chatdata.render.templates import TEMPLATES
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS
from chatdata.steps.threads import Policy

Schema = dict[str, Any]
_REF = "#/$defs/"


def schema() -> Schema:
    """The JSON Schema of recipes, with all that chatdata and installed packages add to lists."""
    parts: Schema = {}
    whole = _of(Recipe, parts)
    properties = whole["properties"]
    properties["source"] = _sources(parts)
    properties["clean"]["items"] = _entries(
        CLEANERS.known(), lambda name: CLEANERS[name].options, _about(CLEANERS), parts
    )
    properties["drop"]["items"] = _entries(
        FILTERS.known(), lambda name: FILTERS[name].recipe_model(), _about(FILTERS), parts
    )
    properties["threads"] = _threads(properties["threads"], parts)
    texts = {"type": "string"}
    properties["forget"] = {"anyOf": [texts, properties["forget"]]}
    parts["Render"]["properties"]["template"]["enum"] = TEMPLATES.known()
    _describe(whole, parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of chatdata",
        **whole,
        "$defs": dict(sorted(parts.items())),
    }


def as_text() -> str:
    """The JSON Schema as the text of a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _of(model: type[BaseModel], parts: Schema) -> Schema:
    """The schema of a model, without titles; the models in it are added to `parts`."""
    made: Schema = _without_titles(model.model_json_schema())
    parts |= made.pop("$defs", {})
    made.pop("description", None)
    return made


def _without_titles(value: Any) -> Any:
    """A schema without the titles that repeat the names of its keys."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _without_titles(item) for name, item in inner.items()}
        if key in ("properties", "$defs")
        else _without_titles(inner)
        for key, inner in value.items()
        if key != "title"
    }


def _sources(parts: Schema) -> Schema:
    """The schema of `source`: options by the name of a source, or by a name with a `format`."""
    options = parts["SourceOptions"]
    options["required"] = [name for name in options.get("required", []) if name != "format"]
    options["properties"]["format"]["enum"] = sources.known()
    each = {"anyOf": [{"$ref": f"{_REF}SourceOptions"}, {"type": "null"}]}
    return {
        "type": "object",
        "minProperties": 1,
        "properties": {
            name: {"description": sources.about(name), **each} for name in sources.names()
        },
        "additionalProperties": each,
    }


def _threads(given: Schema, parts: Schema) -> Schema:
    """The schema of `threads`: its options, or a policy alone."""
    policies = {"enum": list(get_args(Policy))}
    top: Schema = {"type": "object", "properties": {"top_k": {"type": "integer", "minimum": 1}}}
    top |= {"required": ["top_k"], "additionalProperties": False}
    parts["Threads"]["properties"]["policy"] = {"anyOf": [policies, top], "default": "all_leaves"}
    return {"anyOf": [{"$ref": f"{_REF}Threads"}, policies, {"type": "null"}]}


def _about(registry: Mapping[str, Any]) -> Callable[[str], str]:
    return lambda name: str(registry[name].about)


def _entries(
    names: Iterable[str],
    model_of: Callable[[str], type[BaseModel]],
    about: Callable[[str], str],
    parts: Schema,
) -> Schema:
    """The schema of an item of a list: a name, or a name with options."""
    models = {name: _of(model_of(name), parts) for name in names}
    alone = [
        {"const": name, "description": about(name)}
        for name, model in models.items()
        if not model.get("required")
    ]
    options = {
        name: {
            "description": about(name),
            **(model if model.get("required") else {"anyOf": [model, {"type": "null"}]}),
        }
        for name, model in models.items()
    }
    function = {"description": "A function of a Python file: FILE.py:FUNCTION, and its options."}
    named = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {**options, "python": function},
    }
    return {"anyOf": [*alone, named]}


def _describe(whole: Schema, parts: Schema) -> None:
    """Adds what each key means."""
    for model, keys in KEYS.items():
        properties = (parts[model] if model else whole)["properties"]
        for name, words in keys.items():
            properties[name] = {"description": words, **properties[name]}
