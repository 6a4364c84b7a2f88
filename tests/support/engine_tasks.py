"""Tasks for engines, and what holds of all engines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chatdata.core.errors import BuildError
from chatdata.pipeline.engines import Workers


def double(number: int) -> int:
    time.sleep(0.05 * (number % 3 == 0))  # the first to start is not the first to end
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise BuildError("three is refused.")
    return number


def peek(path: str) -> int:
    """The size of a file: a task that looks where it may not."""
    return len(Path(path).read_bytes())


def check(running: Workers) -> None:
    """Results come in the order of the tasks, and an error keeps its name and words."""
    assert list(running.map(double, range(7))) == [2 * i for i in range(7)]
    assert list(running.map(double, [])) == []
    assert running.submit(double, 4).result() == 8
    with pytest.raises(BuildError, match="three is refused"):
        list(running.map(refuse, range(9)))
