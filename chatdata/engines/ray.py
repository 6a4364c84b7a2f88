"""A Ray cluster, or Ray on this machine: the same functions, so the same bytes.

The output folder has to be on a file system that all nodes share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from chatdata.errors import ChatdataError, EngineError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yields `function(task)` for each task, in the order of the tasks.

    Joins the cluster that `RAY_ADDRESS` names; without one, starts Ray here with `workers` CPUs.
    """
    try:
        import ray
    except ImportError:
        raise EngineError(
            "Ray is not installed; run `pip install 'chatdata[ray]'`, or use --engine local."
        ) from None
    started_here = not ray.is_initialized()
    if started_here:
        _start(workers)
    try:
        call: Any = ray.remote(_call)
        yield from map(ray.get, [call.remote(function, task) for task in tasks])
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, ChatdataError) else error) from None
    finally:
        if started_here:
            ray.shutdown()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _start(workers: int) -> None:
    import ray

    cpus = None if os.environ.get("RAY_ADDRESS") else workers
    ray.init(
        num_cpus=cpus, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR
    )
