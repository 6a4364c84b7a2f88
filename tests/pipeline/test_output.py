"""Shards that workers write: whole, in order, with bounded rows on the disk, or none of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import load_recipe
from chatdata.core import arrow
from chatdata.dataset import shards, tables
from chatdata.dataset.tables import Table
from chatdata.pipeline import engines, output, partitions, shard_rows
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.engines import Workers
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.runner import Runner
from chatdata.steps.figures import FiguresByKey

WRITTEN = [tables.LEDGER, tables.PAIRS, tables.DROPPED]
PARTS, ROWS = 40, 30
ROW_BYTES = 200  # of a row of the ledger, as `tables` reckons it


@pytest.fixture
def workers() -> Iterator[Workers]:
    with engines.start("local", 1) as running:
        yield running


@pytest.fixture
def writer(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> OutputWriter:
    return writer_into(tmp_path, workers, monkeypatch)


def writer_into(folder: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> OutputWriter:
    """A writer of shards of about a hundred rows."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 100 * ROW_BYTES)
    files = PartitionFiles(folder / ".work", PARTS)
    files.folder.mkdir()
    context = BuildContext(recipe=load_recipe("sample"), files=files, figures=FiguresByKey())
    return OutputWriter(context, folder, WRITTEN, Runner(workers))


def rows(ids: list[str], table: Table) -> pa.Table:
    names = arrow.no_rows(table.schema).to_pydict()
    return pa.table({**{name: [None] * len(ids) for name in names}, "id": ids}, table.schema)


def save(folder: Path, part: int, ids: list[str], table: Table = tables.LEDGER) -> None:
    """Writes the rows of a part, as the second pass does."""
    shard_rows.save(PartitionFiles(folder, PARTS), part, table, table.splits[0], rows(ids, table))


def waiting(folder: Path) -> int:
    """How many rows wait on the disk."""
    return sum(partitions.load(path).num_rows for path in folder.glob("*.arrow"))


def ids_of(folder: Path, paths: list[str]) -> list[str]:
    return [id for path in paths for id in pq.read_table(folder / path)["id"].to_pylist()]


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_parts_are_written_in_order_and_let_go(
    tmp_path: Path, writer: OutputWriter, seed: int
) -> None:
    draw = random.Random(seed)
    sizes = [draw.choice([0, 1, 7, ROWS, 5 * ROWS]) for _ in range(PARTS)]
    expected, most = list[str](), 0
    with writer.all_or_nothing():
        for part, size in enumerate(sizes):
            ids = [f"{part}-{number}" for number in range(size)]
            save(tmp_path / ".work", part, ids)
            writer.add(part)
            expected += ids
            most = max(most, waiting(tmp_path / ".work"))
        entries = writer.finish()
    assert ids_of(tmp_path, [entry.path for entry in entries]) == expected
    assert [entry.rows for entry in entries] == [
        pq.read_metadata(tmp_path / entry.path).num_rows for entry in entries
    ]
    assert len(entries) > 3
    assert not waiting(tmp_path / ".work")
    a_shard = 2 * 100 + 5 * ROWS  # and the part in which it ends
    assert most <= (output._WAITING + 2) * a_shard


def test_rows_of_this_process_stand_where_they_were_added(
    tmp_path: Path, writer: OutputWriter
) -> None:
    problems = partitions.Appended(tmp_path / ".work" / "problems.arrow", tables.DROPPED.schema)
    for id in ("x", "y", "z"):
        problems.add(rows([id], tables.DROPPED))
    problems.close()
    with writer.all_or_nothing():
        writer.add_rows(tables.LEDGER, "ledger", rows(["a"], tables.LEDGER))
        writer.add_file(tables.DROPPED, tmp_path / ".work" / "problems.arrow")
        for table in (tables.LEDGER, tables.DROPPED, tables.PAIRS):
            save(tmp_path / ".work", 0, ["b"], table)
        writer.add(0)
        writer.add_rows(tables.LEDGER, "ledger", rows(["c"], tables.LEDGER))
        entries = [entry.path for entry in writer.finish()]
    assert [path.split("/")[0] for path in entries] == ["ledger", "pairs"]
    assert ids_of(tmp_path, entries) == ["a", "b", "c", "b"]
    assert ids_of(tmp_path, ["dropped/dropped-00000-of-00001.parquet"]) == ["x", "y", "z", "b"]
    left = [path.name for path in (tmp_path / ".work").iterdir()]
    assert left == ["problems.arrow"]  # which a second attempt reads


@pytest.mark.parametrize("number", [1, 7])
def test_what_is_added_waits_where_shards_wait_to_be_written(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(type(workers), "number", number)
    writer, most = writer_into(tmp_path, workers, monkeypatch), max(output._WAITING, number)
    may_go_on, added, write = threading.Event(), list[int](), shards.write

    def later(*given: Any) -> None:
        may_go_on.wait()
        write(*given)

    def add_all() -> None:
        for part in range(PARTS):
            save(tmp_path / ".work", part, [f"{part}-{number}" for number in range(200)])
            writer.add(part)
            added.append(part)

    monkeypatch.setattr(shards, "write", later)
    adding = threading.Thread(target=add_all)
    adding.start()
    patience = time.monotonic() + 20
    while len(writer._sent) < most and time.monotonic() < patience:
        time.sleep(0.01)
    adding.join(timeout=0.3)
    at_first, waits = len(added), len(writer._sent)
    may_go_on.set()
    adding.join()
    assert at_first < PARTS / 2
    assert waits == most
    assert len(added) == PARTS
    assert sum(entry.rows for entry in writer.finish()) == 200 * PARTS


def test_where_a_shard_fails_nothing_is_left(
    tmp_path: Path, writer: OutputWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = shards.write

    def refuse(path: Path, *given: Any) -> None:
        if "pairs" in path.name:
            raise OSError(28, "No space left on device")
        time.sleep(0.05)  # another is at work when this is raised
        write(path, *given)

    def add_all() -> None:
        with writer.all_or_nothing():
            for part in range(PARTS):
                for table in (tables.LEDGER, tables.PAIRS):
                    save(tmp_path / ".work", part, [f"{part}-{n}" for n in range(ROWS)], table)
                writer.add(part)
            writer.finish()

    monkeypatch.setattr(shards, "write", refuse)
    with pytest.raises(OSError, match="No space left"):
        add_all()
    assert not [path for path in tmp_path.rglob("*.parquet") if ".work" not in path.parts]
    assert all(future.done() for _, future in writer._sent)


def test_where_the_last_names_fail_nothing_is_left(
    tmp_path: Path, writer: OutputWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if "pairs" in path.name:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    def add_all() -> None:
        with writer.all_or_nothing():
            for table in (tables.LEDGER, tables.PAIRS):
                save(tmp_path / ".work", 0, ["a"], table)
            writer.add(0)
            writer.finish()

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="No space left"):
        add_all()
    assert not [path for path in tmp_path.rglob("*.parquet") if ".work" not in path.parts]
