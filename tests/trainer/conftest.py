"""What all tests of the trainer share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> None:
    """A Trainer collects garbage at its end, which takes 0.3 s with all of transformers loaded.

    What is frozen stays so: to look through all that again takes each file as long.
    """
    gc.collect()
    gc.freeze()
