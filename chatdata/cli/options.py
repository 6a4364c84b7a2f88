"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chatdata.cli import completing
from chatdata.cli.terminal import LOUDNESS, note
from chatdata.pipeline import engines

as_json = click.option("as_json", "--json", is_flag=True, help="Print JSON.")


class _Place(click.Path):
    """A folder: its path, or the URL of one in storage, which stays a text."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """The path or the URL that an argument means."""
        from chatdata.core import storage

        if isinstance(value, str) and storage.is_url(value):
            return value if storage.is_remote(value) else Path(storage.local_path(value))
        path: Any = super().convert(value, param, ctx)
        return Path(path)


class _Dataset(_Place):
    """A built folder. Of one behind a URL, the folder of a copy."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder that an argument means."""
        place = super().convert(value, param, ctx)
        if isinstance(place, Path):
            return place
        if ctx is not None and ctx.resilient_parsing:  # a shell that completes fetches nothing
            return Path(place)
        from chatdata.dataset import remote_copy

        return remote_copy.fetch(place)


class _Changed(_Place):
    """A built folder that a command writes into, which is no URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder that an argument means."""
        place = super().convert(value, param, ctx)
        if isinstance(place, Path):
            return place
        from chatdata.core import storage

        url = storage.shown(place)
        self.fail(f"{url} is in storage; copy it with `chatdata pull {url} --out DIR`.", param, ctx)


PLACE = _Place()
out_folder = click.argument("out", type=_Dataset(), metavar="OUT")
changed_folder = click.argument("out", type=_Changed(), metavar="OUT")
workers = click.option(
    "--workers",
    type=click.IntRange(1),
    default=engines.cores,
    show_default="one for each core",
    help="Number of processes. A small input needs only one.",
)
settings = click.option(
    "settings",
    "--set",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completing.keys,
    help="Change a key of the recipe (a.b, also of list items); VALUE is YAML.",
)
force = click.option(
    "--force", is_flag=True, help="Replace a build of another recipe, or of other input."
)
rendering = click.option(
    "--rendering",
    metavar="NAME",
    shell_complete=completing.renderings,
    help="An added rendering of the folder. [that of its build]",
)
no_pager = click.option("--no-pager", is_flag=True, help="Print all at once, however long it is.")
_inputs = click.option(
    "inputs",
    "--input",
    multiple=True,
    metavar="PATH",
    help="Read this file, folder or pattern (- is standard input) instead of the source's files "
    "(SOURCE=PATH where the recipe has several).",
)


input_license = click.option(
    "--input-license",
    metavar="LICENSE",
    help="The licence of the files of --input; that of the recipe does not hold for them.",
)


python = click.option(
    "--python",
    multiple=True,
    metavar="FILE",
    help="Run this Python file, which a recipe that came with a dataset names.",
)


def _set_loudness(ctx: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    if is_given:
        ctx.meta[LOUDNESS] = -1 if parameter.name == "quiet" else 1


def loudness(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command --quiet and --verbose, which `terminal.loudness` knows of."""
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_loudness,
        help="Print the result alone: no progress, notes or advice.",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set_loudness,
        help="Print more: examples, and how long each step took.",
    )
    return quiet(verbose(command))


def folder(spec: str, *, is_checked: bool = True) -> Path:
    """The folder that an argument names: a built folder, that of a copy of one behind a URL, which
    may have faults unless `is_checked`, or that of a published version."""
    from chatdata.core import storage

    if not storage.is_remote(spec) and not is_published(spec):
        return Path(storage.local_path(spec))
    from chatdata.publish import pull

    return pull.folder(spec, note, is_checked=is_checked)


def is_published(spec: str) -> bool:
    """Whether an argument names a version on the Hub.

    The Hub's client, which takes half a second to import, is left alone where no `@` is in a name.
    """
    from chatdata.core import storage

    if "@" not in spec or storage.is_url(spec):
        return False
    from chatdata.publish import pull

    return pull.is_published(spec)


def recipe_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --input and --set."""
    return _inputs(settings(command))


def recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command RECIPE, --input and --set."""
    return click.argument("recipe", shell_complete=completing.recipes)(
        recipe_settings(python(command))
    )
