"""What the commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NAMED = click.Path(dir_okay=False, path_type=Path)  # a file, or the name of one that is shipped
Option = Callable[[Callable[..., Any]], Callable[..., Any]]

URL = click.option(
    "--endpoint", "url", required=True, help="An OpenAI-compatible endpoint (.../v1)."
)
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Say what the run would ask for, and ask nothing."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")


def out_option(what: str) -> Option:
    """The option that names what is written: a file or a folder."""
    return click.option(
        "--out", required=True, type=click.Path(path_type=Path), help=f"The {what} to write."
    )


def number_option(name: str, default: int, help: str, least: int = 1) -> Option:
    """An option that is a whole number, of `least` or more."""
    return click.option(
        name, type=click.IntRange(least), default=default, show_default=True, help=help
    )


def temperature_option(default: float, help: str) -> Option:
    """The option of a temperature of sampling."""
    kind = click.FloatRange(0)
    return click.option("--temperature", type=kind, default=default, show_default=True, help=help)


def price_option(who: str) -> Option:
    """The option of what tokens of an endpoint cost."""
    words = f"Prices of a million tokens that {who} reads and writes."
    kind = (click.FloatRange(0), click.FloatRange(0))
    return click.option("--price", type=kind, metavar="READ WRITTEN", help=words)


def request_options(concurrency: int) -> Option:
    """The options of how an endpoint is asked."""
    at_a_time = number_option("--concurrency", concurrency, "Requests at a time.")
    tries = number_option(
        "--retries", 6, "Tries after an error of the server or the network.", least=0
    )
    return lambda command: at_a_time(tries(command))


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
