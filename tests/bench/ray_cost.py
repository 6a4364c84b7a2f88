"""What Ray on one machine costs beside local workers, in CPU seconds of all processes.

    python tests/bench/ray_cost.py INPUT --recipe sharegpt --times 3

Builds of both engines, two workers each, take turns. Processes are looked at five times a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

_PR_SET_CHILD_SUBREAPER = 36


def build(engine: str, recipe: str, source: str, out: Path) -> tuple[float, float]:
    """The CPU seconds and the seconds of a build."""
    command = [sys.executable, "-m", "chatdata", "build", recipe, "--input", source, "-q"]
    command += ["--out", str(out), "--engine", engine, "--workers", "2"]
    start, used = time.monotonic(), dict[int, int]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            used |= {pid: _ticks(pid) or used.get(pid, 0) for pid in _descendants(os.getpid())}
            time.sleep(0.2)
    assert running.returncode == 0
    return sum(used.values()) / os.sysconf("SC_CLK_TCK"), time.monotonic() - start


def _ticks(pid: int) -> int:
    """What a process has used so far, without its children."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[11]) + int(words[12])


def _descendants(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, thread.read_text().split()):
                yield child
                yield from _descendants(child)


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(exists=True))
@click.option("--recipe", default="sharegpt", show_default=True)
@click.option("--times", default=3, show_default=True, help="Builds of each engine.")
def main(source: str, recipe: str, times: int) -> None:
    """Builds INPUT by both engines in turn, and prints a line for each build."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.environ["CHATDATA_CACHE"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            for engine in ("local", "ray"):
                out = Path(folder) / f"{engine}-{number}"
                cpu, took = build(engine, recipe, source, out)
                load = os.getloadavg()[0]
                print(f"{engine:5} {cpu:6.1f} s of CPU, {took:6.1f} s, load {load:.1f}", flush=True)


if __name__ == "__main__":
    main()
