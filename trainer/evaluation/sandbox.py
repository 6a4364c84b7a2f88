"""Programs of a model, run where they harm nobody.

    ran = sandbox.run("def double(x): return 2 * x", test="assert double(2) == 4")
    ran.status, ran.passed  # "passed", True

A program runs inside bubblewrap (`bubblewrap.py`), under limits, before a supervisor that it cannot
reach (`inside/`). What it promises, and what not, stands in SECURITY.md.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatdata.core.text import printable
from trainer.evaluation import bubblewrap, png

STATUSES: Mapping[str, str] = {
    "passed": "the program ran, and its test raised nothing",
    "ran": "the program ran to its end, and has no test",
    "failed": "the test raised an exception",
    "raised": "the program raised an exception",
    "exited": "the program ended its process before its test was over, or with an error code",
    "missing_package": "the program imports what the sandbox's Python does not have",
    "does_not_compile": "the program is no Python",
    "no_code": "the answer has no code",
    "other_language": "all code of the answer is in languages that are not run",
    "timed_out": "the program took too much time, by the clock or of a processor",
    "out_of_memory": "the program asked for too much memory",
    "too_much_output": "the program printed too much",
    "killed": "a signal ended the program",
    "tampered": "the program wrote to the pipe by which its process tells how it ended",
    "broken_test": "the test is no Python of the sandbox's version",
    "not_run": "the sandbox did not start, or did not answer",
}
_START = 30.0  # seconds that a sandbox may take to start and to end, on a machine that is busy
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use; `memory_mb` is resident, of all its processes together."""

    seconds: float = 10.0
    cpu_seconds: int = 10  # of each process
    memory_mb: int = 1024
    address_space_mb: int = 4096  # of each process
    processes: int = 64  # threads count
    open_files: int = 256
    file_mb: int = 64
    disk_mb: int = 256  # of the home, and as much of /dev/shm
    files: int = 20_000  # in both
    output_kb: int = 1024
    figures: int = 8
    figure_kb: int = 4096


_AMPLE = Limits(seconds=120, cpu_seconds=120)
_DRAWS = re.compile("matplotlib|seaborn|pandas|plt")


class Ran(NamedTuple):
    """What became of a program: a status of `STATUSES`, and more.

    `error` is the name of an exception, signal or package. `stdout` and `stderr` are the ends of
    the outputs, and `figures` the files of PNG that the program drew; `refused` says why others
    were not read.
    """

    status: str
    seconds: float = 0.0
    error: str | None = None
    stdout: str = ""
    stderr: str = ""
    figures: tuple[bytes, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the program had a test that raised nothing."""
        return self.status == "passed"


class Sandbox:
    """A place to run programs, with an interpreter; several threads may run programs at a time."""

    def __init__(self, python: str | None = None, *, is_isolated: bool = True) -> None:
        """Raises ConfigError where nothing can be isolated, and for what is no Python."""
        self.python = bubblewrap.python(python)
        self.bwrap = bubblewrap.find() if is_isolated else None
        self._users = bubblewrap.Users() if is_isolated and bubblewrap.is_root() else None
        self._fonts: dict[str, str] | None = None
        self._lock = threading.Lock()

    def run(self, program: str, *, test: str | None = None, limits: Limits | None = None) -> Ran:
        """What becomes of a program, and of its test, which runs in the same names."""
        limits = limits or Limits()
        fonts = self._listed_fonts() if _DRAWS.search(program) else {}
        return self._run(program, test, limits, fonts)[0]

    def _listed_fonts(self) -> dict[str, str]:
        """The list of fonts that matplotlib makes for a new home, made once; no program is near."""
        with self._lock:
            if self._fonts is None:
                _, self._fonts = self._run("import matplotlib.font_manager", None, _AMPLE, None)
            return self._fonts

    def _run(
        self, program: str, test: str | None, limits: Limits, fonts: dict[str, str] | None
    ) -> tuple[Ran, dict[str, str]]:
        """What becomes of a program; without a list of fonts, the one that it leaves too."""
        with contextlib.ExitStack() as held:
            start = self._guarded(held, limits) if self.bwrap else self._unguarded(held)
            job = {
                "program": program,
                "test": test or None,
                "files": fonts or {},
                "wants_fonts": fonts is None,
                "limits": _amounts(limits),
                "rlimits": _rlimits(limits, self.bwrap is not None),
                "home": start.home,
                "user": start.user,
            }
            return _exchange(start, job, limits)

    def _guarded(self, held: contextlib.ExitStack, limits: Limits) -> _Start:
        files = held.enter_context(bubblewrap.Files())
        user = held.enter_context(self._users.taken()) if self._users else None
        namespace = self._users.namespace if self._users else None
        assert self.bwrap is not None
        command = bubblewrap.command(
            self.bwrap, self.python, files, limits.disk_mb * _MIB, namespace, user
        )
        shared = [] if namespace is None else [namespace]
        return _Start(command, bubblewrap.HOME, user, [*files.descriptors, *shared])

    def _unguarded(self, held: contextlib.ExitStack) -> _Start:
        home = tempfile.mkdtemp(prefix="run-code-")
        held.callback(shutil.rmtree, home, ignore_errors=True)
        variables = [f"{k}={v}" for k, v in bubblewrap.environment(self.python, home).items()]
        script = str(bubblewrap.INSIDE / "supervisor.py")
        command = ["/usr/bin/env", "-i", *variables, self.python.executable, script]
        return _Start(command, home, None, [])


@functools.cache
def _default() -> Sandbox:
    return Sandbox()


def run(program: str, *, test: str | None = None, limits: Limits | None = None) -> Ran:
    """What becomes of a program in a sandbox with the Python that runs this.

    Raises ConfigError where nothing can be isolated.
    """
    return _default().run(program, test=test, limits=limits)


class _Start(NamedTuple):
    """A command that starts a supervisor, where its program lives, and the files that it needs."""

    command: list[str]
    home: str
    user: int | None
    descriptors: list[int]


def _amounts(limits: Limits) -> dict[str, float]:
    """What the supervisor watches."""
    return {
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_mb * _MIB,
        "output_bytes": limits.output_kb * 1024,
        "files": limits.files,
        "figures": limits.figures,
        "figure_bytes": limits.figure_kb * 1024,
    }


def _rlimits(limits: Limits, is_isolated: bool) -> dict[str, int]:
    """What the kernel watches. Only in a namespace are a user's processes those of the program."""
    known = {
        "RLIMIT_AS": limits.address_space_mb * _MIB,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_FSIZE": limits.file_mb * _MIB,
        "RLIMIT_CORE": 0,
    }
    return known | ({"RLIMIT_NPROC": limits.processes} if is_isolated else {})


# ----------------------------------------------------------------------------- with the supervisor


def _exchange(start: _Start, job: dict[str, Any], limits: Limits) -> tuple[Ran, dict[str, str]]:
    """Gives a job to a new supervisor, and takes its report; then nothing of it runs any more."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        subprocess.Popen(
            [*start.command, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[*start.descriptors, theirs.fileno()],
            start_new_session=True,
        ) as process,
    ):
        theirs.close()
        try:
            deadline = time.monotonic() + limits.seconds + _START
            data = json.dumps(job).encode()
            ours.settimeout(_START)
            ours.sendall(struct.pack(">Q", len(data)) + data)
            report = json.loads(_receive(ours, deadline))
            return _ran(report), report["fonts"]
        except (OSError, ValueError) as error:
            _kill(process)
            words = process.stderr.read(2000).decode(errors="replace") if process.stderr else ""
            return Ran("not_run", error=words.strip() or f"no report ({error})"), {}
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _receive(ours: socket.socket, deadline: float) -> bytes:
    """The report. Raises OSError where none comes in time, and ValueError for half of it."""
    (size,) = struct.unpack(">Q", _exactly(ours, 8, deadline))
    return _exactly(ours, size, deadline)


def _exactly(ours: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        ours.settimeout(max(deadline - time.monotonic(), 0.001))
        part = ours.recv(min(size - len(data), 2**20))
        if not part:
            raise ValueError("it ended early")
        data += part
    return bytes(data)


def _ran(report: dict[str, Any]) -> Ran:
    figures, refused = [], list(report["refused"])
    for text in report["figures"]:
        data = base64.b64decode(text)
        fault = png.fault(data)
        refused.append(fault) if fault else figures.append(data)
    return Ran(
        report["status"],
        round(report["seconds"], 3),
        report["error"] and printable(report["error"], "?"),
        report["stdout"],
        report["stderr"],
        tuple(figures),
        tuple(refused),
    )
