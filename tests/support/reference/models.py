"""Tables of the keys of models: kind, default, words and an example of each."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    type(None): "`null`",
    Any: "any value",
}
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w./@-]*(?::\w+)?|[\d-]+\.?\d+[.-]\d+")
_LONG = 60  # characters of a default that a table shows


class Wordless(AssertionError):
    """Something that is listed has no words."""


LINKS_OF_KEYS: dict[tuple[type[BaseModel], str], str] = {}  # where the kind says too little
LINKS: dict[type[BaseModel], str] = {}  # the section of each model, for the kinds of keys


def prose(text: str) -> str:
    """A text of the code as Markdown: outside code, what looks like a tag is none."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"<(?=\w)", "&lt;", part) for part in parts[::2]]
    return "`".join(parts)


def one_line(text: str) -> str:
    """A text in a cell of a table."""
    return " ".join(prose(text).split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(one_line(cell) for cell in line)} |\n" for line in lines)


# ---------------------------------------------------------------------------------------- kinds


def kind(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """What a value may be, in words."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return kind(inner, [*limits, *more])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return " or ".join(dict.fromkeys(kind(part, limits) for part in parts))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    return _of_class(annotation) + _limits(limits)


def _of_class(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, tuple):
        return f"list of {_several(kind(arguments[0]))}"
    if origin is dict:
        return f"{_several(kind(arguments[1]))} by name"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return LINKS.get(annotation, annotation.__name__)
    return _PLAIN.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _several(words: str) -> str:
    plural = {"text": "texts", "whole number": "whole numbers", "number": "numbers"}
    return plural.get(words, words)


def _limits(limits: Sequence[Any]) -> str:
    """The bounds of a number, in words."""
    words = []
    for limit in _flat(limits):
        for name, sign in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            if (bound := getattr(limit, name, None)) is not None:
                words.append(f"{sign} {bound}")
    return f", {', '.join(dict.fromkeys(words))}" if words else ""


def _flat(limits: Sequence[Any]) -> Iterator[Any]:
    for limit in limits:
        yield from limit.metadata if isinstance(limit, FieldInfo) else [limit]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the models that an annotation names."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


# ------------------------------------------------------------------------------------- examples


def default_of(field: FieldInfo) -> Any:
    """The default of a key as plain values; PydanticUndefined where it must be given."""
    value = field.get_default(call_default_factory=True)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def example_of(field: FieldInfo) -> Any:
    """An example of a value: the stated one, else another choice than the default, else that."""
    if field.examples:
        return field.examples[0]
    default = default_of(field)
    choices = [value for value in _choices(field.annotation) if value != default]
    if choices:
        return choices[0]
    return default


def _choices(annotation: Any) -> list[Any]:
    if annotation is bool:
        return [False, True]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _choices(part)]


def check_example(field: FieldInfo, value: Any) -> None:
    """Raises ValidationError where an example is no value of its key."""
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    TypeAdapter(kind).validate_python(value)


def shown(value: Any) -> str:
    """A value as a recipe may write it, in code; a long one is cut."""
    if value is PydanticUndefined:
        return "must be given"
    if value in ({}, [], (), ""):
        return "none"
    if isinstance(value, Mapping):
        return "as below"
    text = yaml(value)
    return f"`{text}`" if len(text) <= _LONG else f"`{text[:_LONG]}`…"


def yaml(value: Any) -> str:
    """A value in YAML's short form, on a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml, value))}]"
    if isinstance(value, str):
        is_plain = _PLAIN_TEXT.fullmatch(value) and value not in ("null", "true", "false")
        return value if is_plain else json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, default=str)


# --------------------------------------------------------------------------------------- tables

Words = Callable[[str, FieldInfo], str | None]


def described(name: str, field: FieldInfo) -> str | None:
    """The words that stand at the definition of a key."""
    return field.description


def words_of(model: str, name: str, field: FieldInfo, words: Words = described) -> str:
    """What a key means. Raises Wordless where nothing says it."""
    text = words(name, field)
    if not text:
        raise Wordless(f"'{name}' of {model} has no words; write Field(description=...) there")
    return text


def keys(
    model: type[BaseModel], words: Words = described, examples: Mapping[str, Any] | None = None
) -> str:
    """The table of the keys of a model, with default and example; some `examples` are given."""
    model.model_rebuild()
    rows = []
    for name, field in model.model_fields.items():
        example = (examples or {}).get(name, example_of(field))
        is_shown = example is not PydanticUndefined and example not in (None, {}, [], "")
        is_shown &= name in (examples or {}) or not isinstance(example, dict)
        rows.append(
            [
                f"`{field.alias or name}`",
                words_of(model.__name__, name, field, words),
                LINKS_OF_KEYS.get((model, name)) or kind(field.annotation, field.metadata),
                shown(default_of(field)),
                f"`{field.alias or name}: {yaml(example)}`" if is_shown else "",
            ]
        )
    return table(["key", "meaning", "value", "default", "example"], rows)


def document(model: type[BaseModel], words: Words = described) -> str:
    """The table of the keys of a document: kind and words."""
    model.model_rebuild()
    rows = [
        [f"`{name}`", words_of(model.__name__, name, field), kind(field.annotation, field.metadata)]
        for name, field in model.model_fields.items()
    ]
    return table(["key", "meaning", "value"], rows)
