"""Progress of a build: who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # takes (step, done, total); a total of 0 is unknown


def silent(step: str, done: int, total: int) -> None:
    """Reports no progress."""
