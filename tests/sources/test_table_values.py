"""Rows of Parquet files: nulls that Arrow added go, JSON columns are what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import sources
from chatdata.sources import File

# Calls with different arguments, a null that was written in a string, and null content.
CALLS: list[Any] = [
    {"name": "f", "arguments": {"a": 1, "deep": {"x": [1]}}},
    {"name": "g", "arguments": {"b": {"c": "d"}}},
    {"name": "h", "arguments": '{"limit": null}'},
    {"name": "f", "arguments": {}},
]


def messages(calls: list[Any]) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"function": call} for call in calls]},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    ]


def tools() -> list[dict[str, Any]]:
    schemas = [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"enum": ["x"]}}}]
    return [{"name": name, "parameters": p} for name, p in zip("fg", schemas, strict=True)]


def read_table(path: Path) -> pl.DataFrame:
    batches = list(sources.get("jsonl").read([File(path, path.name)], "jsonl", "jsonl"))
    assert not [problem for batch in batches for problem in batch.problems]
    return pl.concat([batch.rows for batch in batches])


def called(rows: pl.DataFrame) -> list[Any]:
    functions = [json.loads(calls) for calls in rows["tool_calls"].drop_nulls()]
    return [call["function"] for calls in functions for call in calls]


@pytest.mark.parametrize("number", [2, 4])
def test_a_call_has_its_arguments_and_no_others(number: int, tmp_path: Path) -> None:
    """pyarrow gives each struct of a column the keys of all of them."""
    calls = [call for call in CALLS[:number] if isinstance(call["arguments"], dict)]
    record = {"id": "x", "messages": messages(calls), "tools": tools()}
    pq.write_table(pa.Table.from_pylist([record, {**record, "id": "y"}]), tmp_path / "a.parquet")
    rows = read_table(tmp_path / "a.parquet")
    assert called(rows) == calls * 2
    offered = [tool["function"] for tool in json.loads(rows["tools"][0])]
    assert offered == tools()
    assert rows["content"].to_list() == ["q", None, "r"] * 2


def test_a_null_that_was_written_in_a_string_stays(tmp_path: Path) -> None:
    record = {"id": "x", "messages": messages(CALLS[2:3])}
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "a.parquet")
    assert called(read_table(tmp_path / "a.parquet")) == [
        {"name": "h", "arguments": {"limit": None}}
    ]


def test_json_columns_are_what_they_hold(tmp_path: Path) -> None:
    """As `datasets` 5 writes them where content is a text here and parts there."""
    spoken = [
        *messages(CALLS[:3]),
        {"role": "assistant", "content": [{"type": "text", "text": "l\nm"}]},
    ]
    spoken[0]["content"] = "first line\n"
    texts = pa.array([[json.dumps(message) for message in spoken]], pa.list_(pa.string()))
    kind = pa.json_(pa.string())
    values = pa.ExtensionArray.from_storage(kind, texts.values)
    lists = pa.ListArray.from_arrays(texts.offsets, values)
    pq.write_table(pa.table({"id": ["x"], "messages": lists}), tmp_path / "a.parquet")
    rows = read_table(tmp_path / "a.parquet")
    assert rows["content"].to_list() == ["first line\n", None, "r", "l\nm"]
    assert called(rows)[2] == {"name": "h", "arguments": {"limit": None}}


def test_messages_may_be_json_in_strings(tmp_path: Path) -> None:
    """As other libraries keep the JSON columns of `datasets`: without a type that says so."""
    whole = json.dumps(messages(CALLS[:2]))
    each = [json.dumps(message) for message in messages(CALLS[:2])]
    for number, written in enumerate((whole, each)):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": ["x"], "messages": [written]}), path)
        rows = read_table(path)
        assert called(rows) == CALLS[:2]
        assert rows["role"].to_list() == ["user", "assistant", "tool"]


def test_published_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Calls and tools of Arrow's JSON type, with keys in their order, nulls and large numbers."""
    calls = (
        '[{"id": "c", "type": "function", "function": {"name": "f", "arguments": '
        '{"b": null, "a": {"n": 123456789012345678901234567890, "é": 1.5}}}}]'
    )
    tools = '[{"type": "function", "function": {"name": "f", "parameters": {"default": null}}}]'
    kind = pa.json_(pa.string())
    fields = {
        "role": (["user", "assistant", "tool"], pa.string()),
        "content": (["q", None, "r"], pa.string()),
        "reasoning_content": ([None, "Hm.\n", None], pa.string()),
        "tool_calls": ([None, calls, None], kind),
        "tool_call_id": ([None, None, "c"], pa.string()),
        "name": ([None, None, "f"], pa.string()),
        "train": ([False, True, False], pa.bool_()),
    }
    arrays = [
        pa.ExtensionArray.from_storage(kind, pa.array(values, pa.string()))
        if type == kind
        else pa.array(values, type)
        for values, type in fields.values()
    ]
    structs = pa.StructArray.from_arrays(arrays, list(fields))
    columns = {
        "id": ["t/x"],
        "group": ["t"],
        "source": ["talks"],
        "lang": ["en"],
        "messages": pa.ListArray.from_arrays([0, 3], structs),
        "tools": pa.ExtensionArray.from_storage(kind, pa.array([tools])),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = read_table(tmp_path / "a.parquet").rename({"reasoning": "reasoning_content"})
    assert rows.select(list(fields)).to_dict(as_series=False) == {
        name: values for name, (values, _) in fields.items()
    }
    assert set(rows["tools"]) == {tools}
    assert rows.select("conversation", "group", "source").unique().row(0) == ("t/x", "t", "talks")
