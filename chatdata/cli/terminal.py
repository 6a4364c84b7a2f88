"""How the commands print: JSON, notes on stderr, text that cannot act on the terminal."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from chatdata.cli import wrapping

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Control characters would act on the terminal, and characters that turn the direction of writing
# would hide what stands there; their pictures and their numbers do not.
_PICTURES: dict[int, int | str] = {
    code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"
}
_PICTURES[127] = 0x2421
_OTHERS = (*range(0x80, 0xA0), 0x61C, *range(0x200E, 0x2010), *range(0x2028, 0x202F))
_OTHERS += tuple(range(0x2066, 0x206A))
_PICTURES |= {code: f"⟨U+{code:04X}⟩" for code in _OTHERS}
_ESCAPES = {code: f"\\u{code:04x}" for code in (0x7F, *_OTHERS)}


def console() -> Console:
    """A console on stdout that colours only what a command styles, and shows texts as they are.

    Nothing in a text is markup, and no character of a text acts on the terminal. On a terminal
    lines are broken between words.
    """
    return _console_class()(highlight=False, markup=False)


@contextlib.contextmanager
def paged(no_pager: bool) -> Iterator[Console]:
    """A console whose output is shown in a pager where it is longer than the terminal.

    Where stdin or stdout is no terminal there is no pager.
    """
    if no_pager or not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield console()
        return
    seen, text = console(), io.StringIO()
    yield _console_class()(
        highlight=False, markup=False, file=text, force_terminal=True, width=seen.width
    )
    if text.getvalue().count("\n") < seen.height:
        click.echo(text.getvalue(), nl=False, color=True)
        return
    os.environ.setdefault("LESS", "-RX")  # show colours, and leave what was read on the screen
    click.echo_via_pager(text.getvalue(), color=True)


@functools.cache
def _console_class() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class Shown(Console):
        """A console that shows pictures in place of control characters, whatever it renders."""

        def print(self, *objects: Any, **options: Any) -> None:
            if self.is_terminal and options.get("soft_wrap"):
                texts = [Text(item) if isinstance(item, str) else item for item in objects]
                objects = tuple(_at_words(text, self.width) for text in texts)
            super().print(*objects, **options)

        def on_broken_pipe(self) -> None:
            """Raises what rich would end in silence with status 1."""
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text))

    return Shown


def _at_words(text: Text, width: int) -> Text:
    """The text, its lines broken between words."""
    from rich.text import Text

    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        breaks, hang = wrapping.stretches(line.plain, width)
        for number, part in enumerate(line.divide(breaks)):
            if breaks:
                part.rstrip()
            lines.append(Text(" " * hang).append_text(part) if number else part)
    return Text("\n", style=text.style, end=text.end).join(lines)


def has_colours(console: Console) -> bool:
    """Whether the console shows colours."""
    return console.color_system is not None and not console.no_color


def visible(text: str) -> str:
    """The text with pictures in place of characters that act on a terminal."""
    return text.translate(_PICTURES)


def fitted(text: str, *, err: bool = False, room: int = 0) -> str:
    """The text for stdout, or for stderr: broken between words where that is a terminal, `room`
    columns before its end."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        return text
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno())[0]
    except OSError:
        return text
    return wrapping.wrap(text, width - room) if width > room else text


LOUDNESS = "chatdata.loudness"  # in the context: -1 for --quiet, 1 for --verbose


def loudness() -> int:
    """How much a command says: -1 its result alone, 0 what most want to know, 1 more."""
    context = click.get_current_context(silent=True)
    return 0 if context is None else int(context.meta.get(LOUDNESS, 0))


def note(text: str) -> None:
    """Prints a note on stderr, unless --quiet is given."""
    if loudness() >= 0:
        click.echo(fitted(visible(text), err=True), err=True)


def say(text: str) -> None:
    """Prints a text on stdout."""
    click.echo(fitted(visible(text)))


def print_json(value: Any) -> None:
    """Prints a value on stdout as indented JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.translate(_ESCAPES))  # in a string of JSON both mean the same
