"""Arrays, lists in objects and values over several lines are read, whatever the file is called."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chatdata import sources
from chatdata.sources import File, _array, records
from chatdata.sources.records import Record

ROWS = [
    {"id": str(n), "messages": [{"role": "user", "content": f"[{n}] }}\n, {{"}]} for n in range(9)
]
LINES = [json.dumps(row) for row in ROWS]
LISTS = [row["messages"] for row in ROWS]
FORMS: dict[str, str] = {
    "lines": "\n".join(LINES),
    "an array on a line": json.dumps(ROWS),
    "an array over lines": json.dumps(ROWS, indent=2),
    "an array with a record a line": "[\n" + ",\n".join(LINES) + "\n]\n",
    "an array that begins with a record": "[" + ",\n".join(LINES) + "\n]",
    "two arrays": json.dumps(ROWS[:4]) + "\n" + json.dumps(ROWS[4:]),
    "two arrays without a space": json.dumps(ROWS[:4]) + json.dumps(ROWS[4:], indent=1),
    "an empty array, and a full array": "[]\n" + json.dumps(ROWS),
    "records over several lines": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "a list in an object": json.dumps({"data": ROWS}),
    "a list in an object over lines": json.dumps({"data": ROWS}, indent=1),
    "a list in an object, a record a line": '{"data": [\n' + ",\n".join(LINES) + "\n]}",
    "a list beside numbers": json.dumps({"version": '1, "0"', "n": 9, "rows": ROWS, "ok": True}),
    "two lists in an object": json.dumps({"train": ROWS[:4], "n": 1, "test": ROWS[4:]}),
    "two objects with a list": "\n".join(
        json.dumps({"data": rows}) for rows in (ROWS[:4], ROWS[4:])
    ),
}


def read(path: Path, text: str, source: str = "jsonl") -> tuple[list[str], list[Any]]:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    batches = list(sources.get(source).read([File(path, path.name)], source, source))
    contents = [content for batch in batches for content in batch.rows["content"]]
    return contents, [problem for batch in batches for problem in batch.problems]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "a.jsonl.gz"])
@pytest.mark.parametrize("chunk", [16, 1 << 22])
def test_every_form_by_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, name: str, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    contents = [row["messages"][0]["content"] for row in ROWS]
    assert read(tmp_path / name, FORMS[form]) == (contents, [])


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_lists_of_messages_are_records_themselves(
    tmp_path: Path, name: str, indent: int | None
) -> None:
    contents = [row["messages"][0]["content"] for row in ROWS]
    after = "\n".join(json.dumps(messages, indent=indent) for messages in LISTS)
    assert read(tmp_path / name, after) == (contents, [])
    assert read(tmp_path / name, json.dumps(LISTS, indent=indent)) == (contents, [])
    a_line_each = "[\n" + ",\n".join(map(json.dumps, LISTS)) + "\n]"
    assert read(tmp_path / name, a_line_each) == (contents, [])


def test_a_record_whose_list_looks_like_records_is_a_record(tmp_path: Path) -> None:
    pairs = [{"instruction": "before", "output": "b"}]
    record = {"earlier": pairs, "instruction": "now", "output": "a"}
    assert read(tmp_path / "a.jsonl", json.dumps(record, indent=1)) == (["now", "a"], [])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_gives_whole_records_in_any_form(tmp_path: Path, form: str) -> None:
    text = FORMS[form]
    for cut in range(len(text) // 2, len(text) - 60, 7):
        path = tmp_path / "a.jsonl"
        path.write_text(text[:cut])
        items = list(records.read(path, "a", lambda v: isinstance(v, dict) and "messages" in v))
        values = [item.value for item in items if isinstance(item, Record)]
        assert values == ROWS[: len(values)]
        whole = sum(f'"{row["id"]}"' in text[:cut] for row in ROWS)
        assert whole - 1 <= len(values) <= whole


def test_lines_of_which_the_first_is_broken_are_lines(tmp_path: Path) -> None:
    contents, problems = read(tmp_path / "a.jsonl", "\n".join([LINES[0][:-9], *LINES[1:]]))
    assert len(contents) == 8
    assert [problem.id for problem in problems] == ["a.jsonl:1"]


def test_what_stands_beside_a_list_in_a_record_is_not_passed_over(tmp_path: Path) -> None:
    """Three lines, each a text with a list of pairs below it, are no three lists of pairs."""
    lines = [{"about": f"Text {n}", "pairs": [{"input": "a", "output": "b"}]} for n in range(3)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = list(records.read(path, "x.jsonl", lambda v: isinstance(v, dict) and "output" in v))
    assert [item.value for item in values if isinstance(item, Record)] == lines
