"""Commands of the README, run as from a checkout."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run(line: str, folder: Path) -> None:
    """Runs a command of the README as from a checkout, on a free port."""
    program, *options = shlex.split(line)
    if program == "python":  # -m trainer.MODULE; what is imported once need not be again
        module = importlib.import_module(options[1])
        with contextlib.chdir(folder):
            outcome = CliRunner().invoke(module.main, options[2:])
        assert outcome.exit_code == 0, outcome.output
        return
    start = ["torch.distributed.run", f"--master_port={free_port()}"]
    command = [sys.executable, "-m", *(start if program == "torchrun" else [program]), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    # Behind a line of `=` torchrun sums up which rank failed; why it did stands before.
    assert done.returncode == 0, done.stderr.partition("\n=====")[0][-4000:]
    assert "terminate called" not in done.stderr
