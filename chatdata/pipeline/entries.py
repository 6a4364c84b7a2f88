"""The entries of a recipe's lists: filters or cleaners by name, all their options written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from chatdata.core import python_files
from chatdata.core.config import Strict, nearest
from chatdata.core.errors import ExtensionError
from chatdata.core.extensions import Registry

Entry = dict[str, dict[str, Any]]  # a name, and options


PYTHON = "python"  # names a function of a file, in the place of a name


@dataclass(frozen=True, slots=True)
class Known:
    """What a list may name. `kind` is what is listed, `model_of` gives the model of the options of
    a name, and `python` makes the options of a function."""

    kind: str
    registry: Registry[Any]
    model_of: Callable[[str], type[Strict]]
    python: Callable[[Any], dict[str, Any]]


def parse(value: Any, known: Known) -> list[Entry]:
    """The entries of a list that a recipe has, each with all its options.

    An item of the list is a name, or a name with options, or `python` with a function. Raises
    ValueError where an item is not understood, or listed twice.
    """
    kind = known.kind
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of {kind}s; write [] for none")
    entries = [_entry(item, known) for item in value]
    listed = [name_of(name, options) for entry in entries for name, options in entry.items()]
    for name in listed:
        if listed.count(name) > 1:
            raise ValueError(f"{kind} '{name}' is listed twice")
    return entries


def name_of(name: str, options: Mapping[str, Any]) -> str:
    """What an entry is called in the ledger: its name, or that of its function."""
    return python_files.parse(options["function"]).function if name == PYTHON else name


def _entry(item: Any, known: Known) -> Entry:
    kind = known.kind
    entry = {item: {}} if isinstance(item, str) else item
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{item!r} is not a {kind}; write its name, or name: {{option: value}}")
    ((name, options),) = entry.items()
    if name == PYTHON:
        return _python(options, known)
    if name not in known.registry:
        raise ValueError(f"unknown {kind} '{name}'; {nearest(str(name), known.registry.known())}")
    if not isinstance(options or {}, Mapping):
        raise ValueError(f"{name}: {options!r} is not options; write {name}: {{option: value}}")
    try:
        return {name: known.model_of(name).model_validate(options or {}).model_dump(mode="json")}
    except ValidationError as error:
        raise ValueError(_problem(name, error)) from None
    except ExtensionError as error:
        raise ValueError(str(error).removesuffix(".")) from None


def _python(options: Any, known: Known) -> Entry:
    """The entry of a function of a file."""
    given = {"function": options} if isinstance(options, str) else options
    if not isinstance(given, Mapping) or "function" not in given:
        raise ValueError(
            f"{PYTHON}: {options!r} names no function; write {PYTHON}: FILE.py:FUNCTION, or "
            f"{PYTHON}: {{function: FILE.py:FUNCTION, option: value}}"
        )
    name = name_of(PYTHON, given)
    if name in known.registry:
        raise ValueError(f"{PYTHON}: chatdata has a {known.kind} '{name}'; rename the function")
    try:
        return {PYTHON: known.python(given)}
    except ValidationError as error:
        raise ValueError(_problem(name, error)) from None
    except ExtensionError as error:
        raise ValueError(str(error).removesuffix(".")) from None


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
