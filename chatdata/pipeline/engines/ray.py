"""A Ray cluster, or Ray on this machine: the functions of a build, so the same bytes.

The output folder has to be on a file system that all nodes share.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from chatdata.core.errors import ChatdataError, EngineError
from chatdata.pipeline.engines import Result, Task, Workers

INSTALL = "pip install 'ray>=2.50'"


@contextlib.contextmanager
def start(workers: int) -> Iterator[Workers]:
    """Joins the cluster that `RAY_ADDRESS` names; without one, starts Ray here with `workers` CPUs.

    Raises EngineError where Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise EngineError(
            f"Ray is not installed; run `{INSTALL}`, or use --engine local."
        ) from None
    started_here = not ray.is_initialized()
    if started_here:
        _start(workers)
    try:
        yield _Cluster(ray.remote(_call))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, ChatdataError) else error) from None
    finally:
        if started_here:
            ray.shutdown()


class _Cluster:
    """The machines of a Ray cluster."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        import ray

        return map(ray.get, [self._call.remote(function, task) for task in tasks])

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        future: Future[Result] = self._call.remote(function, task).future()
        return future


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _start(workers: int) -> None:
    import ray

    cpus = None if os.environ.get("RAY_ADDRESS") else workers
    ray.init(
        num_cpus=cpus, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR
    )
