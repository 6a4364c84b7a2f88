"""The progress of a long step, for people at a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function that reports progress (step, done, total) to a bar on stderr.

    The bar appears after a second, and only where stderr is a terminal.
    """
    from rich.console import Console
    from rich.progress import Progress

    start = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True, disable=True) as shown:
        task = shown.add_task("", total=None)

        def report(step: str, done: int, total: int) -> None:
            if shown.disable and shown.console.is_terminal and time.monotonic() - start > 1:
                shown.disable = False
                shown.start()
            shown.update(task, description=step, completed=done, total=total or None)

        yield report
