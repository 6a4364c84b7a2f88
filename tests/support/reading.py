"""Records in a file, read by a source."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata import sources
from chatdata.sources import File, Problem
from chatdata.sources.unread import KeysByUnit, UnreadKeys


def read(
    source: str, *contents: Sequence[Any], suffix: str = ".jsonl"
) -> tuple[pl.DataFrame, list[Problem]]:
    module = sources.get(source)
    with tempfile.TemporaryDirectory() as folder:
        files = [
            _write(Path(folder) / f"{number}{suffix}", values)
            for number, values in enumerate(contents)
        ]
        batches = list(module.read(files, source, module.IDS))
    problems = [problem for batch in batches for problem in batch.problems]
    return pl.concat([batch.rows for batch in batches]), problems


def _write(path: Path, values: Sequence[Any]) -> File:
    lines = "\n".join(json.dumps(value) for value in values)
    path.write_text(json.dumps(values) if path.suffix == ".json" else lines)
    return File(path, path.name)


def turns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"from": role, "value": value} for role, value in pairs]


def say(source: str, *messages: Any, **record: Any) -> pl.DataFrame:
    """The rows of one conversation of these messages."""
    rows, problems = read(source, [{"id": "x", "messages": list(messages), **record}])
    assert problems == []
    return rows


def unread(source: str, *records: Any, suffix: str = ".jsonl") -> KeysByUnit:
    """What a source says of the keys in a file with these records."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(list(records)), path)
        else:
            path.write_text("\n".join(json.dumps(record) for record in records))
        return unread_in(source, path)


def unread_in(source: str, path: Path) -> KeysByUnit:
    """What a source says of the keys in a file."""
    keys = UnreadKeys()
    for batch in sources.get(source).read([File(path, path.name)], source, source):
        keys.add(batch.unread)
    return keys.counts()
