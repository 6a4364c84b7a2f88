"""Workers run neither the program that starts them nor a file of the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import os
from chatdata.pipeline.engines.worker_process import WorkerPool

print("begun")
with WorkerPool(1, os.getpid, ()) as pool:
    print(pool.submit(os.getenv, "PYTHONSAFEPATH").result())
print(os.environ.get("PYTHONSAFEPATH"), __name__)
"""
TRAPS = ("random", "signal", "struct", "threading", "selectors", "polars")


@pytest.mark.parametrize("is_file", [True, False])
def test_a_program_without_a_guard_and_traps_beside_it(is_file: bool, tmp_path: Path) -> None:
    """Also of stdin, which no process can read a second time."""
    (tmp_path / "current").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    if is_file:  # a program of stdin looks into the current folder by itself
        for name in TRAPS:
            (tmp_path / "current" / f"{name}.py").write_text("raise SystemExit('a trap was run')")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py") if is_file else "-"],
        input=None if is_file else PROGRAM,
        cwd=tmp_path / "current",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout, done.stderr) == ("begun\nNone\nNone __main__\n", "")
