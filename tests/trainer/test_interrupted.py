"""Ctrl-C while the modules of a command of the trainer load, PyTorch among them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")


def wait_for_pytorch(process: subprocess.Popen[str]) -> None:
    """Returns when a process has begun to load the libraries of PyTorch."""
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is loaded")
@pytest.mark.parametrize(
    "line",
    ["trainer.train r.yaml", "trainer.evaluate m", "trainer.merge m out", "trainer.push m a/b"],
)
def test_ctrl_c_while_pytorch_loads_is_one_word(line: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_pytorch(process)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "\nAborted!\n")
    assert process.returncode == 130
