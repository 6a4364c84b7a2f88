"""What a recipe can name: sources, cleaners, filters, kinds of secrets, templates, recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click
from pydantic import BaseModel

from chatdata import sources
from chatdata.cli.terminal import fitted, visible
from chatdata.core import config
from chatdata.core.errors import ConfigError, ExtensionError
from chatdata.core.extensions import Registry
from chatdata.pipeline import shipped
from chatdata.render.templates import TEMPLATES
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS
from chatdata.steps.secrets import KINDS


class Entry(NamedTuple):
    """A name, a line about it, and the model of its options."""

    name: str
    about: str
    options: type[BaseModel] | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values."""
        values: dict[str, Any] = {"name": self.name, "about": self.about}
        if self.options is not None:
            values["options"] = dict(_defaults(self.options))
        return values


Tables = Mapping[str, list[Entry]]


def tables() -> dict[str, list[Entry]]:
    """The entries by the title of their table."""
    return {
        "sources": [
            *(Entry(name, sources.about(name)) for name in sources.names()),
            *_added(sources.ADDED),
        ],
        "cleaners": [
            Entry(name, cleaner.about, cleaner.options) for name, cleaner in CLEANERS.items()
        ]
        + _added(CLEANERS),
        "filters": [
            Entry(name, filter_.about, filter_.options) for name, filter_ in FILTERS.items()
        ]
        + _added(FILTERS),
        "kinds of secrets": _entries({str(kind): about for kind, about in KINDS.items()}),
        "templates": _entries({name: template.about for name, template in TEMPLATES.items()})
        + _added(TEMPLATES),
        "recipes": [
            Entry(path.stem, config.text_in_yaml(path, "about")) for path in shipped.recipes()
        ],
    }


def find(name: str, tables: Tables) -> list[tuple[str, Entry]]:
    """The entries of this name, each with the title of its table.

    Raises ConfigError, which names the nearest name, where no table has it.
    """
    found_in = [
        (title, entry)
        for title, entries in tables.items()
        for entry in entries
        if entry.name == name
    ]
    if not found_in:
        known = [*tables, *(entry.name for entries in tables.values() for entry in entries)]
        close = config.close(name, known)
        hint = f"did you mean '{close}'?" if close else "`chatdata list` names everything."
        raise ConfigError(f"nothing that a recipe can name is called '{name}'; {hint}")
    return found_in


def as_json(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """The tables as plain values."""
    return {title: [entry.as_json() for entry in entries] for title, entries in tables.items()}


def print_tables(tables: Tables) -> None:
    """Prints the tables, the options of an entry below its line."""
    width = max(len(entry.name) for entries in tables.values() for entry in entries)
    for title, entries in tables.items():
        click.secho(title, bold=True)
        for entry in entries:
            _print_line(f"  {entry.name:<{width}} ", entry.about)
            if entry.options and entry.options.model_fields:
                _print_line(f"  {'':<{width}} ", f"{{{_options(entry.options)}}}", dim=True)


def _print_line(head: str, text: str, **style: Any) -> None:
    """Prints a text behind its head, under which it goes on where a line of a terminal ends."""
    lines = fitted(visible(text), room=len(head)).split("\n")
    click.echo(head, nl=False)
    click.secho(("\n" + " " * len(head)).join(lines), **style)


def _added(registry: Registry[Any]) -> list[Entry]:
    """The entries of what installed packages add."""
    return [_of_package(registry, name, package) for name, package in registry.added().items()]


def _of_package(registry: Registry[Any], name: str, package: str) -> Entry:
    try:
        thing = registry[name]
    except ExtensionError as error:
        return Entry(name, f"({package}) {error}")
    about = getattr(thing, "about", None) or _first_line(thing)
    return Entry(name, f"({package}) {about}", getattr(thing, "options", None))


def _entries(abouts: Mapping[str, str]) -> list[Entry]:
    return [Entry(name, about) for name, about in abouts.items()]


def _first_line(module: object) -> str:
    return ((module.__doc__ or "").splitlines() or [""])[0]


def _options(model: type[BaseModel]) -> str:
    """The options of a model with their defaults, in a line."""
    return ", ".join(
        f"{name}: {'...' if default is ... else json.dumps(default)}".replace('"', "")
        for name, default in _given(model)
    )


def _given(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Yields each option with its default; `...` stands for an option that must be given."""
    for name, option in model.model_fields.items():
        is_required = option.is_required()
        yield name, ... if is_required else option.get_default(call_default_factory=True)


def _defaults(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each option with its default, or with the word that it must be given."""
    for name, default in _given(model):
        yield name, {"required": True} if default is ... else {"default": default}
