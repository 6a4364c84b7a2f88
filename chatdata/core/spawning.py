"""Processes of Python that start as if nothing stood around them: no script, no current folder."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

_SAFE_PATH = "PYTHONSAFEPATH"  # with any value, Python looks for no modules in the current folder
_OURS = "chatdata"
_LOCK = threading.Lock()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Processes that `multiprocessing` starts in the block run neither the program of this process
    nor a file of the current folder.

    By itself a process that is spawned runs the program again, which fails where that was read from
    stdin, and begins to build too where the program does not look at `__name__`. It also takes
    modules from the current folder, so that a `random.py` of somebody's is run.
    """
    with _LOCK:
        main, before = sys.modules["__main__"], os.environ.get(_SAFE_PATH)
        sys.modules["__main__"] = ModuleType("__main__")
        os.environ[_SAFE_PATH] = before or _OURS
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before


def arrived() -> None:
    """Gives the environment back as it was. Called in a process that was started so, whose path is
    that of its parent by then."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]
