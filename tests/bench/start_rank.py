"""What the start of a rank costs: the longest row, packing and tree packing, as before and now.

python -m tests.bench.start_rank --rows 2000000

The rows are drawn from a seed: short conversations, most of them alone and some of them the paths
of a tree, as Arrow files that are memory-mapped. Each measurement is a process of its own, the ways
in turn. Memory is what the process takes itself at most, beyond what it took before: mapped files
do not count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset

from chatdata.core.row_id import conversation_of
from chatdata.dataset import pack
from chatdata.dataset.schemas import IDS
from tests.support import row_by_row
from trainer.data import dataset, packing, tree_packing, tree_planning

LIMIT, STOP = 512, 2
ROWS_AT_ONCE = 50_000
MIB = 1 << 20


# --------------------------------------------------------------------------------- rows to read


def table(rng: np.random.Generator, first: int, rows: int) -> pa.Table:
    """Rows of 8 to 60 tokens, half of them in trees of 2 to 8 paths that begin alike."""
    sizes = rng.integers(8, 61, rows)
    paths = rng.integers(2, 9, rows) * (rng.random(rows) < 0.2) + 1
    group = np.repeat(np.arange(rows), paths)[:rows]
    ends = np.cumsum(sizes)
    within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
    ids = rng.integers(3, 500, ends[-1]).astype(np.int32)
    ids[within % 12 == 11] = STOP
    shared = within < np.repeat(rng.integers(4, 30, rows), sizes)
    ids[shared] = ((np.repeat(group, sizes) * 7919 + within * 31) % 497 + 3)[shared]
    labels = np.where(within % 12 < 4, -100, ids).astype(np.int32)
    offsets = np.append(0, ends).astype(np.int32)
    columns = {"input_ids": ids, "labels": labels}
    lists = {
        name: pa.ListArray.from_arrays(offsets, values, type=IDS)
        for name, values in columns.items()
    }
    numbers = np.arange(first, first + rows)
    names = pc.binary_join_element_wise("conversation", pa.array(numbers).cast(pa.string()), "-")
    groups = pc.binary_join_element_wise("tree", pa.array(group + first).cast(pa.string()), "-")
    return pa.table({"id": names, "group": groups, **lists, "length": pa.array(sizes, pa.int32())})


def write(folder: Path, rows: int, seed: int) -> None:
    """The rows as an Arrow file, and the index of their bins as `chatdata pack` writes it."""
    rng = np.random.default_rng(seed)
    lengths = []
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file:
        first_table = table(rng, 0, min(rows, ROWS_AT_ONCE))
        with pa.ipc.new_stream(file, first_table.schema) as stream:
            for first in range(0, rows, ROWS_AT_ONCE):
                part = table(rng, first, min(ROWS_AT_ONCE, rows - first)) if first else first_table
                stream.write_table(part, max_chunksize=1000)  # as datasets writes them
                lengths.append(part["length"].to_numpy())
    bins = pack.pack(np.concatenate(lengths), LIMIT)
    pq.write_table(pack.index_table(bins), folder / "bins.parquet")


def rows_of(folder: Path) -> Dataset:
    """The rows, memory-mapped."""
    rows: Dataset = Dataset.from_file(str(folder / "rows.arrow"))
    return rows


# ------------------------------------------------------------------------------------ both ways


def longest_before(folder: Path) -> int:
    """The longest row, row by row."""
    return int(max(rows_of(folder)["length"]))


def longest_now(folder: Path) -> int:
    """The longest row, of the column."""
    return int(dataset.lengths(rows_of(folder)).max())


def packed(folder: Path) -> int:
    """The bins of an index, each row in one of them. This has not changed."""
    rows = rows_of(folder)
    bins = pack.read_index(folder / "bins.parquet", LIMIT)
    assert np.array_equal(np.sort(bins.rows), np.arange(len(rows)))
    return len(packing.PackedRows(rows, bins))


def trees_before(folder: Path) -> dict[str, Any]:
    """Tree packing, row by row."""
    rows = rows_of(folder)
    ids, labels = (dataset.Lists(rows.data.column(name)) for name in ("input_ids", "labels"))
    lengths = np.asarray(rows["length"])
    names, groups = (rows.data.column(name).to_pylist() for name in ("id", "group"))
    group = dict(zip(names, groups, strict=True))
    group_of = [group[row if row in group else conversation_of(row)] for row in names]
    paths_of = row_by_row.paths_of(ids, labels, STOP)
    trees = row_by_row.plan(group_of, LIMIT, paths_of, row_by_row.train_once)
    bins = pack.pack([tree.tokens for tree in trees], LIMIT)
    spans = [span for tree in trees for path in tree.paths for span in path.trained]
    return {
        "tokens": sum(tree.tokens for tree in trees),
        "targets": sum(end - start for start, end in spans),
        "trees": len(trees),
        "sequences": len(bins),
        "row_tokens": int(lengths.sum()),
    }


def trees_now(folder: Path) -> dict[str, Any]:
    """Tree packing, as `trainer.data.batching` does it."""
    rows = rows_of(folder)
    ids, labels = (dataset.Lists(rows.data.column(name)) for name in ("input_ids", "labels"))
    names = rows.data.column("id")
    groups = dataset.numbered(rows.data.column("group"))
    groups = groups[dataset.conversations_of(names, names)]
    lengths = dataset.lengths(rows)
    trees = tree_planning.plan(ids, labels, groups, LIMIT, STOP, once=True)
    bins = tree_packing.bins_of(trees, LIMIT)
    counts = tree_packing.counts(trees, bins, len(rows), int(lengths.sum(dtype=np.int64)))
    return {key: counts[key] for key in ("tokens", "targets", "trees", "sequences", "row_tokens")}


WAYS: dict[str, Callable[[Path], Any]] = {
    "longest row, before": longest_before,
    "longest row, now": longest_now,
    "packing, before and now": packed,
    "tree packing, before": trees_before,
    "tree packing, now": trees_now,
}


# ------------------------------------------------------------------------------------ measured


def memory() -> int:
    """The bytes of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measured(way: str, folder: Path) -> dict[str, Any]:
    """What a way gives, the seconds that it takes of processors and of a clock, its memory."""
    before, most, is_done = memory(), [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.01):
            most[0] = max(most[0], memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, clock = time.process_time(), time.perf_counter()
    result = WAYS[way](folder)
    spent, wall = time.process_time() - begin, time.perf_counter() - clock
    is_done.set()
    watcher.join()
    return {"result": result, "cpu": spent, "wall": wall, "memory": max(0, most[0] - before)}


def measurements(folder: Path, rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the measurements of all ways in turn, each of a process of its own."""
    for _ in range(rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "tests.bench.start_rank", "--way", way]
            done = subprocess.run(
                [*command, "--folder", str(folder)], check=True, stdout=subprocess.PIPE
            )
            yield way, json.loads(done.stdout)


def report(folder: Path, rounds: int) -> None:
    """Prints a table, and fails where before and now give different results."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for way, run in measurements(folder, rounds):
        runs[way].append(run)
    print("| what | CPU s | seconds | MiB |")
    print("|---|--:|--:|--:|")
    for way, done in runs.items():
        cpu, wall, taken = (
            statistics.median(run[key] for run in done) for key in ("cpu", "wall", "memory")
        )
        print(f"| {way} | {cpu:.2f} | {wall:.2f} | {taken / MIB:.0f} |")
    for what in ("longest row", "tree packing"):
        before, now = (runs[f"{what}, {when}"][0]["result"] for when in ("before", "now"))
        assert before == now, (before, now)
        print(f"{what}: {now}")


@click.command()
@click.option("--rows", default=2_000_000, show_default=True)
@click.option("--seed", default=18, show_default=True)
@click.option("--rounds", default=1, show_default=True)
@click.option("--way", type=click.Choice(list(WAYS)), help="Measure this alone, as JSON.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where rows were written.")
def main(rows: int, seed: int, rounds: int, way: str | None, folder: Path | None) -> None:
    """Measures what a rank does with its rows before its first step."""
    if way and folder:
        print(json.dumps(measured(way, folder)))
        return
    with suppress(metadata.PackageNotFoundError):
        print({name: metadata.version(name) for name in ("datasets", "pyarrow", "numpy")})
    with tempfile.TemporaryDirectory(prefix="chatdata-") as scratch:
        write(Path(scratch), rows, seed)
        report(Path(scratch), rounds)


if __name__ == "__main__":
    main()
