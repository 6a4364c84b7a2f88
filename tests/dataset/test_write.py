"""Shards whose edges depend on the rows alone, and manifests that cannot be read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, schemas
from chatdata.dataset import shards as written
from tests.support import shard_files

ROWS = pa.table({name: [f"{name}{i}" for i in range(500)] for name in schemas.LEDGER.names})


def shards(folder: Path, cuts: list[int], size: int = 10) -> dict[str, bytes]:
    pieces = [
        (ROWS.slice(start, end - start), np.full(end - start, size, np.int64))
        for start, end in zip([0, *cuts], [*cuts, ROWS.num_rows], strict=True)
    ]
    paths = shard_files.write(folder / "ledger", "x", schemas.LEDGER, pieces)
    return {path.name: path.read_bytes() for path in paths}


def test_bytes_do_not_depend_on_how_the_rows_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "SHARD_BYTES", 1000)
    whole = shards(tmp_path / "whole", [])
    assert list(whole) == [f"x-{i:05d}-of-00003.parquet" for i in range(3)]
    draw = random.Random(0)
    for attempt in range(20):
        cuts = sorted(draw.choices(range(ROWS.num_rows), k=draw.randint(1, 40)))
        assert shards(tmp_path / str(attempt), cuts) == whole


def test_all_rows_are_there_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "SHARD_BYTES", 700)
    names = shards(tmp_path / "a", [13, 400], size=33)
    tables = [pq.read_table(tmp_path / "a" / "ledger" / name) for name in names]
    assert pa.concat_tables(tables).equals(ROWS.cast(schemas.LEDGER))
    assert len(list((tmp_path / "a" / "ledger").iterdir())) == len(names)


def test_a_row_larger_than_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "SHARD_BYTES", 10)
    planned = shard_files.plan([(ROWS.slice(0, 3), np.asarray([1000, 1, 1]))])
    assert [sum(shard.groups) for shard in planned] == [1, 2]


def test_no_rows_no_shard() -> None:
    assert shard_files.plan([(ROWS.slice(0, 0), np.empty(0, np.int64))]) == []


# ------------------------------------------------------------------------------ the manifest


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
            (tmp_path / name / manifest.FILE).write_text(json.dumps(keys))
        with pytest.raises(OutputError, match=words):
            manifest.read(tmp_path / name)
