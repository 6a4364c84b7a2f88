"""Whether ids hold any of a set is what Python's sets say."""

from __future__ import annotations

import numpy as np
import pytest

from chatdata.render.segments.text_pool import _IdSet

LARGEST = 2**31 - 1


@pytest.mark.parametrize("first", [0, 1, 151_643, LARGEST - 40])
def test_as_sets_say(first: int) -> None:
    draw = np.random.default_rng(first)
    for _ in range(300):
        wanted, ids = (
            (first + draw.integers(0, 40, draw.integers(0, most))).astype(np.int32)
            for most in (6, 12)
        )
        expected = bool({*wanted.tolist()} & {*ids.tolist()})
        assert _IdSet(wanted.tolist()).has_any_of(ids) == expected


def test_ids_at_the_ends_of_the_numbers() -> None:
    ids = np.array([0, LARGEST], np.int32)
    assert _IdSet([0]).has_any_of(ids)
    assert _IdSet([LARGEST]).has_any_of(ids)
    assert not _IdSet([1, LARGEST - 1]).has_any_of(ids)
    assert not _IdSet([]).has_any_of(ids)
