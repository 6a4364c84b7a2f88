"""The hash of a row is that of its JSON, however long its lists are."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import orjson
import pytest

from chatdata.dataset import row_digests


@pytest.mark.parametrize("seed", range(20))
def test_long_lists_are_hashed_in_pieces(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_digests, "_VALUES", 6)
    draw = random.Random(seed)
    lists: list[Any] = [[{"x": n} for n in range(size)] for size in (0, 1, 5, 6, 7, 12, 13)]
    values = [draw.choice([None, 1, 'é"', {"a": [1]}, *lists]) for _ in range(draw.randrange(6))]
    expected = hashlib.sha256(orjson.dumps(["train", values]))
    assert row_digests._sha256_of("train", values).digest() == expected.digest()
