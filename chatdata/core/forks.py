"""Processes forked from one in which Polars was at work, which lack its threads."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from chatdata.core.errors import EngineError

_OF_POLARS = re.compile(r"polars-\d")


class _State:
    """Whether Polars was at work when this process was forked, or is to be forked."""

    forked = began = False


def check(name: str) -> None:
    """Raises EngineError in a process in which a function, of this name, would never end."""
    if _State.forked:
        raise EngineError(
            f"{name}: this process was forked after its parent had used Polars, whose threads it "
            'lacks; start it with multiprocessing.get_context("spawn").'
        )


def _before() -> None:
    _State.began = any(map(_OF_POLARS.match, _threads()))


def _in_child() -> None:
    _State.forked = _State.forked or _State.began


def _threads() -> list[str]:
    """The names of the threads of this process, where the system tells them."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # a thread that has ended
            names.append(path.read_text())
    return names


os.register_at_fork(before=_before, after_in_child=_in_child)
