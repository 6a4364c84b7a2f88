"""What waits to be written is bounded, in order, and gone where anything fails."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import load_recipe
from chatdata.core import arrow
from chatdata.dataset import tables
from chatdata.dataset.shards import Shards
from chatdata.dataset.tables import Table
from chatdata.pipeline import output
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.steps.figures import FiguresByKey

NUMBER = 3 * output._WAITING


def writer(folder: Path, threads: int = 1) -> OutputWriter:
    files = PartitionFiles(folder / ".work", 1)
    context = BuildContext(recipe=load_recipe("sample"), files=files, figures=FiguresByKey())
    return OutputWriter(context, folder, [tables.LEDGER, tables.PAIRS], threads)


def row(number: int, table: Table = tables.LEDGER) -> pa.Table:
    empty = arrow.no_rows(table.schema).to_pydict()
    return pa.table({**{name: [None] for name in empty}, "id": [f"{number:03d}"]}, table.schema)


def test_what_is_added_waits_where_much_waits_already(tmp_path: Path) -> None:
    shards, may_go_on, added = writer(tmp_path), threading.Event(), list[int]()

    def add_all() -> None:
        for number in range(NUMBER):
            shards.add_rows(tables.LEDGER, "ledger", lambda n=number: may_go_on.wait() and row(n))
            added.append(number)

    adding = threading.Thread(target=add_all)
    adding.start()
    patience = time.monotonic() + 20
    while len(added) < output._WAITING and time.monotonic() < patience:
        time.sleep(0.01)
    adding.join(timeout=0.3)
    at_first = len(added)
    may_go_on.set()
    adding.join()
    assert at_first == output._WAITING
    assert len(added) == NUMBER
    (entry,) = shards.finish()
    ids = pq.read_table(tmp_path / entry.path)["id"].to_pylist()
    assert ids == [f"{number:03d}" for number in range(NUMBER)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_tables_are_written_in_order_beside_each_other(tmp_path: Path, threads: int) -> None:
    used = set[int]()

    def load(number: int, table: Table) -> pa.Table:
        used.add(threading.get_ident())
        return row(number, table)

    with writer(tmp_path, threads).all_or_nothing() as shards:
        for number in range(NUMBER):
            for table, split in ((tables.LEDGER, "ledger"), (tables.PAIRS, "train")):
                shards.add_rows(table, split, functools.partial(load, number, table))
        entries = shards.finish()
    assert [entry.path.split("/")[0] for entry in entries] == ["ledger", "pairs"]
    for entry in entries:
        ids = pq.read_table(tmp_path / entry.path)["id"].to_pylist()
        assert ids == [f"{number:03d}" for number in range(NUMBER)]
    assert len(used) == min(threads, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_where_the_end_of_a_table_fails_no_other_table_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """It raised that a file is not there, since the tables before had their names already."""
    end = Shards.finish

    def finish(self: Shards) -> Any:
        if self.folder.name == tables.PAIRS.name:
            raise OSError(28, "No space left on device")
        return end(self)

    monkeypatch.setattr(Shards, "finish", finish)
    with (  # noqa: PT012
        pytest.raises(OSError, match="No space left"),
        writer(tmp_path, threads).all_or_nothing() as shards,
    ):
        for table, split in ((tables.LEDGER, "ledger"), (tables.PAIRS, "train")):
            shards.add_rows(table, split, functools.partial(row, 1, table))
        shards.finish()
    assert not [*tmp_path.rglob("*.parquet"), *tmp_path.rglob("*.partial")]


def test_a_failure_is_raised_soon_and_leaves_nothing(tmp_path: Path) -> None:
    loaded = []

    def load(number: int) -> pa.Table:
        loaded.append(number)
        if number == 2:
            raise ZeroDivisionError
        return row(number)

    def add_all() -> None:
        with writer(tmp_path).all_or_nothing() as shards:
            for number in range(NUMBER):
                shards.add_rows(tables.LEDGER, "ledger", lambda n=number: load(n))
            raise AssertionError("nothing was raised")

    with pytest.raises(ZeroDivisionError):
        add_all()
    assert not [*tmp_path.rglob("*.parquet"), *tmp_path.rglob("*.partial")]
