"""Stages run by workers, from the cache where their results are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chatdata.pipeline import engines, extended
from chatdata.pipeline.cache import Store, open_cache
from chatdata.pipeline.calls import StageCall
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.engines import Result, Task
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.stage import Stage, versions
from chatdata.pipeline.stage import run as stage_run

_EVEN = 1e-9  # shares of parts add up to whole parts


def store_of(recipe: Recipe) -> Store | None:
    """Where results of a recipe are kept: nowhere where it uses what a package adds, whose files
    nobody watches."""
    opened = None if extended.packages(recipe) else open_cache()
    return None if opened is None else Store(opened, versions())


@dataclass(frozen=True, slots=True)
class Runner:
    """Workers, who is told how far they are, where results are kept, and who is told what was."""

    workers: engines.Workers
    progress: Progress = silent
    store: Store | None = None  # None: nothing is kept
    reused: Progress = silent

    def map(
        self, step: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yields the results of a step in the order of its tasks, and reports each."""
        return self._reported(step, self.workers.map(function, tasks), len(tasks))

    def map_here(
        self, step: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yields what `map` does, of tasks that need the disk of this process."""
        return self._reported(step, self.workers.map_here(function, tasks), len(tasks))

    def write(
        self, step: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yields what `map` does, of tasks that threads may share, as `Workers.write` says."""
        return self._reported(step, self.workers.write(function, tasks), len(tasks))

    def _reported(self, step: str, results: Iterator[Result], total: int) -> Iterator[Result]:
        for number, result in enumerate(results, start=1):
            yield result
            self.progress(step, number, total)

    def run(
        self, step: str, stage: Stage[Task, Result], context: BuildContext, tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Yields what a stage makes of its tasks, in their order, and reports each."""
        function = StageCall(stage, stage.narrowed(context), self.store)
        kept = 0.0
        for done in self.map(step, function, tasks):
            kept += done.kept
            yield done.result
        if kept:
            self.reused(stage.name, math.floor(kept + _EVEN), len(tasks))

    def run_here(self, stage: Stage[Task, Result], context: BuildContext, task: Task) -> Result:
        """What a stage makes of a task in this process."""
        done = stage_run(stage, stage.narrowed(context), self.store, task)
        return done.result
