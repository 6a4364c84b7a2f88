"""How a build's work would fill some simulated workers, and which of its stages would be serial.

    python -m tests.bench.schedule --input "$CHATDATA_SHAREGPT" --tokenizer FOLDER --workers 2 4 16

A build by one worker gives the seconds of CPU of each task, and of what the first process does
alone. Tasks are then given to simulated workers, each with a core, as a build gives them: in order,
to whoever is free, and shards, the largest first, when all parts are made.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
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

START, COMPARED, TRIED, END = "start", "compared", "the fast library tried", "end"
Seconds = dict[str, list[float]]


class Notes:
    """The seconds of CPU of what a build does, each without those of what is noted within it."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(list)
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
        decide = building.global_pass.decide

        def mapped(_: Any, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
            step = _name(function)
            for task in tasks:
                with self.of(step):
                    made = function(task)
                yield made

        def submit(_: Any, function: Any, task: Any) -> Future[Any]:
            done: Future[Any] = Future()
            step = _name(function)
            with self.of(WRITING.name if step == WRITING.name else TRIED):
                done.set_result(function(task))
            return done

        def decided(*given: Any) -> Any:
            with self.of(COMPARED):
                return decide(*given)

        patch.setattr(local._Here, "map", mapped)
        patch.setattr(local._Here, "map_here", mapped)
        patch.setattr(local._Here, "write", mapped)
        patch.setattr(local._Here, "submit", submit)
        patch.setattr(building.global_pass, "decide", decided)


def _name(function: Any) -> str:
    """The name of a stage, or of a function of tasks."""
    stage = getattr(function, "stage", None)
    return stage.name if stage else getattr(function, "func", type(function)).__name__


def built(recipe: Recipe, path: str) -> Seconds:
    """The seconds of a build."""
    notes = Notes()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        notes.install(patch)
        started, at_start = time.process_time(), time.process_time()
        building.build(recipe, Path(folder) / "out", inputs=[path], workers=1, cache=False)
        whole = time.process_time() - started
    known = sum(map(sum, notes.seconds.values()))
    notes.seconds[START] = [at_start]  # what is imported
    notes.seconds[END] = [whole - known]  # and what is prepared
    return notes.seconds


# ------------------------------------------------------------------------------------ simulated


def makespan(tasks: Sequence[float], workers: int) -> float:
    """When all tasks are done."""
    free = [0.0] * workers
    for seconds in tasks:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def schedule(seconds: Seconds, workers: int) -> dict[str, float]:
    """The seconds of the clock of each stage."""
    tasks = {
        **{name: seconds[name] for name in ("ReadCall", "_spread") if name in seconds},
        f"{TRIED}, first pass": [*seconds[TRIED], *seconds["first pass"]],
        "second pass": seconds["second pass"],
        WRITING.name: sorted(seconds[WRITING.name], reverse=True),
    }
    clock = {name: makespan(of_stage, workers) for name, of_stage in tasks.items()}
    alone = {name: sum(seconds[name]) for name in (START, COMPARED, END)}
    return {START: alone[START], **clock, COMPARED: alone[COMPARED], END: alone[END]}


def main() -> None:
    """Prints the seconds of each stage by so many workers, and its share of the clock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 16])
    stated = parser.parse_args()
    settings = [f"render.tokenizer={stated.tokenizer}", "max_dropped=1"]
    seconds = built(load_recipe("sharegpt", settings), stated.input)
    for name, taken in seconds.items():
        print(f"{name:<28}{sum(taken):8.2f} s of CPU, {len(taken)} of them")
    for workers in stated.workers:
        stages = schedule(seconds, workers)
        clock = sum(stages.values())
        print(f"\n{workers} workers: {clock:.1f} s")
        for name, taken in stages.items():
            print(f"  {name:<34}{taken:6.2f} s {taken / clock:6.1%}")


if __name__ == "__main__":
    main()
