"""Reading files: every whole record, and a named reason for every stretch that is none."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.core.errors import SourceError
from chatdata.sources import _array, records
from chatdata.sources.records import Record, Unreadable

ROWS = [{"id": str(i), "conversations": [{"from": "human", "value": "a }, { b"}]} for i in range(9)]


def is_row(value: object) -> bool:
    return isinstance(value, dict) and "conversations" in value


def read(path: Path) -> tuple[list[Any], list[Unreadable]]:
    items = list(records.read(path, path.name, is_row))
    values = [item.value for item in items if isinstance(item, Record)]
    return values, [item for item in items if isinstance(item, Unreadable)]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.json", "\ufeff" + json.dumps(ROWS)),
        ("a.json", "\n".join(json.dumps(row) for row in ROWS)),
        ("a.json", "\n\n".join(json.dumps(row, indent=1) for row in ROWS)),
        ("a.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        ("a.jsonl", "\n \n".join(json.dumps(row) for row in ROWS) + "\n\n"),
        ("a.ndjson", "\r\n".join(json.dumps(row) for row in ROWS)),
        ("a.jsonl.gz", gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode())),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode())),
    ],
)
def test_every_form_gives_the_same_records(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert read(write(tmp_path / name, text)) == (ROWS, [])


def test_parquet_gives_the_same_records(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    assert read(path) == (ROWS, [])


@pytest.mark.parametrize("chunk", [1, 7, 64, 4096])
def test_the_size_of_a_chunk_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    rows = [*ROWS, {"id": "é 日本", "conversations": [], "n": 1.5e3}]
    path = write(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False))
    whole = list(records.read(path, "a", is_row))
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    assert list(records.read(path, "a", is_row)) == whole
    assert [item.value for item in whole if isinstance(item, Record)] == rows


@pytest.mark.parametrize("chunk", [16, 1 << 22])
def test_an_array_that_is_cut_anywhere_gives_its_whole_elements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    text = json.dumps(ROWS)
    ends = [len(json.dumps(ROWS[: number + 1])) - 1 for number in range(len(ROWS))]
    for cut in range(2, len(text), 5):
        values, problems = read(write(tmp_path / "a.json", text[:cut]))
        assert values == ROWS[: sum(end <= cut for end in ends)]
        assert [problem.reason for problem in problems] == ["bad_json"]


@pytest.mark.parametrize("chunk", [16, 1 << 22])
def test_a_broken_element_costs_that_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    elements = [json.dumps(row) for row in ROWS]
    elements[3] = elements[3].replace('"from":', '"from" ')
    elements[6] = elements[6].replace("}]", "]")
    values, problems = read(write(tmp_path / "a.json", "[" + ", ".join(elements) + "]"))
    assert values == [row for number, row in enumerate(ROWS) if number not in (3, 6)]
    assert [problem.where for problem in problems] == [
        f"a.json@{1 + sum(len(element) + 2 for element in elements[:number])}" for number in (3, 6)
    ]


def test_a_bad_line_costs_that_line(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[2], lines[5] = '{"id": "cut', "\x00"
    values, problems = read(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert values == [row for number, row in enumerate(ROWS) if number not in (2, 5)]
    assert [problem.where for problem in problems] == ["a.jsonl:3", "a.jsonl:6"]


def test_lone_surrogates_and_large_numbers_are_read(tmp_path: Path) -> None:
    text = '{"a": "\\ud83d", "b": 123456789012345678901234567890}'
    assert read(write(tmp_path / "a.jsonl", text))[0] == [
        {"a": "\ud83d", "b": 123456789012345678901234567890}
    ]


def test_deep_nesting_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        values, problems = read(write(tmp_path / name, "[" * 100_000))
        assert (values, [problem.reason for problem in problems]) == ([], ["bad_json"])


def test_a_gzip_file_that_breaks_off_gives_what_it_holds(tmp_path: Path) -> None:
    draw = random.Random(0)
    noise = ["".join(draw.choices("abcdefgh", k=2000)) for _ in range(50)]
    packed = gzip.compress("\n".join(json.dumps({"conversations": [t]}) for t in noise).encode())
    values, problems = read(write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert 10 < len(values) < 50
    assert [problem.reason for problem in problems][-1] == "damaged"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        ("a.json", b"\x00\x01\x02\x03", "is not a text file"),
        ("a.parquet", b"not parquet at all", "is not a readable Parquet file"),
        ("a.jsonl.gz", b"not gzip at all", "holds no data"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        read(write(tmp_path / name, content))
