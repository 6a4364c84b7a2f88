"""How a build's work would fill some simulated workers, and which of its stages would be serial.

    python -m tests.bench.schedule --input "$CHATDATA_SHAREGPT" --tokenizer FOLDER --workers 2 4 16

A build by one worker gives the seconds of CPU of each task, of each piece that is written, and of
what the first process does alone. Tasks are then given to simulated workers, each with a core, as a
build gives them: in order, to whoever is free. Threads that write share these cores.
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
from chatdata.dataset import tables
from chatdata.pipeline import build as building
from chatdata.pipeline.engines import local, writers_for
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.recipe import Recipe

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
        decide, finish = building.global_pass.decide, OutputWriter._finish

        def mapped(_: Any, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
            step = _name(function)
            for task in tasks:
                with self.of(step):
                    made = function(task)
                yield made

        def submit(_: Any, function: Any, task: Any) -> Future[Any]:
            done: Future[Any] = Future()
            with self.of(TRIED):
                done.set_result(function(task))
            return done

        def decided(*given: Any) -> Any:
            with self.of(COMPARED):
                return decide(*given)

        def later(writer: Any, table: Any, function: Any, *given: Any) -> None:
            with self.of(f"writing {table.name}"):
                function(table, *given)

        def finished(writer: Any, table: Any, split: str) -> Any:
            with self.of(f"end of {table.name}"):
                return finish(writer, table, split)

        patch.setattr(local._Here, "map", mapped)
        patch.setattr(local._Here, "map_here", mapped)
        patch.setattr(local._Here, "submit", submit)
        patch.setattr(building.global_pass, "decide", decided)
        patch.setattr(OutputWriter, "_later", later)
        patch.setattr(OutputWriter, "_finish", finished)


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


def makespan(tasks: Sequence[float], workers: int) -> list[float]:
    """When each task is done and all before it."""
    free = [0.0] * workers
    heapq.heapify(free)
    ends, last = [], 0.0
    for seconds in tasks:
        end = heapq.heappop(free) + seconds
        heapq.heappush(free, end)
        last = max(last, end)
        ends.append(last)
    return ends


def written(ends: Sequence[float], every: Sequence[list[float]], threads: int) -> float:
    """When threads have written all tables, part by part. What was added before the parts is
    written first."""
    free = [sum(sum(pieces[: -len(ends)]) for pieces in every[n::threads]) for n in range(threads)]
    for part, end in enumerate(ends):
        for number, pieces in enumerate(every):
            thread = number % threads
            free[thread] = max(free[thread], end) + pieces[part - len(ends)]
    return max(free)


def schedule(seconds: Seconds, workers: int, threads: int) -> dict[str, float]:
    """The seconds of the clock of each stage."""
    writing = [seconds[f"writing {table.name}"] for table in (*tables.TABLES, tables.DROPPED)]
    ends = [sum(pieces) for name, pieces in seconds.items() if name.startswith("end of ")]
    made = makespan(seconds["second pass"], workers)
    both = (sum(seconds["second pass"]) + sum(map(sum, writing))) / workers
    second = max(made[-1], both)
    first = makespan([*seconds[TRIED], *seconds["first pass"]], workers)
    passes = ("ReadCall", "_spread")
    return {
        START: seconds[START][0],
        **{name: makespan(seconds[name], workers)[-1] for name in passes if name in seconds},
        f"{TRIED}, first pass": first[-1],
        COMPARED: seconds[COMPARED][0],
        "second pass": second,
        "writing beyond it": max(0.0, written(made, writing, threads) - second),
        "ends of tables": makespan(ends, threads)[-1],
        END: seconds[END][0],
    }


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
        for threads in sorted({1, writers_for(workers)}):
            stages = schedule(seconds, workers, threads)
            clock = sum(stages.values())
            print(f"\n{workers} workers, {threads} threads that write: {clock:.1f} s")
            for name, taken in stages.items():
                print(f"  {name:<26}{taken:6.2f} s {taken / clock:6.1%}")


if __name__ == "__main__":
    main()
