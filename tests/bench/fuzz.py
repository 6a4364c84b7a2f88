"""Looks for inputs that break what must hold: python -m tests.bench.fuzz [NAME...] --seconds 60

Two ways of drawing them: hypothesis at random, and, with `--driver atheris`, by the branches of
chatdata that an input reaches (needs the package `atheris`). Prints how many inputs were tried;
ends with status 1 at the first that breaks a property, and prints it.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import click
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

BY_BRANCHES = "atheris" in sys.argv

if BY_BRANCHES:
    import atheris

with atheris.instrument_imports(include=["chatdata"]) if BY_BRANCHES else contextlib.nullcontext():
    from chatdata import preview_dataset
    from tests.support.fuzzing import PROPERTIES

    preview_dataset("sample")  # imports what is imported late

_AT_ONCE = 100  # inputs between two looks at the clock
_free = settings(
    max_examples=_AT_ONCE,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


class Tried:
    """A property that counts how often it was checked."""

    def __init__(self, name: str) -> None:
        self.property = PROPERTIES[name]
        self.count = 0

    def check(self, values: tuple[Any, ...]) -> None:
        """Checks what was drawn."""
        self.count += 1
        self.property.check(*values)

    def drawn(self) -> Callable[[], None]:
        """The check as a test of hypothesis."""
        return _free(given(st.tuples(*self.property.draws))(self.check))


def _at_random(name: str, seconds: float, first: int) -> int:
    tried, end, number = Tried(name), time.monotonic() + seconds, first
    while time.monotonic() < end:
        seed(number)(tried.drawn())()
        number += 1
    return tried.count


def _by_branches(name: str, seconds: float, first: int) -> int:
    """Ends the process: libFuzzer does."""
    tried = Tried(name)
    options = [f"-max_total_time={seconds:.0f}", f"-seed={first}", "-print_final_stats=1"]
    one_input = tried.drawn().hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()
    return tried.count


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(PROPERTIES)))
@click.option("--seconds", type=float, default=60.0, show_default=True, help="For each name.")
@click.option("--driver", type=click.Choice(["hypothesis", "atheris"]), default="hypothesis")
@click.option("--seed", "first", type=int, default=1, show_default=True)
def main(names: tuple[str, ...], seconds: float, driver: str, first: int) -> None:
    """Checks properties (all, where none is named) with inputs that are drawn."""
    warnings.simplefilter("ignore")
    if driver == "atheris" and len(names) != 1:
        raise click.UsageError("atheris takes one name at a time, since it ends the process.")
    for name in names or PROPERTIES:
        count = (_at_random if driver == "hypothesis" else _by_branches)(name, seconds, first)
        click.echo(f"{name}: {count:,} inputs in {seconds:.0f} s, none breaks it")


if __name__ == "__main__":
    main()
