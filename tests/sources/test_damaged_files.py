"""Damaged files cost the damaged record alone, and the ledger has a row for each damage."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest

from chatdata.sources import _array, records
from chatdata.sources.records import Record, Unreadable
from tests.support import zstd_frames

DRAW = random.Random(14)
ROWS: list[dict[str, Any]] = [
    {
        "id": f"é{n}",
        "conversations": [{"from": "human", "value": f"日本 }}, {{ {DRAW.random()}"}] * 2,
    }
    for n in range(40)
]
TEXTS = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]
FORMS = {
    "a.jsonl": b"\n".join(TEXTS),
    "a.json": b"[" + b", ".join(TEXTS) + b"]",
    "b.json": b"[\n" + b",\n".join(TEXTS) + b"\n]\n",
}


def is_row(value: object) -> bool:
    return isinstance(value, dict) and "conversations" in value


def read(path: Path, content: bytes) -> tuple[list[Any], list[Unreadable]]:
    path.write_bytes(content)
    items = list(records.read(path, path.name, is_row))
    values = [item.value for item in items if isinstance(item, Record)]
    return values, [item for item in items if isinstance(item, Unreadable)]


def whole_before(content: bytes, end: int) -> int:
    """How many of TEXTS stand wholly in the first `end` bytes, by looking for each of them."""
    return sum(content.index(text) + len(text) <= end for text in TEXTS)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("chunk", [64, 1 << 22])
def test_a_gzip_file_that_is_cut_gives_all_whole_records_and_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    content = FORMS[name]
    packed = gzip.compress(content)
    for cut in (1, 8, 9, 20, 100, *random.Random(0).sample(range(len(packed) - 60), 20)):
        before = zlib.decompressobj(31).decompress(packed[:-cut])
        values, problems = read(tmp_path / f"{name}.gz", packed[:-cut])
        assert values == ROWS[: whole_before(content, len(before))]
        assert [problem.reason for problem in problems] == ["damaged"]
        assert problems[0].where.startswith(f"{name}.gz")


@pytest.mark.parametrize("name", FORMS)
def test_a_gzip_file_with_a_changed_byte_gives_what_stands_before(
    tmp_path: Path, name: str
) -> None:
    """`zlib` says what it can unpack, byte by byte."""
    packed = bytearray(gzip.compress(FORMS[name], mtime=0))
    packed[len(packed) // 2] ^= 0x55
    reader, before = zlib.decompressobj(31), b""
    try:
        for byte in packed:
            before += reader.decompress(bytes([byte]))
    except zlib.error:
        pass
    values, problems = read(tmp_path / f"{name}.gz", bytes(packed))
    assert all(text in before for text in (TEXTS[row] for row in range(5)))
    assert len(values) + len(problems) >= 5
    assert values[:5] == ROWS[:5]
    assert problems[-1].reason == "damaged"


@pytest.mark.parametrize("times", [1, 60])  # less than a read, and several
def test_a_zstd_file_gives_what_stands_before_the_damage_and_nothing_behind(
    tmp_path: Path, times: int
) -> None:
    """After an error PyArrow gives bytes that nobody packed, without end."""
    whole = zstd_frames.stream((FORMS["a.jsonl"] + b"\n") * times)
    wrong = bytearray(zstd_frames.sized(b"a" * 90))
    wrong[5] += 1  # how long the content is
    for behind in (b"junk", bytes(wrong), whole[:9]):
        values, problems = read(tmp_path / "a.jsonl.zst", whole + behind)
        assert values == ROWS * times
        assert [problem.reason for problem in problems] == ["damaged"]
        assert problems[0].where == f"a.jsonl.zst:{len(values) + 1}"


def test_gzip_files_in_a_row_and_zeros_behind_them_are_read(tmp_path: Path) -> None:
    zeros = b"\0" * 200_000  # more than is read at a time
    content = gzip.compress(FORMS["a.jsonl"] + b"\n") + zeros + gzip.compress(TEXTS[0])
    assert read(tmp_path / "a.jsonl.gz", content + zeros) == ([*ROWS, ROWS[0]], [])


def test_a_gzip_file_that_unpacks_to_much_more_is_read_whole(tmp_path: Path) -> None:
    long = {"conversations": [], "words": "long " * 700_000}
    lines = b"\n".join([*TEXTS, json.dumps(long).encode(), *TEXTS])
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(lines)) == ([*ROWS, long, *ROWS], [])


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("chunk", [64, 1 << 22])
def test_a_byte_that_is_not_utf8_costs_the_record_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    content = FORMS[name]
    for number in (0, 1, 20, 39):
        text = TEXTS[number]
        for at in random.Random(number).sample(range(len(text)), 25):
            place = content.index(text) + at
            values, problems = read(
                tmp_path / name, content[:place] + b"\xff" + content[place + 1 :]
            )
            assert values == ROWS[:number] + ROWS[number + 1 :]
            assert [problem.reason for problem in problems] == ["bad_json"]


@pytest.mark.parametrize("chunk", [64, 1 << 22])
def test_a_byte_that_is_not_utf8_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(_array, "_CHUNK", chunk)
    start = FORMS["a.json"].index(TEXTS[20])
    place = start + TEXTS[20].index("日".encode())
    content = FORMS["a.json"][:place] + b"\xff" + FORMS["a.json"][place + 1 :]
    detail = f"byte {place} is not UTF-8"
    problems = read(tmp_path / "a.json", content)[1]
    text = content[start : start + len(TEXTS[20])].decode(errors="replace")
    assert problems == [Unreadable(f"a.json@{start}", "bad_json", detail, text)]


@pytest.mark.parametrize("between", [b"\xff", b"\xff, ", b",\xff "])
def test_a_bad_byte_between_records_costs_no_record(tmp_path: Path, between: bytes) -> None:
    content = b"[" + b", ".join(TEXTS[:20]) + between + b", ".join(TEXTS[20:]) + b"]"
    values, problems = read(tmp_path / "a.json", content)
    assert (values, len(problems)) == (ROWS, 1)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_number_of_thousands_of_digits_costs_its_record(tmp_path: Path, name: str) -> None:
    large = b'{"conversations": [], "n": ' + b"9" * 5000 + b"}"
    parts = [*TEXTS[:3], large, *TEXTS[3:]]
    content = b"\n".join(parts) if name == "a.jsonl" else b"[" + b", ".join(parts) + b"]"
    values, problems = read(tmp_path / name, content)
    assert values == ROWS
    assert "too many digits" in problems[0].detail
    assert len(problems) == 1
