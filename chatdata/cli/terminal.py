"""How the commands print: JSON, notes on stderr, text that cannot act on the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

# Control characters would act on the terminal; their pictures do not.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


def console() -> Console:
    """A console on stdout that colours only what a command styles."""
    from rich.console import Console

    return Console(highlight=False)


def has_colours(console: Console) -> bool:
    """Whether the console shows colours."""
    return console.color_system is not None and not console.no_color


def visible(text: str) -> str:
    """The text with pictures in place of its control characters."""
    return text.translate(_PICTURES)


def note(text: str) -> None:
    """Prints a note on stderr."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Prints a value on stdout as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
