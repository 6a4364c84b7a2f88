"""What waits to be written is bounded, in order, and gone where anything fails."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import load_recipe
from chatdata.core import arrow
from chatdata.dataset import tables
from chatdata.pipeline import output
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.steps.figures import FiguresByKey

NUMBER = 3 * output._WAITING


def writer(folder: Path) -> OutputWriter:
    files = PartitionFiles(folder / ".work", 1)
    context = BuildContext(recipe=load_recipe("sample"), files=files, figures=FiguresByKey())
    return OutputWriter(context, folder, [tables.LEDGER])


def row(number: int) -> pa.Table:
    schema = tables.LEDGER.schema
    empty = arrow.no_rows(schema).to_pydict()
    return pa.table({**{name: [None] for name in empty}, "id": [f"{number:03d}"]}, schema)


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
