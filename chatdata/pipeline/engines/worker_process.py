"""Processes that work for this process, and that neither outlive it nor hear Ctrl-C."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

from chatdata.core import spawning
from chatdata.core.errors import EngineError

_PR_SET_PDEATHSIG = 1  # of Linux: the signal for a process whose parent ends


class WorkerProcess(SpawnProcess):
    """A process that ends with its parent, however the parent ends.

    Ctrl-C goes to all processes of a terminal. The parent alone hears the signal, and ends its
    workers.
    """

    def start(self) -> None:
        """Starts the process, which never gets SIGINT, not even while its interpreter starts."""
        with _without_interrupts(), spawning.apart():
            super().start()

    def run(self) -> None:
        """Runs the work of the process. Called in the process."""
        end_with_parent()
        spawning.arrived()
        super().run()


class WorkerContext(SpawnContext):
    """The processes of a pool, which can be ended at once.

    Processes are spawned, not forked: a fork would copy the locks of the threads of Polars and
    tokenizers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._started: list[WorkerProcess] = []

    def Process(self, *arguments: Any, **options: Any) -> WorkerProcess:  # type: ignore[override]
        """A new process, which is not started."""
        process = WorkerProcess(*arguments, **options)
        self._started.append(process)
        return process

    def end(self) -> None:
        """Ends the processes that were started, whatever they are at."""
        for process in self._started:
            if process.pid is not None:
                process.kill()


class WorkerPool(ProcessPoolExecutor):
    """A pool of such processes, which are ended with its block, however the block ends.

    Nobody waits for what they are at, since nobody needs it, or until they have put away what they
    loaded.
    """

    def __init__(
        self, workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        self._processes_of = WorkerContext()
        try:
            with spawning.apart():  # locks of the pool start a process that counts them
                super().__init__(workers, self._processes_of, initializer, arguments)
        except OSError as error:
            raise EngineError(
                f"workers have no semaphores ({error.strerror}): they need a /dev/shm that can be "
                "written; use --workers 1 without."
            ) from None

    def __exit__(self, *error: Any) -> None:
        self._processes_of.end()
        super().__exit__(*error)


def end_with_parent() -> None:
    """Makes this process end when its parent does; ends the process where the parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    if sys.platform == "linux":  # also where the thread cannot run, in a long call of C code
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:
        os._exit(1)


def _end_after(parent: BaseProcess) -> None:
    """Ends this process when the parent has ended, which closes a pipe."""
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds SIGINT back from this thread. Processes that start meanwhile never get the signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
