"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatdata.cli import completing
from chatdata.cli.terminal import LOUDNESS, note
from chatdata.pipeline import engines

if TYPE_CHECKING:
    from chatdata.pipeline.recipe import Recipe

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
            if value.startswith(storage.MEMORY):
                self.fail(f"'{value}' ends with this process; name a folder.", param, ctx)
            return value if storage.is_remote(value) else Path(storage.local_path(value))
        path: Any = super().convert(value, param, ctx)
        return Path(path)


class _Dataset(click.ParamType[Path]):
    """A dataset by its name, as `folder` takes it."""

    name = "dataset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder that an argument means."""
        if isinstance(value, Path) or _is_completing(ctx):
            return Path(value)
        return folder(value)


class _Built(_Place):
    """A built folder, and no published version. Of one behind a URL, the folder of a copy."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder that an argument means."""
        place = super().convert(value, param, ctx)
        return Path(place) if _is_completing(ctx) else _built(place)


class _Changed(_Place):
    """A built folder that a command writes into, which is no URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder that an argument means."""
        place = super().convert(value, param, ctx)
        if isinstance(place, Path):
            return place if _is_completing(ctx) else _built(place)
        from chatdata.core import storage

        url = storage.shown(place)
        self.fail(f"{url} is in storage; copy it with `chatdata pull {url} --out DIR`.", param, ctx)


def _is_completing(ctx: click.Context | None) -> bool:
    """Whether a shell asks for words, for which nothing is fetched."""
    return ctx is not None and ctx.resilient_parsing


PLACE = _Place()
DATASET = _Dataset()
ANY = "OUT|REPO@VERSION|URL"
dataset = click.argument("out", type=DATASET, metavar=ANY)
built_folder = click.argument("out", type=_Built(), metavar="OUT")
changed_folder = click.argument("out", type=_Changed(), metavar="OUT")
workers = click.option(
    "--workers",
    type=click.IntRange(1),
    default=engines.cores,
    show_default="one for each core",
    help="Number of processes. A small input needs only one.",
)
cache = click.option(
    "--no-cache",
    "cache",
    flag_value=False,
    default=True,
    help="Make everything anew, and keep nothing for the next time (chatdata cache).",
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


def folder(name: str, *, is_checked: bool = True) -> Path:
    """The folder that a name means: a built folder, that of a published version in the client's
    cache, or that of a copy of one behind a URL, which may have faults unless `is_checked`.

    The Hub's client, which takes half a second to import, is left alone unless it is needed.
    """
    from chatdata.core import storage

    if not is_published(name):
        is_remote = storage.is_remote(name)
        return _built(name if is_remote else Path(storage.local_path(name)), is_checked)
    from chatdata.publish import pull

    return pull.folder(name, note, is_checked=is_checked)


def _built(place: str | Path, is_checked: bool = True) -> Path:
    """The folder of a finished build, or of a copy of one behind a URL."""
    from chatdata.dataset import finished

    if isinstance(place, Path):
        finished.check(place)
        return place
    from chatdata.dataset import remote_copy

    return remote_copy.fetch(place, is_checked=is_checked)


def is_published(name: str) -> bool:
    """Whether a name is that of a version on the Hub, which is then looked for at once."""
    from chatdata.dataset import finished

    if not finished.is_published(name):
        return False
    from chatdata.hub import reach

    reach.begin()  # while the client is imported
    return True


def check_data(name: str) -> None:
    """Raises SourceError for a file or a folder of anybody that is not there."""
    from chatdata.core import storage
    from chatdata.dataset import finished

    if not is_published(name) and not storage.is_url(name):
        finished.check_exists(Path(name))


def check_recipe(name: str, settings: Sequence[str]) -> None:
    """Raises ConfigError for a recipe that is not there, and for a setting with an unknown key,
    before the rest of a recipe, which takes a second to import, is looked at."""
    from chatdata.pipeline import shipped

    shipped.check(name, settings)


def expect_hub(recipe: Recipe, inputs: Sequence[str]) -> None:
    """Looks for the Hub at once where a recipe reads from it, while the rest is imported."""
    if not inputs and any(source.repo for source in recipe.source.values()):
        from chatdata.hub import reach

        reach.begin()


def recipe_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --input and --set."""
    return _inputs(settings(command))


def recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command RECIPE, --input and --set."""
    return click.argument("recipe", shell_complete=completing.recipes)(
        recipe_settings(python(command))
    )
