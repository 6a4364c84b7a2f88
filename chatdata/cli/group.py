"""The group of all commands: its help in the order of work, and its errors in a line."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from chatdata.cli.completing import ARGUMENTS
from chatdata.cli.terminal import fitted, note, visible
from chatdata.core import disk, streams
from chatdata.core.errors import ChatdataError

# The commands by what they are for, in the order in which they are needed.
SECTIONS = {
    "Write a recipe": ("new", "recipe", "list", "check"),
    "Build": ("build", "render", "pack", "cache"),
    "Look": ("show", "explain", "stats", "report", "diff"),
    "Prove": ("verify", "audit"),
    "Publish": ("doctor", "push", "pull"),
}
_REST = "More"  # the title of commands that are in no section
_NEW_OBJECTS_BEFORE_COLLECTION = 100_000  # Python's default is 700


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Lets a command make more objects before Python looks for garbage among them.

    A command loads a thousand modules, whose objects live to its end: looking through them again
    and again is 4 % of the time of a small build.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_COLLECTION, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class Failure(click.ClickException):
    """An error in words that are broken at spaces where a terminal shows them."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the error on stderr."""
        click.echo(fitted(f"Error: {self.message}", err=True), file=file, err=True)


class Group(click.Group):
    """The commands of chatdata."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands in the order of `SECTIONS`."""
        return [name for names in self._sections().values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands under the titles of their sections, with their whole summaries."""
        width = max(map(len, self.commands))
        for title, names in self._sections().items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", self._summary(name)) for name in names])

    def _sections(self) -> dict[str, list[str]]:
        sections = {
            title: [name for name in names if name in self.commands]
            for title, names in SECTIONS.items()
        }
        listed = {name for names in sections.values() for name in names}
        sections[_REST] = sorted(set(self.commands) - listed)
        return {title: names for title, names in sections.items() if names}

    def _summary(self, name: str) -> str:
        """The first paragraph of a command's help."""
        return " ".join((self.commands[name].help or "").split("\n\n")[0].split())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments that are left for the command. All of them are kept for errors."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. A failure that the user can mend becomes one line and status 1."""
        places = [Path(argument) for argument in ctx.meta[ARGUMENTS]]
        try:
            with _rare_garbage_collection(), disk.in_words([*places, Path(".")]):
                return super().invoke(ctx)
        except ChatdataError as error:
            for line in getattr(error, "__notes__", ()):
                note(line)
            raise Failure(visible(str(error))) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError as error:
            if streams.is_deserted():
                raise
            raise RuntimeError("a pipe broke") from error  # click would end in silence
        except Exception:
            if words := _damage(places):
                raise Failure(visible(words)) from None
            raise


def _damage(places: Sequence[Path]) -> str | None:
    """What is wrong with a folder that a command was given; None where nothing is."""
    from chatdata.verify import damage

    return damage.in_words(places)
