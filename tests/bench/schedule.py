"""How a build's work would fill some simulated workers, and which of its stages would be serial.

    python -m tests.bench.schedule --input "$CHATDATA_SHAREGPT" --tokenizer FOLDER --workers 2 4 16

A build by one worker gives the seconds of CPU of each task, and of what the first process does
alone. Tasks are then given to simulated workers, each with a core, as a build gives them: in order,
to whoever is free. A shard is written when its last part is made, behind those that were begun by
then; the last of all when all parts are made, the largest first.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

os.environ |= {"POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1", "CHATDATA_CACHE": "off"}

import pytest

from chatdata import load_recipe
from chatdata.pipeline import build as building
from chatdata.pipeline.engines import local
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.shard_writing import WRITING
from chatdata.pipeline.stages import SECOND

START, PREPARED, COMPARED, END = "start", "prepared", "compared", "end"
TRIED, EARLY = "the fast library tried", "written meanwhile"
Seconds = dict[str, list[float]]


class Notes:
    """The seconds of CPU of what a build does, each without those of what is noted within it."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(list)
        self.early: list[tuple[int, float]] = []  # shards, each with the parts made before
        self._inside = 0.0

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Notes what the block takes."""
        began, inside = time.process_time(), self._inside
        yield
        taken = time.process_time() - began - (self._inside - inside)
        self._inside += taken
        self.seconds[name].append(taken)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Lets a build do all in one thread, one thing after the other, and notes it."""
        alone = {
            (building, "look_at"): PREPARED,
            (building, "prepare"): PREPARED,
            (building.global_pass, "decide"): COMPARED,
        }

        def mapped(_: Any, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
            step = _name(function)
            for task in tasks:
                with self.of(step):
                    made = function(task)
                yield made

        def submit(_: Any, function: Any, task: Any) -> Future[Any]:
            done: Future[Any] = Future()
            with self.of(EARLY if _name(function) == WRITING.name else TRIED):
                done.set_result(function(task))
            for seconds in self.seconds.pop(EARLY, []):
                self.early.append((len(self.seconds[SECOND.name]), seconds))
            return done

        def noted(function: Any, step: str) -> Any:
            def call(*given: Any) -> Any:
                with self.of(step):
                    return function(*given)

            return call

        patch.setattr(local._Here, "map", mapped)
        patch.setattr(local._Here, "map_here", mapped)
        patch.setattr(local._Here, "write", mapped)
        patch.setattr(local._Here, "submit", submit)
        for (module, name), step in alone.items():
            patch.setattr(module, name, noted(getattr(module, name), step))


def _name(function: Any) -> str:
    """The name of a stage, or of a function of tasks."""
    stage = getattr(function, "stage", None)
    return stage.name if stage else getattr(function, "func", type(function)).__name__


def _imported() -> float:
    """The seconds that a process takes to import what a build needs."""
    words = "import time; import chatdata.pipeline.build; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", words], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def built(recipe: Recipe, path: str) -> Notes:
    """What a build takes."""
    notes = Notes()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        notes.install(patch)
        started = time.process_time()
        building.build(recipe, Path(folder) / "out", inputs=[path], workers=1, cache=False)
        whole = time.process_time() - started
    known = sum(map(sum, notes.seconds.values())) + sum(seconds for _, seconds in notes.early)
    notes.seconds[START] = [_imported()]
    notes.seconds[END] = [whole - known]
    return notes


# ------------------------------------------------------------------------------------ simulated


def makespan(tasks: Sequence[float], workers: int) -> float:
    """When all tasks are done."""
    free = [0.0] * workers
    for seconds in tasks:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def with_shards(notes: Notes, workers: int) -> list[float]:
    """The tasks of the second pass, and the shards behind the parts that were begun by then."""
    tasks = list(notes.seconds[SECOND.name])
    for parts, seconds in reversed(notes.early):
        tasks.insert(parts + workers - 1, seconds)
    return [*tasks, *sorted(notes.seconds[WRITING.name], reverse=True)]


def schedule(notes: Notes, workers: int) -> dict[str, float]:
    """The seconds of the clock of each stage."""
    seconds = notes.seconds
    tasks = {
        **{name: seconds[name] for name in ("ReadCall", "_spread") if name in seconds},
        f"{TRIED}, first pass": [*seconds[TRIED], *seconds["first pass"]],
        f"{SECOND.name}, {WRITING.name}": with_shards(notes, workers),
    }
    clock = {name: makespan(of_stage, workers) for name, of_stage in tasks.items()}
    alone = {name: sum(seconds[name]) for name in (START, PREPARED, COMPARED, END)}
    return {**alone, **clock}


def main() -> None:
    """Prints the seconds of each stage by so many workers, and its share of the clock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 16])
    stated = parser.parse_args()
    settings = [f"render.tokenizer={stated.tokenizer}", "max_dropped=1"]
    notes = built(load_recipe("sharegpt", settings), stated.input)
    for name, taken in (*notes.seconds.items(), (EARLY, [seconds for _, seconds in notes.early])):
        print(f"{name:<28}{sum(taken):8.2f} s of CPU, {len(taken)} of them")
    for workers in stated.workers:
        stages = schedule(notes, workers)
        clock = sum(stages.values())
        print(f"\n{workers} workers: {clock:.1f} s")
        for name, taken in stages.items():
            print(f"  {name:<34}{taken:6.2f} s {taken / clock:6.1%}")


if __name__ == "__main__":
    main()
