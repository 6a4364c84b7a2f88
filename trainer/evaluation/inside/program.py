"""The process of a program: limits, the program, its test, its figures; and a word about its end.

A program ends here in every way that it likes. What it leaves behind it (patched builtins, a
tracer) is put right before its test, as far as that goes in a process that is the program's own.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import importlib
import importlib.machinery
import json
import linecache
import os
import resource
import sys
import threading
import traceback
import types
from typing import IO, Any

FAILURES = (
    *("does_not_compile", "raised", "failed", "exited", "missing_package", "out_of_memory"),
    "broken_test",
)
_HERE = os.path.dirname(os.path.abspath(__file__))


def main(read: int, write: int, outputs: list[int]) -> None:
    """Runs what comes by the pipe `read`, and says by `write` how that ended. Never returns."""
    try:
        _leave([read, write, *outputs])
        for number, fd in enumerate(outputs, 1):
            os.dup2(fd, number)
            os.close(fd)
        with os.fdopen(read, "rb") as lines:
            job = json.loads(lines.readline())
            _limit(job)
            _settle(job)
            os.write(write, b'{"stage": "started"}\n')
            Program(job, lines, write).run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _leave(keep: list[int]) -> None:
    """Leaves the session and the files of the process that forked this one."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd in os.listdir("/proc/self/fd"):
        if int(fd) > 2 and int(fd) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(fd))


def _limit(job: dict[str, Any]) -> None:
    """Takes the user and the limits of the program."""
    if job["user"] is not None:
        os.setgroups([])
        os.setresgid(*[job["user"]] * 3)
        os.setresuid(*[job["user"]] * 3)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after any start: /proc/self belongs to this user
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    os.nice(10)
    for name, value in job["rlimits"].items():
        hard = value + 1 if name == "RLIMIT_CPU" else value  # SIGXCPU first
        resource.setrlimit(getattr(resource, name), (value, hard))


def _settle(job: dict[str, Any]) -> None:
    """Makes the home, with the files that stand in it."""
    os.makedirs(job["home"], exist_ok=True)
    os.chdir(job["home"])
    for path, text in {**job["files"], "program.py": job["program"]}.items():
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)


class Program:
    """A program and its test, in a module of their own."""

    def __init__(self, job: dict[str, Any], lines: IO[bytes], write: int) -> None:
        self.source, self.has_test = job["program"], job["has_test"]
        self.lines, self.write_fd, self.process = lines, write, os.getpid()
        self.exit, self.write, self.dump, self.load = os._exit, os.write, json.dumps, json.loads
        self.exec, self.compile, self.pid = exec, compile, os.getpid
        self.untraced = (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile)
        self.before = dict(vars(builtins))
        self.module = types.ModuleType("program" if self.has_test else "__main__")
        self.module.__file__ = os.path.abspath("program.py")

    def run(self) -> None:
        """Runs program and test, says how that ended, and ends the process."""
        _keep_figures()
        sys.argv, sys.path[0:1] = ["program.py"], [os.getcwd()]
        sys.modules[self.module.__name__] = sys.modules["__main__"] = self.module
        for name in ("program", "supervisor"):
            if name != self.module.__name__:
                sys.modules.pop(name, None)
        if self._stage("program.py", self.source, "raised"):
            self._finish()

    def _finish(self) -> None:
        if not self.has_test:
            with contextlib.suppress(BaseException):
                threading._shutdown()  # type: ignore[attr-defined]
                _show_figures()  # matplotlib closes them at exit
                atexit._run_exitfuncs()
            self._end({"stage": "ran"})
        self._tell({"stage": "ran"})
        asked = self.load(self.lines.readline())
        if self._stage("test.py", asked["test"], "failed"):
            self._end({"stage": "passed", "word": asked["word"]})

    def _stage(self, name: str, source: str, failure: str) -> bool:
        """True where a source ran to its end; else the process ends."""
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        try:
            code = self.compile(source, name, "exec", 0, True)
        except BaseException as error:
            self._fail("does_not_compile" if failure == "raised" else "broken_test", error)
        try:
            self._execute(code)
        except SystemExit as error:
            if error.code in (None, 0) and not self.has_test:
                return True
            self._fail("exited", error)
        except BaseException as error:
            self._fail(_kind(error, failure), error)
        return True

    def _execute(self, code: types.CodeType) -> None:
        try:
            self.exec(code, self.module.__dict__)
        finally:
            self._put_right()

    def _put_right(self) -> None:
        """Takes back what would make a test see something else than the program's results."""
        for untrace in self.untraced:
            untrace(None)
        vars(builtins).update(self.before)

    def _fail(self, status: str, error: BaseException) -> None:
        with contextlib.suppress(BaseException):
            trace = error.__traceback__ and error.__traceback__.tb_next
            trace = trace and trace.tb_next  # without the frames of this file
            traceback.print_exception(type(error), error, trace)
        words = type(error).__name__
        if status == "missing_package":
            words = str(getattr(error, "name", "")).partition(".")[0]
        elif status == "exited":
            words = f"SystemExit {error}"
        self._end({"stage": "ended", "status": status, "error": words})

    def _end(self, message: dict[str, Any]) -> None:
        _show_figures()
        self._tell(message)
        self.exit(0)

    def _tell(self, message: dict[str, Any]) -> None:
        """Says something, but only in the process that was started for the program."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        if self.pid() != self.process:
            self.exit(0)
        self.write(self.write_fd, self.dump(message).encode() + b"\n")


def _kind(error: BaseException, failure: str) -> str:
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if isinstance(error, ModuleNotFoundError) and failure == "raised":
        return "missing_package"
    return failure


# ---------------------------------------------------------------------------------------- figures


class _Finder:
    """Lets matplotlib draw for files whatever the program asks for: no screen is here."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """The module matplotlib as it is installed, with a `use` that changes nothing."""
        if name != "matplotlib":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            vars(module)["use"] = lambda *arguments, **options: None

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _keep_figures() -> None:
    sys.meta_path.insert(0, _Finder())
    sys.path.append(os.path.join(_HERE, "backend"))


def _show_figures() -> None:
    """Keeps the figures that are open."""
    if "matplotlib.pyplot" in sys.modules:
        with contextlib.suppress(BaseException):
            importlib.import_module("matplotlib_to_png").show()
