"""Values of Parquet files that are no text or no date cost their row, where anybody reads them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from chatdata import sources
from chatdata.cli import main
from chatdata.sources import records
from chatdata.sources.records import Record, Unreadable


def texts(*values: bytes) -> pa.Array:
    """Strings that are these bytes, whether UTF-8 or not."""
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(values), binary.buffers())


def messages(contents: pa.Array) -> pa.Array:
    roles = pa.array(["user"] * len(contents))
    turns = pa.StructArray.from_arrays([roles, contents], ["role", "content"])
    return pa.ListArray.from_arrays(list(range(len(contents) + 1)), turns)


def read(path: Path, **columns: pa.Array) -> list[Record | Unreadable]:
    pq.write_table(pa.table(columns), path)
    return list(records.read(path, "a", lambda value: isinstance(value, dict)))


@pytest.mark.parametrize(
    "column", [texts(b"a", b"\xff"), pa.array([1, 2**62], pa.timestamp("us"))], ids=["text", "date"]
)
def test_a_bad_value_in_a_column_that_nobody_reads_costs_nothing(
    tmp_path: Path, column: pa.Array
) -> None:
    items = read(tmp_path / "a.parquet", messages=messages(texts(b"q", b"r")), seen=column)
    assert all(isinstance(item, Record) for item in items)
    contents = [item.value["messages"][0]["content"] for item in items]  # type: ignore[union-attr]
    assert contents == ["q", "r"]


@pytest.mark.parametrize("more", [{}, {"seen": texts(b"a", b"\xff")}], ids=["alone", "of two"])
def test_a_bad_value_in_a_column_that_is_read_costs_its_row(
    tmp_path: Path, more: dict[str, pa.Array]
) -> None:
    columns = {"messages": messages(texts(b"q", b"\xff")), **more}
    good, bad = read(tmp_path / "a.parquet", **columns)
    assert isinstance(good, Record)
    assert bad == Unreadable("a#1", "bad_value", "column 'messages' holds text that is not UTF-8")


def test_a_bad_value_in_a_column_that_a_recipe_names_costs_its_row(tmp_path: Path) -> None:
    """It was no variable, without a word."""
    columns = {"messages": messages(texts(b"q", b"r")), "effort": texts(b"low", b"\xff")}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    files = [sources.File(tmp_path / "a.parquet", "a")]
    batches = list(sources.get("jsonl").read(files, "n", "n", variables={"level": "effort"}))
    rows = pl.concat([batch.rows for batch in batches])
    assert rows["variables"].to_list() == ['{"level": "low"}']
    (problem,) = [problem for batch in batches for problem in batch.problems]
    assert (problem.id, problem.reason) == ("a#1", "bad_value")


def test_check_and_build_say_the_same_of_a_file_that_the_source_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"chosen": "a", "rejected": "b"}\n')
    recipe = tmp_path / "r.yaml"
    recipe.write_text('name: r\nversion: "1.0.0"\nsource: {sharegpt: {}}\n')
    out = ["--out", str(tmp_path / "out")]
    results = [
        CliRunner().invoke(main, [command, str(recipe), "--input", str(path), *more])
        for command, more in (("check", []), ("build", out))
    ]
    assert [result.exit_code for result in results] == [1, 1]
    assert results[0].output.splitlines()[-1] == results[1].output.splitlines()[-1]
    assert "can be used as 'sharegpt'" in results[0].output
