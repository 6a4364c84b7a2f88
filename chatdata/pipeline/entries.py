"""The entries of a recipe's lists: filters or cleaners by name, all their options written out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import ValidationError

from chatdata.core.config import Strict, nearest

Entry = dict[str, dict[str, Any]]  # a name, and options


def parse(
    value: Any, kind: str, names: Collection[str], model_of: Callable[[str], type[Strict]]
) -> list[Entry]:
    """The entries of a list that a recipe has, each with all its options.

    An item of the list is a name, or a name with options. `kind` is what is listed, `names` are the
    known ones, and `model_of` gives the model of the options of a name. Raises ValueError where an
    item is not understood, or listed twice.
    """
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of {kind}s; write [] for none")
    entries = [_entry(item, kind, names, model_of) for item in value]
    listed = [name for entry in entries for name in entry]
    for name in listed:
        if listed.count(name) > 1:
            raise ValueError(f"{kind} '{name}' is listed twice")
    return entries


def _entry(
    item: Any, kind: str, names: Collection[str], model_of: Callable[[str], type[Strict]]
) -> Entry:
    entry = {item: {}} if isinstance(item, str) else item
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{item!r} is not a {kind}; write its name, or name: {{option: value}}")
    ((name, options),) = entry.items()
    if name not in names:
        raise ValueError(f"unknown {kind} '{name}'; {nearest(str(name), names)}")
    if not isinstance(options or {}, Mapping):
        raise ValueError(f"{name}: {options!r} is not options; write {name}: {{option: value}}")
    try:
        return {name: model_of(name).model_validate(options or {}).model_dump(mode="json")}
    except ValidationError as error:
        raise ValueError(_problem(name, error)) from None


def _problem(name: str, error: ValidationError) -> str:
    """The first problem of the options of a filter or cleaner, in words."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{name} needs `{key}`; write {name}: {{{key}: ...}}"
    if first["type"] == "value_error":
        where = f"{name}: {key}" if key else name
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    return f"{name}: '{key}' is {first['input']!r}: {first['msg']}"
