"""What a shell offers when the user presses the tabulator: recipes, keys, ids, reasons.

A shell waits for these functions, so each imports and reads no more than it needs, and says nothing
where something is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MOST = 100  # ids that are offered

ARGUMENTS = "chatdata.arguments"  # of the command line, in the context

Words = Callable[[click.Context, str], Iterable[tuple[str, str]]]
Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _completer(words: Words) -> Completer:
    """A completer for click of a function that yields words and what they mean."""

    @functools.wraps(words)
    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            offered = [
                CompletionItem(word, help=about or None)
                for word, about in words(ctx, incomplete)
                if word.startswith(incomplete)
            ]
        except Exception:  # a shell that shows a traceback is of no use to anybody
            return []
        return offered

    return complete


@_completer
def recipes(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the recipes of chatdata, then folders and YAML files that a path begins to name."""
    import glob

    from chatdata.core import config
    from chatdata.pipeline import shipped

    for path in shipped.recipes():
        yield path.stem, config.text_in_yaml(path, "about")
    for name in sorted(glob.glob(f"{glob.escape(incomplete)}*")):
        if Path(name).is_dir():
            yield f"{name}/", ""
        elif name.endswith((".yaml", ".yml")):
            yield name, ""


@_completer
def shipped_recipes(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the recipes of chatdata."""
    from chatdata.core import config
    from chatdata.pipeline import shipped

    for path in shipped.recipes():
        yield path.stem, config.text_in_yaml(path, "about")


@_completer
def names(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields what a recipe can name, and the titles of the tables."""
    from chatdata.cli import listing

    for title, entries in listing.tables().items():
        yield title, ""
        yield from ((entry.name, entry.about) for entry in entries)


@_completer
def keys(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the keys of recipes as `--set` takes them, down to the options of filters."""
    from chatdata.pipeline.recipe_keys import KEYS, MODELS

    for name, about in KEYS[""].items():
        inner = KEYS.get(MODELS.get(name, ""), {}) if name in MODELS else {}
        yield f"{name}=", about
        yield from ((f"{name}.{key}=", means) for key, means in inner.items())
    if incomplete.startswith(("drop.", "clean.")):
        yield from _list_keys(incomplete.partition(".")[0])
    if incomplete.startswith("source."):
        yield from _source_keys(str(_argument(ctx)))


def _list_keys(key: str) -> Iterator[tuple[str, str]]:
    """Yields the options of filters or cleaners."""
    from chatdata.steps.cleaning import CLEANERS
    from chatdata.steps.filters import FILTERS

    for name, filter_ in FILTERS.items() if key == "drop" else ():
        for option in filter_.recipe_model().model_fields:
            yield f"drop.{name}.{option}=", filter_.about
    for name, cleaner in CLEANERS.items() if key == "clean" else ():
        for option in cleaner.options.model_fields:
            yield f"clean.{name}.{option}=", cleaner.about


def _source_keys(recipe: str) -> Iterator[tuple[str, str]]:
    """Yields the options of the sources that a recipe names."""
    from chatdata.core import config
    from chatdata.pipeline import shipped
    from chatdata.pipeline.recipe_keys import KEYS

    for source in config.load_yaml(shipped.find(recipe))["source"]:
        for key, means in KEYS["SourceOptions"].items():
            yield f"source.{source}.{key}=", means


@_completer
def row_ids(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields ids of conversations of a folder."""
    from chatdata.dataset import reader

    yield from _ids(reader.scan(_argument(ctx), "messages"), incomplete)


@_completer
def ledger_ids(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields ids of the ledger of a folder."""
    from chatdata.dataset import reader

    yield from _ids(reader.scan_ledger(_argument(ctx)), incomplete)


def _argument(ctx: click.Context) -> Path:
    """The folder or the recipe that a command is given, which comes before its options.

    Where a line ends with an option, click does not look at its arguments.
    """
    words = ctx.meta.get(ARGUMENTS, ())[1:]  # behind the name of the command
    return Path(next(word for word in words if not word.startswith("-")))


def _ids(rows: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    import polars as pl

    fitting = rows.select("id").filter(pl.col("id").str.starts_with(incomplete)).head(_MOST)
    yield from ((id, "") for id in dict.fromkeys(fitting.collect()["id"]))


@_completer
def reasons(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the reasons for which something was dropped in a folder, and how often."""
    from chatdata.dataset import manifest

    numbers: dict[str, list[str]] = {}
    for unit, count in manifest.read(_argument(ctx)).counts.items():
        for reason, number in count.dropped.items():
            numbers.setdefault(reason, []).append(f"{number} {unit}")
    yield from ((reason, ", ".join(words)) for reason, words in numbers.items())


@_completer
def renderings(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the renderings that were added to a folder."""
    from chatdata.dataset import manifest

    yield from ((name, "") for name in manifest.read(_argument(ctx)).renders)


@_completer
def sources(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the sources of the rows of a folder."""
    yield from _values(_argument(ctx), "source")


@_completer
def languages(ctx: click.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yields the languages of the rows of a folder."""
    yield from _values(_argument(ctx), "lang")


def _values(folder: Path, column: str) -> Iterator[tuple[str, str]]:
    from chatdata.dataset import reader

    values = reader.scan(folder, "messages").select(column).unique().collect()[column]
    yield from ((value, "") for value in sorted(values.drop_nulls()))
