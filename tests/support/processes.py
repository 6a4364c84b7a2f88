"""Programs in a session of their own, and which of their processes live."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Python with these arguments, as the first process of a session that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        for member in session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        process.communicate()


def session(leader: int) -> list[int]:
    """The processes of a session that live. Those that have ended and wait for a parent do not."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_in(path, leader)]


def _is_in(path: Path, leader: int) -> bool:
    with contextlib.suppress(OSError):
        state, *numbers = (path / "stat").read_text().rpartition(")")[2].split()
        return state != "Z" and int(numbers[2]) == leader
    return False


def until_members(leader: int, least: int) -> None:
    """Returns when a session has at least this many processes, or its first process has ended."""
    while len(members := session(leader)) < least and leader in members:
        time.sleep(0.1)


def left_of(leader: int, seconds: float) -> list[str]:
    """The commands of the processes of a session that live after so many seconds, or none."""
    end = time.monotonic() + seconds
    while session(leader) and time.monotonic() < end:
        time.sleep(0.1)
    return [_command(member) for member in session(leader)]


def _command(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    return ""
