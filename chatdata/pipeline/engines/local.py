"""This machine: this process, and for more than one worker a pool of processes beside it.

This process is one of the workers: it takes a task whenever it would wait for the others.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from chatdata.core.errors import EngineError
from chatdata.pipeline.engines import Result, Task, Workers, remove_here
from chatdata.pipeline.engines.shared_tasks import SharedTasks
from chatdata.pipeline.engines.worker_process import WorkerPool


@contextlib.contextmanager
def start(workers: int) -> Iterator[Workers]:
    """Gives this process, with a pool of processes for all workers but the first.

    Raises EngineError where one of them ends early.
    """
    if workers <= 1:
        with ThreadPoolExecutor(1, "chatdata-beside") as thread:
            yield _Here(thread)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    with WorkerPool(workers - 1, _share_cores, (threads,)) as pool:
        try:
            for _ in range(workers - 1):  # they start while this process goes on
                pool.submit(importlib.import_module, "chatdata.pipeline.build")
            yield _Pool(pool, workers)
        except BrokenProcessPool:
            raise EngineError(
                f"a worker (of {workers}) ended early. The cause may be too little memory: "
                "try fewer --workers."
            ) from None


class _Here:
    """This process."""

    number = 1

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        return map(function, tasks)

    map_here = map

    def write(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        return SharedTasks(self._thread, function, tasks).results(1)

    def remove(self, path: Path) -> None:
        remove_here(path)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        return self._thread.submit(function, task)


class _Pool:
    """This process, and further processes of this machine."""

    def __init__(self, pool: Executor, workers: int) -> None:
        self._pool, self.number = pool, workers

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        shared = SharedTasks(self._pool, function, tasks)
        try:
            yield from shared.results(self.number - 1)
        finally:
            shared.stop()

    map_here = write = map

    def remove(self, path: Path) -> None:
        remove_here(path)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        return self._pool.submit(function, task)


def _share_cores(threads: int) -> None:
    """Gives each worker a share of the cores; runs before Polars and tokenizers are imported."""
    for name in ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
