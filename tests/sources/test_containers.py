"""The same conversations in every container: packed, in archives, in tables, in UTF-16."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from chatdata import sources
from chatdata.cli import main
from chatdata.core.errors import SourceError
from chatdata.sources import File, Problem
from chatdata.sources.records import arrow_batches

PAIRS = [(f'What is {n}, in "words";\nplease?', f"It is {n}, é.") for n in range(40)]
RECORDS = [{"question": asked, "answer": told} for asked, told in PAIRS]
LINES = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)


def table(delimiter: str, pairs: Sequence[tuple[str, str]] = PAIRS) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("question", "answer"), *pairs])
    return text.getvalue()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def arrow(*, is_stream: bool) -> bytes:
    sink, rows = pa.BufferOutputStream(), pa.Table.from_pylist(RECORDS)
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def zipped(**files: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return sink.getvalue()


def tarred(**files: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"../{name.replace('_', '.')}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


TEXT = LINES.encode()
HALVES = ("\n".join(LINES.split("\n")[:25]).encode(), "\n".join(LINES.split("\n")[25:]).encode())
CONTAINERS: dict[str, bytes] = {
    "a.jsonl": TEXT,
    "a.jsonl.gz": gzip.compress(TEXT),
    "a.jsonl.zst": zstd(TEXT),
    "a.json.zst": zstd(json.dumps(RECORDS).encode()),
    "a.csv": table(",").encode(),
    "b.csv": table(";").encode(),
    "c.csv": table(",").encode("utf-8-sig"),
    "a.csv.gz": gzip.compress(table(",").encode()),
    "a.csv.zst": zstd(table(",").encode()),
    "a.tsv": table("\t").encode(),
    "a.arrow": arrow(is_stream=True),
    "b.arrow": arrow(is_stream=False),
    "utf16.jsonl": LINES.encode("utf-16"),
    "utf16be.json": b"\xfe\xff" + json.dumps(RECORDS).encode("utf-16-be"),
    "utf16.csv": table(",").encode("utf-16"),
    "a.zip": zipped(a_jsonl=HALVES[0], b_jsonl=HALVES[1], notes_txt=b"words"),
    "b.zip": zipped(a_csv=table(",").encode()),
    "c.zip": zipped(a_jsonl_zst=zstd(TEXT)),
    "a.tar": tarred(a_jsonl=HALVES[0], b_jsonl=HALVES[1]),
    "a.tar.gz": gzip.compress(tarred(a_jsonl=TEXT)),
    "a.tgz": gzip.compress(tarred(a_arrow=arrow(is_stream=True))),
    "a.tar.bz2": bz2.compress(tarred(a_jsonl=TEXT)),
    "a.tar.xz": lzma.compress(tarred(a_jsonl=TEXT)),
}


def read(
    path: Path, source: str = "auto"
) -> tuple[list[tuple[str, str]], list[Problem], dict[str, str]]:
    batches = list(sources.get(source).read([File(path, path.name)], source, source))
    rows = pl.concat([batch.rows for batch in batches]).sort("where", "position")
    words = rows.group_by("conversation", maintain_order=True).agg("content")["content"]
    problems = [problem for batch in batches for problem in batch.problems]
    shapes = {label: name for batch in batches for label, name in batch.shapes.items()}
    return [tuple(pair) for pair in words.to_list()], problems, shapes


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_holds_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTAINERS[name])
    pairs, problems, shapes = read(tmp_path / name)
    assert (sorted(pairs), problems) == (sorted(map(tuple, PAIRS)), [])
    assert set(shapes.values()) == {"question and answer"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_members_of_an_archive_have_shapes_of_their_own(tmp_path: Path) -> None:
    lima = json.dumps({"conversations": ["a", "b"]}).encode()
    (tmp_path / "a.zip").write_bytes(
        zipped(a_jsonl=HALVES[0], b_jsonl=lima, user_json=b'{"id": 1}')
    )
    pairs, problems, shapes = read(tmp_path / "a.zip")
    assert len(pairs) == 26
    assert [(problem.id, problem.reason) for problem in problems] == [
        ("a.zip/user.json@0", "unknown_record")
    ]
    assert shapes == {
        "a.zip/a.jsonl": "question and answer",
        "a.zip/b.jsonl": "LIMA",
        "a.zip/user.json": "no known shape",
    }


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.csv.zst", "a.csv.gz"])
def test_what_stands_before_damage_is_read(tmp_path: Path, name: str) -> None:
    chance = random.Random(3)
    noise = [(f"q{n}", f"{chance.getrandbits(8000):x}") for n in range(200)]
    rows = [{"question": asked, "answer": told} for asked, told in noise]
    lines = "\n".join(map(json.dumps, rows)) if "json" in name else table(",", noise)
    pack = zstd if name.endswith(".zst") else gzip.compress
    (tmp_path / name).write_bytes(pack(lines.encode())[:-9])
    pairs, problems, _ = read(tmp_path / name)
    assert 10 < len(pairs) < len(noise) or name.endswith(".gz")
    assert set(pairs) == set(noise[: len(pairs)])
    assert problems[-1].reason == "damaged"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.arrow"])
def test_a_damaged_container_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTAINERS[name][:300])
    with pytest.raises(SourceError, match="is not a readable"):
        read(tmp_path / name)


def test_an_archive_without_conversations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(notes_txt=b"words"))
    with pytest.raises(SourceError, match=r"a\.zip' holds no \.json"):
        read(tmp_path / "a.zip")


def test_a_row_that_is_not_as_wide_costs_that_row(tmp_path: Path) -> None:
    rows = b'question,answer\r\na,b\r\nc\r\n\xff,d\r\ne,"f"g\r\nh,i\r\n'
    (tmp_path / "a.csv").write_bytes(rows)
    pairs, problems, _ = read(tmp_path / "a.csv")
    assert pairs == [("a", "b"), ("h", "i")]
    assert [(problem.reason, problem.id) for problem in problems] == [
        ("bad_value", "a.csv#1"),
        ("bad_value", "a.csv#2"),
        ("bad_value", "a.csv#3"),
    ]
    assert problems[0].detail == "a row of 1 cells, and the first row has 2"


@pytest.mark.parametrize("first", ["a,a", "a,", ""])
def test_columns_without_names_are_refused(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.csv").write_text(f"{first}\nb,c\n")
    with pytest.raises(SourceError, match="a name for each column"):
        read(tmp_path / "a.csv")


def test_a_source_by_name_reads_containers_too(tmp_path: Path) -> None:
    record = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    (tmp_path / "a.zip").write_bytes(zipped(a_json=json.dumps([record]).encode()))
    assert read(tmp_path / "a.zip", "sharegpt")[0] == [("a", "b")]


def chatdata(*arguments: str, given: bytes = b"") -> str:
    """What the command prints, whose standard input holds bytes."""
    done = CliRunner().invoke(main, arguments, input=given)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json.zst", "a.zip"])
def test_standard_input_is_a_file(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    printed = chatdata(
        *("build", "chats", "--input", "-", "--set", "drop=[]", "--out", str(out)),
        given=CONTAINERS[name],
    )
    assert "question and answer" in printed
    (file,) = json.loads((out / "manifest.json").read_text())["sources"]
    assert file["path"].startswith("stdin.")
    assert file["shape"] == "question and answer"


@pytest.mark.slow
def test_a_folder_that_datasets_has_saved_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict({"train": split, "test": split.select([0])}).save_to_disk(tmp_path / "d")
    chatdata(
        *("build", "chats", "--input", str(tmp_path / "d"), "--set", "drop=[]"),
        *("--out", str(tmp_path / "out")),
    )
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert counts["records"] == {"read": 41, "kept": 41, "dropped": {}}


@pytest.mark.parametrize("form", [pa.ipc.new_stream, pa.ipc.new_file])
def test_an_arrow_file_that_is_cut_while_it_is_read_is_named(form: Any, tmp_path: Path) -> None:
    """The system ends a process that looks at the pages of a map behind the end of its file."""
    path = tmp_path / "in.arrow"
    table = pa.table({"text": ["x" * 100] * 3000})
    with form(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    batches = arrow_batches(path)
    assert next(batches).num_rows == 1000
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SourceError, match="is not a readable Arrow file"):
        list(batches)
