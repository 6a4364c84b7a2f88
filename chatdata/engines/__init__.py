"""Engines: where the parts of a build run. Each maps a function over tasks, in their order."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

ENGINES = ("local", "ray")


def get(name: str) -> Callable[..., Iterator[Any]]:
    """The `run(function, tasks, workers)` of an engine. Names are those of `ENGINES`."""
    run: Callable[..., Iterator[Any]] = importlib.import_module(f"{__name__}.{name}").run
    return run
