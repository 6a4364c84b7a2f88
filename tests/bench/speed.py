"""Times builds of an earlier commit and of the working tree in turn, and prints the ratio.

python tests/bench/speed.py sharegpt --input "$CHATDATA_SHAREGPT" --workers 2 --rounds 3
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import _sides
import click


@dataclass(frozen=True)
class Run:
    """A build by the operating system's own account: wall and CPU seconds, peak memory in MB."""

    wall: float
    cpu: float
    peak: float


def measure(side: _sides.Side, arguments: list[str]) -> Run:
    """The figures of a command of a side, run to the end in a process of its own.

    Both sides are run by this Python: two environments take different times to start. Modules are
    compiled once, as where chatdata is installed, whatever PYTHONDONTWRITEBYTECODE says.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "chatdata", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=side.environment | {"PYTHONPATH": str(side.root), "PYTHONDONTWRITEBYTECODE": ""},
        cwd=tempfile.gettempdir(),
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        sys.exit(f"{' '.join(arguments)} ended with status {status}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@click.command()
@click.argument("recipe")
@click.option("--input", "paths", multiple=True, type=click.Path(exists=True, resolve_path=True))
@click.option("--before", default="b78d2ec", show_default=True, metavar="COMMIT")
@click.option("--workers", default=1, show_default=True)
@click.option("--set", "settings", multiple=True)
@click.option("--rounds", default=5, show_default=True)
def main(
    recipe: str,
    paths: tuple[str, ...],
    before: str,
    workers: int,
    settings: tuple[str, ...],
    rounds: int,
) -> None:
    """Builds RECIPE with COMMIT and with the working tree, `rounds` times in turn."""
    commit = _sides.resolve(before)
    cache = Path(tempfile.gettempdir()).resolve() / "chatdata-same-bytes" / commit
    sides = [_sides.earlier(commit, cache / "venv"), _sides.working_tree()]
    runs: list[tuple[Run, Run]] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["build", recipe, "--workers", str(workers), "--out", f"{folder}/out"]
        arguments += [word for path in paths for word in ("--input", path)]
        arguments += [word for setting in settings for word in ("--set", setting)]
        for side in sides:  # files and compiled modules are warm for both
            measure(side, arguments)
        for number in range(rounds):
            pair = [measure(side, arguments) for side in (sides if number % 2 else sides[::-1])]
            old, new = pair if number % 2 else pair[::-1]
            runs.append((old, new))
    for figure in ("wall", "cpu", "peak"):
        old, new = ([getattr(run, figure) for run in column] for column in zip(*runs, strict=True))
        ratio = statistics.median(b / a for a, b in zip(old, new, strict=True))
        print(
            f"{figure:5} before {statistics.median(old):8.2f}  "
            f"after {statistics.median(new):8.2f}  ratio {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
