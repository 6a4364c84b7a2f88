"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chatdata.cli.terminal import LOUDNESS, note
from chatdata.pipeline import engines

as_json = click.option("as_json", "--json", is_flag=True, help="Print JSON.")
out_folder = click.argument("out", type=click.Path(path_type=Path))
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
    help="Change a key of the recipe (a.b, also of list items); VALUE is YAML.",
)
force = click.option(
    "--force", is_flag=True, help="Replace a build of another recipe, or of other input."
)
rendering = click.option(
    "--rendering", metavar="NAME", help="An added rendering of the folder. [that of its build]"
)
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


def folder(spec: str) -> Path:
    """The folder that an argument names: a built folder, or that of a published version."""
    if not is_published(spec):
        return Path(spec)
    from chatdata.publish import pull

    return pull.folder(spec, note=note)


def is_published(spec: str) -> bool:
    """Whether an argument names a version on the Hub.

    The Hub's client, which takes half a second to import, is left alone where no `@` is in a name.
    """
    if "@" not in spec:
        return False
    from chatdata.publish import pull

    return pull.is_published(spec)


def recipe_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --input and --set."""
    return _inputs(settings(command))


def recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command RECIPE, --input and --set."""
    return click.argument("recipe")(recipe_settings(python(command)))
