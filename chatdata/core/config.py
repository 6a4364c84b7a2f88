"""YAML files and `--set` overrides to strict models.

One parser for recipes and train configurations: an unknown key is an error that names the
nearest key, a value keeps the type it is written with (`false` is false, `no` is a word), and
a key written twice is refused.
"""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    create_model,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from chatdata.core import yaml_values
from chatdata.core.errors import ConfigError

_SHOWN = 200  # characters of a value in an error


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint with the known word nearest to `word`, or with all known words where none is near."""
    names = sorted(known)
    near = close(word, names)
    return f"did you mean '{near}'?" if near else f"known: {', '.join(names)}"


def nearest_sentence(word: str, known: Iterable[str]) -> str:
    """The hint of `nearest`, which ends a sentence."""
    hint = nearest(word, known)
    return hint if hint.endswith("?") else f"{hint}."


def close(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`; None where none is near."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


class Strict(BaseModel):
    """A frozen model whose unknown keys are errors that name the nearest known key."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = {name: field.alias or name for name, field in cls.model_fields.items()}
        allowed = set(known) | set(known.values())
        for key in value:
            if key not in allowed:
                raise ValueError(f"unknown key '{key}'; {nearest(str(key), known.values())}")
        return value


def _is_given(value: Sequence[Any]) -> Sequence[Any]:
    if not (value.strip() if isinstance(value, str) else value):
        raise ValueError("nothing stands there; write a value, or leave the key out")
    return value


Given = AfterValidator(_is_given)  # of a text that is not blank, or a list that is not empty
Word = Annotated[str, Given]


def arguments_model(function: Callable[..., Any], skip: int = 0) -> type[Strict]:
    """A strict model of the arguments of a function, without the first `skip` of them."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[skip:]
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters
    }
    return create_model(function.__name__, __base__=Strict, **fields)


Model = TypeVar("Model", bound=BaseModel)


def parse(
    model: type[Model], values: object, where: str, context: Mapping[str, Any] | None = None
) -> Model:
    """The `values` as a `model`, whose validators may read the `context`. Raises ConfigError with
    `where`, the key and the value."""
    try:
        return model.model_validate(values, context=context)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_problem(error)}") from None


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML 1.2 file. Raises ConfigError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a folder; name a YAML file in it.") from None
    except OSError as error:
        raise ConfigError(f"cannot read '{path}': {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"'{path}' is not a text file (byte {error.start} is not UTF-8); "
            "a recipe is a YAML file."
        ) from None
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"'{path}' holds no keys; a recipe is a YAML mapping (`key: value`).")
    return values


def text_in_yaml(path: Path, key: str) -> str:
    """The text of a key at the top of a YAML file, which is read no further; '' without the key."""
    name, depth = None, 0
    for event in YAML(typ="safe", pure=True).parse(path.read_text(encoding="utf-8")):
        is_text = isinstance(event, ScalarEvent) and depth == 1
        if is_text and name == key:
            return str(event.value)
        name = event.value if is_text and name is None else None
        depth += isinstance(event, (MappingStartEvent, SequenceStartEvent))
        depth -= isinstance(event, (MappingEndEvent, SequenceEndEvent))
    return ""


def dump_yaml(values: Mapping[str, Any]) -> str:
    """The `values`, which JSON can hold, as YAML, in the order of the mapping."""
    return _dumped(json.dumps(values))


@functools.lru_cache(64)
def _dumped(values: str) -> str:
    """The YAML of a mapping in JSON: a build writes its recipe in several places, slowly."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 100
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(json.loads(values), out)
    return out.getvalue()


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text. Raises ConfigError, which names `where`, for anything else."""
    return _load(text, where)


def merge_yaml(text: str, new: str, keys: Sequence[str], where: str) -> str:
    """The mapping in `text`, with the values of `new` for the keys in `keys`.

    The remaining keys of `text` stay as they are, in their order, with their comments; keys that
    `text` lacks are added at the end. Raises ConfigError, which names `where`, if `text` is not a
    YAML mapping.
    """
    parser = YAML(typ="rt", pure=True)  # keeps comments, quotes and order
    parser.preserve_quotes = True
    parser.width = 4096
    merged = _mapping(parser, text, where)
    for key, value in _mapping(parser, new, where).items():
        if key in keys or key not in merged:
            merged[key] = value
    out = io.StringIO()
    parser.dump(merged, out)
    return out.getvalue()


def _mapping(parser: YAML, text: str, where: str) -> Any:
    values = _load(text, where, parser) if text.strip() else CommentedMap()
    if not isinstance(values, CommentedMap):
        raise ConfigError(f"{where}: its YAML holds no keys (`key: value`).")
    return values


def override(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The `values` with each setting `a.b=VALUE` applied; VALUE is YAML.

    `a` may be absent or null. In a list `b` is a number, or the name of an item: `drop.empty.c=1`
    sets an option of the item `empty` or `{empty: ...}`. Raises ConfigError for a setting without
    `=`, and where `a` has no keys or lists no `b`.
    """
    changed: dict[str, Any] = _copy(values)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting}: write it as KEY=VALUE, for example a.b=3.")
        _put(changed, path.split("."), parse_yaml(text, f"--set {setting}"), setting)
    return changed


def _put(values: dict[str, Any], keys: list[str], value: object, setting: str) -> None:
    place: Any = values
    for number, key in enumerate(keys):
        where = ".".join(keys[:number])
        holder, slot = _slot(place, key, where, setting)
        if number == len(keys) - 1:
            holder[slot] = value
        elif isinstance(slot, str) and holder.get(slot) is None:
            holder[slot] = {}
        place = holder[slot]


def _slot(place: Any, key: str, where: str, setting: str) -> tuple[Any, str | int]:
    """The mapping or list that holds what is called `key` in a place, and its key there."""
    if isinstance(place, dict):
        return place, key
    if not isinstance(place, list):
        raise ConfigError(
            f"--set {setting}: '{where}' is {_shown(place)}, which has no key '{key}'; set "
            f"'{where}' as a whole instead."
        )
    held = _item(place, key)
    if held is None:
        hint = nearest(key, _names(place)) if place else f"it is empty; write {where}=[{key}]"
        raise ConfigError(f"--set {setting}: '{where}' lists no '{key}'; {hint}")
    return held


def _item(items: list[Any], key: str) -> tuple[Any, str | int] | None:
    """The item of a list that has the number or the name `key`: what holds it, and its key there;
    None without such an item. An item that is a name alone becomes one with options."""
    if key.isdecimal() and int(key) < len(items):
        return items, int(key)
    for number, item in enumerate(items):
        if item == key:
            items[number] = {key: None}
        if isinstance(items[number], dict) and key in items[number]:
            return items[number], key
    return None


def _names(items: list[Any]) -> list[str]:
    """The names by which `_item` knows the items of a list."""
    return [str(name) for item in items for name in (item if isinstance(item, dict) else [item])]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _load(text: str, where: str, parser: YAML | None = None) -> Any:
    value = _parsed(text, where, parser.load if parser else _plain)
    if fault := yaml_values.fault(value):
        raise ConfigError(f"{where}: {fault}.")
    return value


def _plain(text: str) -> Any:
    """The value of a YAML text, which the caller may change."""
    return copy.deepcopy(_plain_once(text))


@functools.lru_cache(64)
def _plain_once(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _parsed(text: str, where: str, load: Callable[[str], Any]) -> Any:
    try:
        return load(text)
    except RecursionError:
        raise ConfigError(f"{where}: it is nested too deeply; write fewer levels.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML ({error.problem}).") from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{where}: not valid YAML ({str(error).splitlines()[0]}).") from None


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "value_error":
        return f"{key + ': ' if key else ''}{text}{more}"
    if first["type"] == "missing":
        return f"the key '{key}' is missing{more}."
    return f"'{key}' is {_shown(first['input'])}: {text[:1].lower()}{text[1:]}{more}."


def _shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
