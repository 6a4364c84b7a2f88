"""How the commands print: JSON, notes on stderr, text that cannot act on the terminal."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

# Control characters would act on the terminal, and characters that turn the direction of writing
# would hide what stands there; their pictures do not.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
_OTHERS = (*range(0x80, 0xA0), 0x61C, *range(0x200E, 0x2010), *range(0x2028, 0x202F))
_OTHERS += tuple(range(0x2066, 0x206A))
_PICTURES |= dict.fromkeys(_OTHERS, 0xFFFD)
_ESCAPES = {code: f"\\u{code:04x}" for code in (0x7F, *_OTHERS)}


def console() -> Console:
    """A console on stdout that colours only what a command styles, and shows texts as they are.

    Nothing in a text is markup, and no character of a text acts on the terminal.
    """
    return _console_class()(highlight=False, markup=False)


@functools.cache
def _console_class() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Shown(Console):
        """A console that shows pictures in place of control characters, whatever it renders."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text))

    return Shown


def has_colours(console: Console) -> bool:
    """Whether the console shows colours."""
    return console.color_system is not None and not console.no_color


def visible(text: str) -> str:
    """The text with pictures in place of characters that act on a terminal."""
    return text.translate(_PICTURES)


def note(text: str) -> None:
    """Prints a note on stderr."""
    click.echo(visible(text), err=True)


def say(text: str) -> None:
    """Prints a text on stdout."""
    click.echo(visible(text))


def print_json(value: Any) -> None:
    """Prints a value on stdout as indented JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.translate(_ESCAPES))  # in a string of JSON both mean the same
