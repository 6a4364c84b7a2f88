"""How the time of each step on a text grows with the length of the text: exponents.

python -m tests.bench.exponents                      every step on every kind of text
python -m tests.bench.exponents --step html --step secrets --all

Each step (cleaner, filter, kind of secret, detector of language) works on texts of doubled sizes,
of the kinds of `tests/support/long_texts.py`. An exponent is the logarithm to base 2 of how much
longer the last doubling took: 1 is linear, 2 is quadratic. A case is stopped once it has taken
longer than --limit, and what takes less than --least is too short to tell.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import click
import polars as pl

from chatdata.steps import cleaning, filtering, language, ngrams, redact, secrets
from chatdata.steps.filters import FILTERS
from tests.support import long_texts
from tests.support.conversations import table

_ROLES = ("system", "user", "assistant")
_OPTIONS = {"matches": {"pattern": "(a+)+b"}}  # of filters that have no defaults
Step = Callable[[str], object]


def steps() -> dict[str, Step]:
    """What works on a text, by name."""
    return {
        **{f"clean: {name}": _cleaner(name) for name in cleaning.CLEANERS},
        **{f"secrets: {kind}": _examine(kind) for kind in secrets.KINDS},
        "redact": lambda text: redact.replace(_messages(text), list(secrets.KINDS)),
        "language": lambda text: language.detect([text]),
        "n-grams": lambda text: ngrams.shingles(pl.Series([text]), 5),
        **{f"filter: {name}": _filter(name) for name in FILTERS if _is_measured(name)},
    }


def _messages(text: str) -> pl.DataFrame:
    return table({"x": [(role, text) for role in _ROLES]})


def _cleaner(name: str) -> Step:
    step = cleaning.step(name, {})
    return lambda text: cleaning.run(_messages(text), [step])


def _examine(kind: secrets.Kind) -> Step:
    hints, examine = secrets.DETECTORS[kind]

    def run(text: str) -> object:
        may_hold = pl.any_horizontal(pl.Series([text]).str.contains(hint) for hint in hints)
        return pl.select(may_hold).item() and list(examine(text))

    return run


def _is_measured(name: str) -> bool:
    filter_ = FILTERS[name]
    return filter_.unit != "corpus" and not filter_.files and not filter_.needs


def _filter(name: str) -> Step:
    filter_ = FILTERS[name]
    values = filter_.options(**_OPTIONS.get(name, {})).model_dump()
    drop = filtering.Drop(filter_, values, "drop")

    def run(text: str) -> object:
        messages, _ = filtering.add_columns(_messages(text), [drop], Path())
        return filtering.mark(messages, [drop])

    return run


# ---------------------------------------------------------------------------------------- measuring


class _Late(Exception):
    """A case has taken too long."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def measured(step: Step, name: str, sizes: list[int], limit: float) -> list[float]:
    """The seconds of each size, up to the first that takes longer than `limit`."""
    seconds: list[float] = []
    for size in sizes:
        text = long_texts.text(name, size)
        begin = time.process_time()
        with contextlib.suppress(_Late), _limited(4 * limit):
            step(text)
        seconds.append(time.process_time() - begin)
        if seconds[-1] > limit:
            break
    return seconds


def exponent(seconds: list[float], least: float) -> float | None:
    """Of the last doubling; None where that is too short to tell."""
    if len(seconds) < 2:
        return math.inf
    return math.log2(seconds[-1] / seconds[-2]) if seconds[-1] >= least else None


@click.command()
@click.option("--step", "only", multiple=True, help="Steps whose names hold this.")
@click.option("--text", "kinds", multiple=True, help="Kinds of text whose names hold this.")
@click.option("--first", default=32, show_default=True, help="First size, in 1,000 characters.")
@click.option("--doublings", default=5, show_default=True)
@click.option("--limit", default=2.0, show_default=True, help="Seconds, after which a case ends.")
@click.option("--least", default=0.1, show_default=True, help="Seconds that can be told.")
@click.option("--above", default=1.2, show_default=True, help="Exponents that are printed.")
@click.option("--all", "every", is_flag=True, help="Prints every case.")
def main(
    only: tuple[str, ...],
    kinds: tuple[str, ...],
    first: int,
    doublings: int,
    limit: float,
    least: float,
    above: float,
    every: bool,
) -> None:
    """Prints the cases above an exponent, then the worst case of each step."""
    sizes = [first * 1000 * 2**number for number in range(doublings + 1)]
    worst: list[str] = []
    print("| step | text | characters | seconds | exponent |\n|---|---|--:|--:|--:|")
    for name, step in _chosen(steps(), only):
        step("Hello")  # what is imported or loaded once
        slowest = (0.0, "")
        for kind in filter(
            lambda kind: not kinds or any(k in kind for k in kinds), long_texts.NAMES
        ):
            seconds = measured(step, kind, sizes, limit)
            grows = exponent(seconds, least)
            size = sizes[len(seconds) - 1]
            told = "-" if grows is None else f"{grows:.2f}"
            row = f"| {name} | {kind} | {size:,} | {seconds[-1]:.3f} | {told} |"
            slowest = max(slowest, (seconds[-1] / size, row))
            if every or (grows is not None and grows > above):
                print(row, flush=True)
        worst.append(slowest[1])
    print("\nthe slowest text of each step", *worst, sep="\n")


def _chosen(named: dict[str, Step], only: tuple[str, ...]) -> Iterator[tuple[str, Step]]:
    for name, step in named.items():
        if not only or any(part in name for part in only):
            yield name, step


if __name__ == "__main__":
    sys.exit(main())
