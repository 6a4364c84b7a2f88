"""Times whole builds, each in a process of its own: wall and CPU seconds, peak memory.

python tests/bench/build.py sharegpt --input "$CHATDATA_SHAREGPT" --workers 1 --workers 2
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from chatdata.dataset import manifest


@dataclass(frozen=True)
class Run:
    """One build, by the operating system's own account."""

    wall: float
    cpu: float
    peak_mb: float


def measure(command: list[str]) -> Run:
    """Runs a command and its children to the end. Peak memory is that of the largest process."""
    begin = time.perf_counter()
    environment = {**os.environ, "CHATDATA_CACHE": "off"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@click.command()
@click.argument("recipe")
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--workers", multiple=True, type=int, default=[1])
@click.option("--set", "settings", multiple=True)
@click.option("--rounds", default=3, show_default=True)
def main(
    recipe: str, path: Path, workers: tuple[int, ...], settings: tuple[str, ...], rounds: int
) -> None:
    """Builds RECIPE from --input in `rounds` rounds, once for each number of --workers."""
    runs: dict[int, list[Run]] = {number: [] for number in workers}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        for _ in range(rounds):
            for number, timed in runs.items():
                command = [sys.executable, "-m", "chatdata", "build", recipe, "--input", str(path)]
                command += [text for setting in settings for text in ("--set", setting)]
                timed.append(measure([*command, "--workers", str(number), "--out", str(out)]))
        facts = manifest.read(out)
    counts = {unit: count["read"] for unit, count in facts["counts"].items()}
    print(f"{recipe}: {path.stat().st_size / 1e6:.0f} MB, {counts}")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {facts['versions']}")
    for number, timed in runs.items():
        wall, cpu, peak = (
            statistics.median(values)
            for values in zip(*((run.wall, run.cpu, run.peak_mb) for run in timed), strict=True)
        )
        print(f"workers {number}: {wall:.1f} s wall, {cpu:.1f} s CPU, {peak:.0f} MB peak")


if __name__ == "__main__":
    main()
