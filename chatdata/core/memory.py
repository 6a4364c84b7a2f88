"""Memory that is free is given back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any


def give_back() -> None:
    """Gives back what glibc keeps of freed memory; elsewhere nothing.

    Each thread has a heap of its own, of which glibc gives back the end alone. A thread that writes
    many files leaves holes in its heap, which nothing fills.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.lru_cache(maxsize=1)
def _trim() -> Callable[[int], Any] | None:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except OSError:
        return None
