"""What the commands share."""

from __future__ import annotations

import sys
from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NAMED = click.Path(dir_okay=False, path_type=Path)  # a file, or the name of one that is shipped


def cost_of(tokens: tuple[int, int], price: tuple[float, float]) -> float:
    """What tokens that were read and written cost, at prices of a million."""
    return (tokens[0] * price[0] + tokens[1] * price[1]) / 1e6


class Progress:
    """Prints how many there are, in a terminal each time, else at the end."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, done: int, of: int) -> None:
        """Prints it."""
        if sys.stderr.isatty() or done == of:
            end = "\n" if done == of else ""
            sys.stderr.write(f"\r{done} of {of} {self.what}{end}")
            sys.stderr.flush()
