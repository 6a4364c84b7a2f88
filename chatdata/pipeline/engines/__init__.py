"""Engines: where the parts of a build run.

An engine module has `start(workers)`, a context that gives `Workers` for as long as it is open.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chatdata.core.errors import EngineError

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

ENGINES = ("local", "ray")

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(Protocol):
    """What runs functions: in this process, in a pool of processes, or on a cluster."""

    @property
    def number(self) -> int:
        """How many tasks are worked at together."""

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yields `function(task)` for each task, in the order of the tasks."""

    def map_here(
        self, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yields what `map` does, of tasks that need the disk of this process."""

    def write(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yields what `map` does, of tasks that threads may share, since they run no Python to
        speak of."""

    def remove(self, path: Path) -> None:
        """Removes a file of the work folder that no task reads again, wherever it is."""

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        """The future of `function(task)`, which runs while the caller goes on."""


def remove_here(path: Path) -> None:
    """Removes a file of this process, where there is one: the disk has room if it stays."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(name: str, workers: int) -> AbstractContextManager[Workers]:
    """The workers of an engine of `ENGINES`. Raises EngineError where a package is missing, and
    where so many workers cannot be started."""
    if name not in ENGINES:
        raise EngineError(f"there is no engine '{name}'; known: {', '.join(ENGINES)}.")
    if workers < 1:
        raise EngineError(f"there cannot be {workers} workers; give at least 1.")
    if workers > 1 and multiprocessing.current_process().daemon:
        raise EngineError(
            f"a process of a multiprocessing.Pool cannot start {workers} workers; give 1 there."
        )
    engine: Any = importlib.import_module(f"{__name__}.{name}")
    opened: AbstractContextManager[Workers] = engine.start(workers)
    return opened
