"""A pool of worker processes that builds of several tests use, one after another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from chatdata.pipeline.engines.worker_process import WorkerPool


class KeptPools:
    """Makes pools in the place of `WorkerPool`. One is kept until another is asked for:
    of more or fewer workers, or after a change of what workers inherit: the environment, the
    folder, and where modules are found."""

    def __init__(self) -> None:
        self._key: object = None
        self._pool: WorkerPool | None = None

    def __call__(self, workers: int, *options: Any) -> _Lent:
        """A pool, which a block leaves as it is, unless an error ends the block."""
        variables = {**os.environ, "PYTEST_CURRENT_TEST": ""}
        key = (workers, os.getcwd(), variables, [*sys.path])
        if self._pool is None or key != self._key:
            self.end()
            self._key, self._pool = key, WorkerPool(workers, *options)
        return _Lent(self._pool, self.end)

    def end(self) -> None:
        """Ends the pool that is kept."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None


class _Lent:
    def __init__(self, pool: WorkerPool, end: Callable[[], None]) -> None:
        self.processes, self._end = pool, end

    def __enter__(self) -> _Lent:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._end()

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        return self.processes.map(function, tasks)

    def submit(self, function: Callable[[Any], Any], *task: Any) -> Future[Any]:
        return self.processes.submit(function, *task)

    def shutdown(self, *, cancel_futures: bool) -> None:
        self._end()
