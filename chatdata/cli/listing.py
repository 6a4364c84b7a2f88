"""What a recipe can name: sources, cleaners, filters, kinds of secrets, templates, recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click
from pydantic import BaseModel

from chatdata import sources
from chatdata.core import config
from chatdata.core.errors import ExtensionError
from chatdata.core.extensions import Registry
from chatdata.pipeline import shipped
from chatdata.render.templates import TEMPLATES
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS
from chatdata.steps.secrets import KINDS


class Entry(NamedTuple):
    """A name, a line about it, and its options with their defaults as a recipe writes them."""

    name: str
    about: str
    options: str = ""


def tables() -> dict[str, list[Entry]]:
    """The entries by the title of their table."""
    return {
        "sources": [
            *(Entry(name, sources.about(name)) for name in sources.names()),
            *_added(sources.ADDED),
        ],
        "cleaners": [
            Entry(name, cleaner.about, _options(cleaner.options))
            for name, cleaner in CLEANERS.items()
        ]
        + _added(CLEANERS),
        "filters": [
            Entry(name, filter_.about, _options(filter_.options))
            for name, filter_ in FILTERS.items()
        ]
        + _added(FILTERS),
        "kinds of secrets": _entries({str(kind): about for kind, about in KINDS.items()}),
        "templates": _entries({name: template.about for name, template in TEMPLATES.items()})
        + _added(TEMPLATES),
        "recipes": [
            Entry(path.stem, config.text_in_yaml(path, "about")) for path in shipped.recipes()
        ],
    }


def print_tables(tables: Mapping[str, list[Entry]]) -> None:
    """Prints the tables, the options of an entry below its line."""
    width = max(len(entry.name) for entries in tables.values() for entry in entries)
    for title, entries in tables.items():
        click.secho(title, bold=True)
        for entry in entries:
            click.echo(f"  {entry.name:<{width}} {entry.about}")
            if entry.options:
                click.secho(f"  {'':<{width}} {{{entry.options}}}", dim=True)


def _added(registry: Registry[Any]) -> list[Entry]:
    """The entries of what installed packages add."""
    return [_of_package(registry, name, package) for name, package in registry.added().items()]


def _of_package(registry: Registry[Any], name: str, package: str) -> Entry:
    try:
        thing = registry[name]
    except ExtensionError as error:
        return Entry(name, f"({package}) {error}")
    about = getattr(thing, "about", None) or _first_line(thing)
    options = _options(thing.options) if hasattr(thing, "options") else ""
    return Entry(name, f"({package}) {about}", options)


def _entries(abouts: Mapping[str, str]) -> list[Entry]:
    return [Entry(name, about) for name, about in abouts.items()]


def _first_line(module: object) -> str:
    return ((module.__doc__ or "").splitlines() or [""])[0]


def _options(model: type[BaseModel]) -> str:
    return ", ".join(_defaults(model))


def _defaults(model: type[BaseModel]) -> Iterator[str]:
    """Yields each option with its default; an option without a default must be given."""
    for name, option in model.model_fields.items():
        default = option.get_default(call_default_factory=True)
        value = "..." if option.is_required() else json.dumps(default).replace('"', "")
        yield f"{name}: {value}"
