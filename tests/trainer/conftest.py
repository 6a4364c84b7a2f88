"""What all tests of the trainer share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> Iterator[None]:
    """A Trainer collects garbage at its end, which takes 0.3 s with all of transformers loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
