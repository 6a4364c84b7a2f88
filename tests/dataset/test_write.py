"""Shards whose edges depend on the rows alone, and a folder that is whole or not there."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.core import files
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, schemas
from chatdata.dataset import shards as write

ROWS = pa.table({name: [f"{name}{i}" for i in range(500)] for name in schemas.LEDGER.names})


def shards(folder: Path, cuts: list[int], size: int = 10) -> dict[str, bytes]:
    folder.mkdir()
    own = write.Shards(folder / "ledger", "x", schemas.LEDGER)
    for start, end in zip([0, *cuts], [*cuts, ROWS.num_rows], strict=True):
        table = ROWS.slice(start, end - start)
        own.add(table, np.full(table.num_rows, size, np.int64))
    return {path.name: path.read_bytes() for path, _ in own.finish()}


def test_bytes_do_not_depend_on_how_the_rows_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SHARD_BYTES", 1000)
    monkeypatch.setattr(write, "ROW_GROUP", 30)
    whole = shards(tmp_path / "whole", [])
    assert list(whole) == [f"x-{i:05d}-of-00005.parquet" for i in range(5)]
    draw = random.Random(0)
    for attempt in range(20):
        cuts = sorted(draw.choices(range(ROWS.num_rows), k=draw.randint(1, 40)))
        assert shards(tmp_path / str(attempt), cuts) == whole


def test_all_rows_are_there_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHARD_BYTES", 700)
    names = shards(tmp_path / "a", [13, 400], size=33)
    tables = [pq.read_table(tmp_path / "a" / "ledger" / name) for name in names]
    assert pa.concat_tables(tables).equals(ROWS.cast(schemas.LEDGER))
    assert len(list((tmp_path / "a" / "ledger").iterdir())) == len(names)


def test_a_row_larger_than_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHARD_BYTES", 10)
    own = write.Shards(tmp_path / "a", "x", schemas.LEDGER)
    own.add(ROWS.slice(0, 3), np.asarray([1000, 1, 1]))
    assert [rows for _, rows in own.finish()] == [1, 2]


def test_no_rows_no_files(tmp_path: Path) -> None:
    own = write.Shards(tmp_path / "a", "x", schemas.LEDGER)
    own.add(ROWS.slice(0, 0), np.empty(0, np.int64))
    assert own.finish() == []
    assert not (tmp_path / "a").exists()


# -------------------------------------------------------------------------------- the folder


def finish(folder: Path, text: str = "{}") -> None:
    (folder / manifest.FILE).write_text(text)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_ends_well_becomes_the_folder(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a" / "out", manifest.FILE) as work:
        finish(work)
        assert not (tmp_path / "a" / "out").exists()
    assert left(tmp_path / "a") == ["out"]
    assert left(tmp_path / "a" / "out") == [manifest.FILE]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        files.new_folder(tmp_path / "out", manifest.FILE) as work,
    ):
        (work / "file").write_text(str(1 / 0))
    assert left(tmp_path) == []


def test_a_finished_build_is_replaced_and_survives_a_failure(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with files.new_folder(tmp_path / "out", manifest.FILE) as work:
            finish(work, text)
    assert (tmp_path / "out" / manifest.FILE).read_text() == "2"
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "out", manifest.FILE):
        _ = 1 / 0
    assert (tmp_path / "out" / manifest.FILE).read_text() == "2"
    assert left(tmp_path) == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with files.new_folder(tmp_path / "out", manifest.FILE) as work:
        finish(work)
    assert left(tmp_path / "out") == [manifest.FILE]


def test_foreign_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "file").write_text("")
    for name, words in (("mine", "did not build"), ("file", "is a file")):
        with (
            pytest.raises(OutputError, match=words),
            files.new_folder(tmp_path / name, manifest.FILE),
        ):
            pass
    assert left(tmp_path) == ["file", "mine"]
    with (
        pytest.raises(OutputError, match="cannot write"),
        files.new_folder(tmp_path / "file" / "x", manifest.FILE),
    ):
        pass


def _die(out: Path) -> None:
    with files.new_folder(out, manifest.FILE) as work:
        (work / "half").write_text("")
        os.kill(os.getpid(), 9)


def test_what_a_killed_build_left_is_swept_and_a_running_one_is_not(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path / "out",))
    process.start()
    process.join()
    assert len(left(tmp_path)) == 1
    with files.new_folder(tmp_path / "out", manifest.FILE) as first:
        assert left(tmp_path) == [first.name]
        with files.new_folder(tmp_path / "out", manifest.FILE) as second:
            assert sorted([first.name, second.name]) == left(tmp_path)
            finish(second)
        finish(first)
    assert left(tmp_path) == ["out"]


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {
        "nothing": "is not there",
        "empty": "is not a finished build",
        "text": "cannot be read",
        "list": "has no 'name'",
        "future": "has format 99",
    }
    texts = {"text": "{", "list": "[]", "future": '{"format": 99}'}
    for name, words in cases.items():
        if name != "nothing":
            (tmp_path / name).mkdir()
        if name in texts:
            (tmp_path / name / manifest.FILE).write_text(texts[name])
        if name == "future":
            keys = dict.fromkeys(manifest._KEYS, 0) | {"format": 99}
            finish(tmp_path / name, json.dumps(keys))
        with pytest.raises(OutputError, match=words):
            manifest.read(tmp_path / name)
