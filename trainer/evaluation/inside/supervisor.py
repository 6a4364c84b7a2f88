"""The first process of a sandbox: it starts a program, watches it, and tells what became of it.

It imports the standard library alone, and runs with any Python from 3.8 on. It forks, and then
reads a job from a socket; the child (program.py) runs the program and its test. The child knows
neither the test nor the word by which it says that the test was passed before it says that the
program has ended; and neither the socket nor the memory of this process is within its reach. As
process 1 it cannot be killed from within, and with it the system ends all that is left.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib
import json
import os
import resource
import secrets
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
from typing import Any, NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
program: Any = importlib.import_module("program")  # the file beside this file

_TICK = 0.02
_TAIL = 8192
_SUMS = 2  # of memory that have to be too large
_MESSAGES = 65536  # bytes that a child may write to its pipe
_FILES = 2000  # files of a home that are looked at
_REASONS = 20
_PNG = b"\x89PNG\r\n\x1a\n"


def main() -> None:
    """Runs the job of the socket that the first argument numbers, and reports on it."""
    child = _child()
    _close_memory()
    control = socket.socket(fileno=int(sys.argv[1]))
    report = Run(json.loads(_read(control)), child, control).report()
    _write(control, json.dumps(report).encode())
    os._exit(0)


class Child(NamedTuple):
    """The process of the program, and the pipes to it, from it, and of its two outputs."""

    process: int
    to: int
    source: int
    outputs: tuple[int, int]


def _child() -> Child:
    """A new child, which waits for its program; nothing is known yet that it could know."""
    pipes = [os.pipe() for _ in range(4)]
    (asks, to), (source, tells), *outputs = pipes
    process = os.fork()
    if process == 0:
        program.main(asks, tells, [write for _, write in outputs])
    for fd in (asks, tells, *(write for _, write in outputs)):
        os.close(fd)
    for fd in (source, *(read for read, _ in outputs)):
        os.set_blocking(fd, False)
    return Child(process, to, source, (outputs[0][0], outputs[1][0]))


def _read(control: socket.socket) -> bytes:
    (size,) = struct.unpack(">Q", control.recv(8, socket.MSG_WAITALL))
    return control.recv(size, socket.MSG_WAITALL)


def _write(control: socket.socket, data: bytes) -> None:
    control.sendall(struct.pack(">Q", len(data)) + data)


class Run:
    """A program, its process, and what is known of it."""

    def __init__(self, job: dict[str, Any], child: Child, control: socket.socket) -> None:
        self.job, self.limits, self.control, self.child = job, job["limits"], control, child
        self.is_alone = os.getpid() == 1  # all processes that there are descend from this one
        self.status = ""
        self.error: str | None = None
        self.word = secrets.token_hex(16)
        self.messages = b""
        self.output = dict.fromkeys(child.outputs, b"")
        self.open = {child.source, *child.outputs}
        self.written = self.times_over = 0
        self.is_started = self.is_tested = False

    def report(self) -> dict[str, Any]:
        """What became of the program."""
        began = time.monotonic()
        known = {key: self.job[key] for key in ("program", "home", "user", "rlimits", "files")}
        self._send({**known, "has_test": self.job["test"] is not None})
        while not self.status:
            self._step(began + self.limits["seconds"])
        seconds = time.monotonic() - began
        self._kill()
        self._drain()
        places = "/tmp" if self.is_alone else self.job["home"]  # all that could be written
        figures, refused = _figures(places, self.limits)
        fonts = _fonts(f"{self.job['home']}/.matplotlib") if self.job["wants_fonts"] else {}
        stdout, stderr = (tail.decode("utf-8", "replace") for tail in self.output.values())
        ended = {"status": self.status, "error": self.error, "seconds": seconds}
        texts = {"stdout": stdout, "stderr": stderr, "written": self.written}
        return {**ended, **texts, "figures": figures, "refused": refused, "fonts": fonts}

    def _send(self, message: dict[str, Any]) -> None:
        """Sends something to the child, which need not read it: nobody waits for that."""
        data = json.dumps(message).encode() + b"\n"
        threading.Thread(target=_write_all, args=(self.child.to, data), daemon=True).start()

    def _step(self, deadline: float) -> None:
        """Waits a little, and looks at everything that may have ended the program."""
        ready, _, _ = select.select([*self.open, self.control.fileno()], [], [], _TICK)
        if self.control.fileno() in ready:  # nobody listens any more
            self._kill()
            os._exit(1)
        for fd in ready:
            self._hear() if fd == self.child.source else self._keep(fd)
        self._look_at_the_child()
        if not self.status and time.monotonic() > deadline:
            self._end("timed_out", "wall time")
        if not self.status:
            self._look_at_memory()
            self._look_at_files()

    def _end(self, status: str, error: str | None = None) -> None:
        if not self.status:
            self.status, self.error = status, error

    def _keep(self, fd: int) -> None:
        """Keeps the end of an output. A program that writes too much has ended."""
        data = self._read(fd)
        self.written += len(data)
        self.output[fd] = (self.output[fd] + data)[-_TAIL:]
        if self.written > self.limits["output_bytes"]:
            self._end("too_much_output")

    def _read(self, fd: int) -> bytes:
        """What a pipe has; nothing where it has nothing now, or ever again."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return b""
        if not data:
            self.open.discard(fd)
        return data

    # ------------------------------------------------------------------------ what the child says

    def _hear(self) -> None:
        self.messages += self._read(self.child.source)
        if len(self.messages) > _MESSAGES:
            self._end("tampered")
        *lines, self.messages = self.messages.split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                self._obey(message)
            except (ValueError, TypeError, KeyError):
                self._end("tampered")

    def _obey(self, message: dict[str, Any]) -> None:
        stage = message["stage"]
        if stage == "started" and not self.is_started:
            self.is_started = True
        elif stage == "ran" and self.job["test"] is not None and not self.is_tested:
            self.is_tested = True
            self._send({"test": self.job["test"], "word": self.word})
        elif stage == "ran" and self.job["test"] is None:
            self._end("ran")
        elif stage == "passed" and self.is_tested:
            is_true = isinstance(message["word"], str) and message["word"] == self.word
            self._end("passed" if is_true else "tampered")
        elif stage == "ended" and message["status"] in program.FAILURES:
            self._end(message["status"], str(message["error"])[:200])
        else:
            self._end("tampered")

    def _look_at_the_child(self) -> None:
        """Notes the end of the child, and buries others."""
        while True:
            try:
                process, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            if process == self.child.process:
                self._hear()
                self._judge(code)

    def _judge(self, code: int) -> None:
        if not self.is_started:
            self._end("not_run", "its process did not start")
        elif not os.WIFSIGNALED(code):
            self._end("exited", f"code {os.WEXITSTATUS(code)}")
        elif os.WTERMSIG(code) == signal.SIGXCPU:
            self._end("timed_out", "processor time")
        else:
            self._end("killed", signal.Signals(os.WTERMSIG(code)).name)

    # ------------------------------------------------------------------------------- its processes

    def _look_at_memory(self) -> None:
        """Ends a program of too much memory. Pages that processes share count once, at a price.

        Shares grow while they are read where a process ends meanwhile: two sums have to agree.
        """
        limit, processes = self.limits["memory_bytes"], self._processes()
        is_over = sum(map(_resident, processes)) > limit and sum(map(_share, processes)) > limit
        self.times_over = self.times_over + 1 if is_over else 0
        if self.times_over == _SUMS:
            self._end("out_of_memory", "all processes together")

    def _look_at_files(self) -> None:
        """Ends a program of very many files: each costs memory that nothing else counts."""
        for folder in ("/tmp", "/dev/shm") if self.is_alone else ():
            about = os.statvfs(folder)
            if about.f_files - about.f_ffree > self.limits["files"]:
                self._end("out_of_memory", "too many files")

    def _processes(self) -> list[int]:
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [
            p for p in processes if p != 1 and (self.is_alone or _session(p) == self.child.process)
        ]

    def _kill(self) -> None:
        """Ends every process but this one; what is no process 1 ends the child's group alone."""
        with contextlib.suppress(ProcessLookupError):
            if not self.is_alone:
                os.killpg(self.child.process, signal.SIGKILL)
                return
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def _drain(self) -> None:
        """Reads what the pipes still hold."""
        for fd in list(self.output):
            while data := self._read(fd):
                self.written += len(data)
                self.output[fd] = (self.output[fd] + data)[-_TAIL:]


def _resident(process: int) -> int:
    """The bytes of memory of a process, but for files."""
    return _sizes(f"/proc/{process}/status", ("RssAnon:", "RssShmem:")) or 0


def _share(process: int) -> int:
    """As _resident, where of a page that several processes share each has its part."""
    share = _sizes(f"/proc/{process}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
    return _resident(process) if share is None else share


def _sizes(path: str, names: tuple[str, str]) -> int | None:
    """The sum of some sizes in a file of /proc; None for a file that may not be read, and 0 where
    the process is ending."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except PermissionError:
        return None
    except OSError:
        return 0
    return 1024 * sum(int(words[1]) for words in lines if words[0] in names)


def _session(process: int) -> int:
    try:
        return os.getsid(process)
    except OSError:
        return -1


def _close_memory() -> None:
    """Closes the memory and the files of this process to others of the same user."""
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def _write_all(fd: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(fd, data) :]


# ---------------------------------------------------------------------------------------- figures


def _figures(folder: str, limits: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The PNG files of a folder, oldest first, as base64, and why others were refused.

    No link is followed, and nothing but a file of bounded size is read.
    """
    figures: list[str] = []
    refused: list[str] = []
    for _, path in sorted(_png_paths(folder)):
        data, why = _figure(path, limits["figure_bytes"])
        if len(figures) == limits["figures"]:
            refused.append("too many figures")
            break
        if data is None:
            refused.append(why)
        else:
            figures.append(base64.b64encode(data).decode())
    return figures, refused[:_REASONS]


def _png_paths(folder: str) -> list[tuple[int, str]]:
    """Names that end in .png, with their times, and not those of a Python that is mounted here;
    of a folder of very many files, some."""
    paths: list[tuple[int, str]] = []
    folders, left, device = [folder], _FILES, os.stat(folder).st_dev
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return paths
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    folders += [entry.path] if about.st_dev == device else []
                elif entry.name.lower().endswith(".png"):
                    paths.append((about.st_mtime_ns, entry.path))
    return paths


def _fonts(folder: str) -> dict[str, str]:
    """The list of fonts that matplotlib has made, by its name: making it takes a second."""
    with contextlib.suppress(OSError, UnicodeError):
        for name in os.listdir(folder)[:9]:
            if name.startswith("fontlist-") and os.path.getsize(f"{folder}/{name}") < 2**22:
                with open(f"{folder}/{name}", encoding="utf-8") as file:
                    return {f".matplotlib/{name}": file.read()}
    return {}


def _figure(path: str, limit: int) -> tuple[bytes | None, str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None, "a link, or not to be read"
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            return None, "no file"
        if about.st_size > limit:
            return None, "too large"
        data = file.read(limit)
    return (data, "") if data.startswith(_PNG) else (None, "no PNG")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
