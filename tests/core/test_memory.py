"""Memory that is given back: what is held stays as it was, and the system is asked where a shard
ends."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pyarrow as pa
import pytest

from chatdata.core import memory
from chatdata.dataset import shards


def test_what_is_held_stays() -> None:
    held = [bytes([number % 256]) * 5000 for number in range(2000)]
    expected = [len(piece) for piece in held]
    del held[::2]
    memory.give_back()
    assert [len(piece) for piece in held] == expected[1::2]
    assert {piece[0] for piece in held} == {number % 256 for number in range(1, 2000, 2)}


def test_where_a_shard_ends_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(memory, "_trim", lambda: asked.append)
    rows = pa.table({"id": ["a"]})
    shards.write(tmp_path / "a.parquet", rows.schema, [rows, rows])
    assert asked == [0]


def test_a_system_without_this_call_has_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory._trim.cache_clear()
    assert memory._trim() is None
    memory.give_back()
    memory._trim.cache_clear()
