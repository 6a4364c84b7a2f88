"""A build of terabytes on paper: tasks as the real planner makes them, times as measured, and
workers that straggle and fail. Nothing is built.

    python -m tests.bench.scale --terabytes 1.6 --workers 16 100 1000
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatdata.pipeline import partitions, prepare
from chatdata.pipeline.reading import _grouped
from chatdata.sources import cutting, jsonl
from chatdata.sources.batches import File

# Seconds of CPU for a megabyte of input: "Where each second of a build goes" in RESULTS.md, of the
# recipe `sharegpt` with StarCoder's tokenizer, over the 125.5 MB of the dump.
MEGABYTES = 125.5
READ = 2.7 / MEGABYTES
BUCKETS = 0.91 / 400  # "Two steps of spreading", of 400 MB
FIRST = (4.8 + 6.2 + 3.3 + 2.7 + 1.0 + 3.6) / MEGABYTES
SECOND = (3.6 + 2.7) / MEGABYTES
WRITE = 2.2 / MEGABYTES
KEYS = 0.45 / MEGABYTES  # what is decided of all parts, by the first process alone
START = 5.2  # of each worker, once

SPREAD = 0.25  # of the logarithm of a task's time
STRAGGLERS, TIMES = 0.01, 8.0  # their share, and how much longer they take
FAILURES = 0.001  # the share of tasks whose worker is lost before their end


@dataclass(frozen=True)
class Stage:
    """Tasks that any worker runs, each given by its megabytes of input."""

    sizes: Sequence[float]
    rate: float


@dataclass(frozen=True)
class Plan:
    """The megabytes of each task of reading, and how many parts there are, of how many bytes."""

    sizes: Sequence[float]
    parts: int
    part_bytes: int


def planned(terabytes: float) -> Plan:
    """The plan of a list in a file of so many bytes, which has a beginning and else is a hole."""
    size = int(terabytes * 1e12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        path.write_bytes(b'[{"messages": [{"role": "user", "content": "a"}]},')
        with path.open("r+b") as file:
            file.truncate(size)
        splits = list(cutting.splits([File(path, path.name)], Path(folder), jsonl.is_record))
        tasks = list(_grouped(splits))
    cuts = [[split.file.cut for split in task if split.file.cut] for task in tasks]
    sizes = [sum(cut.end - cut.start for cut in task) / 1e6 for task in cuts]
    parts = prepare.parts_for(size)
    return Plan(sizes, parts, size // parts)


def seconds(stage: Stage, workers: int, seed: int) -> float:
    """How long a stage takes: each worker takes the next task when it is free."""
    draw = random.Random(seed)
    waiting = list(reversed(stage.sizes))
    free = [0.0] * workers
    heapq.heapify(free)
    last = 0.0
    while waiting:
        now = heapq.heappop(free)
        size = waiting.pop()
        taken = size * stage.rate * draw.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        if draw.random() < STRAGGLERS:
            taken *= TIMES
        if draw.random() < FAILURES:  # a part of its time is lost, and a new worker starts
            waiting.append(size)
            taken = taken * draw.random() + START
        else:
            last = max(last, now + taken)
        heapq.heappush(free, now + taken)
    return last


def shown(plan: Plan, workers: int, runs: int = 3) -> str:
    """A line of the table: hours of each stage, and of all."""
    total = sum(plan.sizes)
    of_parts = [total / plan.parts] * plan.parts
    in_buckets = partitions.per_bucket(plan.parts)
    of_buckets = [total / plan.parts * in_buckets] * (plan.parts // in_buckets)
    stages = (
        Stage(plan.sizes, READ),
        Stage(of_buckets, BUCKETS if in_buckets > 1 else 0.0),
        Stage(of_parts, FIRST),
        Stage(of_parts, SECOND + WRITE),  # a shard is written when its rows are made
    )
    read, again, first, last = (
        statistics.median(seconds(stage, workers, seed) for seed in range(runs)) for stage in stages
    )
    compared = total * KEYS
    whole = START + read + again + first + compared + last
    ideal = total * (READ + FIRST + KEYS + SECOND + WRITE) / workers
    taken = (read, again, first, compared, last, whole)
    hours = [f"{value / 3600:,.2f}" for value in taken]
    return f"| {workers:,} | {' | '.join(hours)} | {ideal / whole:.0%} |"


_COLUMNS = (
    *("workers", "read", "spread", "first pass", "compared", "second pass, writing"),
    *("all", "of ideal"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terabytes", type=float, default=1.6)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16, 100, 1000, 16000])
    stated = parser.parse_args()
    plan = planned(stated.terabytes)
    print(f"{len(plan.sizes):,} splits, {plan.parts:,} parts of {plan.part_bytes / 1e6:,.0f} MB")
    print(f"\n| {' | '.join(_COLUMNS)} |\n|{'--:|' * len(_COLUMNS)}")
    for workers in stated.workers:
        print(shown(plan, workers), flush=True)


if __name__ == "__main__":
    main()
