"""The room that a build asks for before it begins: that of what it holds, and of rows that wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chatdata import load_recipe
from chatdata.dataset.shards import SHARD_BYTES
from chatdata.pipeline import spill


@pytest.mark.parametrize(
    ("settings", "held", "waiting", "shards"),
    [([], 2.0, 0.4, 1), (["render.tokenizer=bytes"], 2.5, 2.0, 2)],
)
def test_rows_that_wait_are_those_of_some_shards_however_large_the_input(
    settings: list[str], held: float, waiting: float, shards: int
) -> None:
    recipe = load_recipe("sharegpt", settings)

    def least(size: int) -> int:
        given: Any = SimpleNamespace(text_bytes=size)
        return spill.least(recipe, given)

    assert least(10**6) == int((held + waiting) * 10**6)
    assert least(10**12) == int(held * 10**12) + shards * SHARD_BYTES
