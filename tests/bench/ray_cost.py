"""What Ray on one machine costs beside local workers, in CPU seconds of all processes.

    python tests/bench/ray_cost.py INPUT [RECIPE] [TIMES]

Builds of both engines, two workers each, take turns. Orphans of Ray are waited for, too.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def build(engine: str, recipe: str, source: str, out: Path) -> tuple[float, float]:
    """The CPU seconds and the seconds of a build."""
    command = [sys.executable, "-m", "chatdata", "build", recipe, "--input", source, "-q"]
    command += ["--out", str(out), "--engine", engine, "--workers", "2"]
    before, start = _used(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - start
    _wait_for_orphans()
    return _used() - before, took


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    """Prints a line for each build."""
    source, recipe, times = [*sys.argv[1:], *("", "sharegpt", "3")[len(sys.argv) - 1 :]]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.environ["CHATDATA_CACHE"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(int(times)):
            for engine in ("local", "ray"):
                out = Path(folder) / f"{engine}-{number}"
                cpu, took = build(engine, recipe, source, out)
                load = os.getloadavg()[0]
                print(f"{engine:5} {cpu:6.1f} s of CPU, {took:6.1f} s, load {load:.1f}", flush=True)


if __name__ == "__main__":
    main()
