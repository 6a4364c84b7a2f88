"""What of a recipe comes from installed packages or from Python files, for the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatdata import sources
from chatdata.core import python_files
from chatdata.core.extensions import Registry
from chatdata.dataset.entries import ExtensionEntry
from chatdata.pipeline.entries import PYTHON
from chatdata.pipeline.recipe import Recipe
from chatdata.render.templates import TEMPLATES
from chatdata.steps.cleaning import CLEANERS
from chatdata.steps.filters import FILTERS


def entries(recipe: Recipe) -> tuple[ExtensionEntry, ...]:
    """What the manifest says of sources, cleaners, filters and a template that are not ours."""
    return (*_of_packages(recipe), *_of_files(recipe))


def packages(recipe: Recipe) -> list[str]:
    """The packages that a recipe uses something of. Nothing of them, or of files, is run."""
    return [package for *_, package in _added(recipe)]


def _of_packages(recipe: Recipe) -> Iterator[ExtensionEntry]:
    for kind, registry, name, package in _added(recipe):
        about = (getattr(registry[name], "about", "") or "").strip()
        yield ExtensionEntry(kind=kind, name=name, about=about, package=package)


def _added(recipe: Recipe) -> Iterator[tuple[str, Registry[Any], str, str]]:
    """Yields the kind of what packages add to a recipe, the registry, the name, and the package."""
    named: dict[str, tuple[Registry[Any], list[str]]] = {
        "source": (sources.ADDED, [options.format for options in recipe.source.values()]),
        "cleaner": (CLEANERS, [name for entry in recipe.clean for name in entry]),
        "filter": (FILTERS, [name for entry in recipe.drop for name in entry]),
        "template": (TEMPLATES, [recipe.render.template] if recipe.render else []),
    }
    for kind, (registry, names) in named.items():
        for name in dict.fromkeys(names):
            is_ours = name == PYTHON or (kind == "source" and name in sources.names())
            package = None if is_ours else registry.package_of(name)
            if package:
                yield kind, registry, name, package


def _of_files(recipe: Recipe) -> Iterator[ExtensionEntry]:
    steps = [step.cleaner for step in recipe.steps()]
    filters = [drop.filter for drop in recipe.drops()]
    abouts = {thing.name: thing.about for thing in (*steps, *filters)}
    for reader in (source.python for source in recipe.source.values() if source.python):
        reference = python_files.parse(reader.function)
        yield ExtensionEntry(
            kind="source",
            name=reference.function,
            about="",
            file=reference.file,
            sha256=str(reader.sha256),
        )
    for kind, listed in (("cleaner", recipe.clean), ("filter", recipe.drop)):
        for options in (entry[PYTHON] for entry in listed if PYTHON in entry):
            reference = python_files.parse(options["function"])
            yield ExtensionEntry(
                kind=kind,
                name=reference.function,
                about=abouts[reference.function],
                file=reference.file,
                sha256=options["sha256"],
            )
