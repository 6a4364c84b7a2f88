"""This machine: in this process, or in a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from chatdata.errors import EngineError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yields `function(task)` for each task, in the order of the tasks.

    One worker, or one task, runs in this process. More are spawned, not forked: a fork would
    copy the locks of Polars' and tokenizers' threads.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _share_cores, (threads,)) as pool:
        try:
            yield from pool.map(function, tasks)
        except BrokenProcessPool:
            raise EngineError(
                f"one of {workers} workers was killed, perhaps for want of memory; "
                "try again with fewer --workers."
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _share_cores(threads: int) -> None:
    """Gives each worker its share of the cores; runs before Polars and tokenizers are imported."""
    for name in ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
