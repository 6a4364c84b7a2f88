"""Records in a file, read by a source."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chatdata import sources
from chatdata.sources import File, Problem


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
