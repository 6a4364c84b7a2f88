"""The progress of a long step as a line, for people at a terminal or in a notebook."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chatdata.pipeline.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Shown
    from rich.progress import TaskID

_SILENT_FOR = 1.0  # seconds: what is done by then needs no bar
_BETWEEN = 0.5  # seconds between two lines in a notebook
_BYTES = ("uploading", "downloading")  # steps that count bytes
_COUNTED = {"reading": "records"}  # what other steps count, where nobody knows how many there are


@contextlib.contextmanager
def show_progress() -> Iterator[Progress]:
    """A function for `progress=...`, which shows how far a step is on a line that moves.

    `with show_progress() as progress:` ends the line. The line says what is done and how fast, and
    where a total is known what is left. It appears after a second, on stderr, in a terminal or a
    notebook; elsewhere nothing appears.
    """
    if not _is_notebook():
        with line() as report:
            yield report
        return
    shown = _Written(time.monotonic())
    yield shown.report
    shown.end()


def _is_notebook() -> bool:
    """Whether cells of a notebook run in this process."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class _Written:
    """A line that is written over itself, since notebooks have no cursor that moves."""

    def __init__(self, start: float) -> None:
        self.start = self.step_start = self.last = start
        self.step, self.width = "", 0

    def report(self, step: str, done: int, total: int) -> None:
        """Shows how far a step is, twice a second at the most."""
        now = time.monotonic()
        if step != self.step:
            self.step, self.step_start = step, now
        if now - self.start >= _SILENT_FOR and now - self.last >= _BETWEEN:
            self.last = now
            self._write(f"{step}: {figures_of(step, done, total, now - self.step_start)}")

    def end(self) -> None:
        """Clears the line."""
        if self.width:
            self._write("")
            sys.stderr.write("\r")

    def _write(self, words: str) -> None:
        sys.stderr.write("\r" + words.ljust(self.width))
        sys.stderr.flush()
        self.width = len(words)


@contextlib.contextmanager
def line(loudness: int = 0, note: Callable[[str], None] = print) -> Iterator[Progress]:
    """A function that reports progress (step, done, total) to a line on stderr, in a terminal.

    With a `loudness` below 0 nothing appears; above 0 each step is noted at its end, with its time.
    """
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Shown

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Shown(*columns, console=console, transient=True, disable=True) as shown:
        steps = _Steps(shown, shown.add_task("", total=None, figures=""), loudness, note)
        yield steps.report
        steps.end()


class _Steps:
    """The step that a command is in, and how far it is."""

    def __init__(
        self, shown: Shown, task: TaskID, loudness: int, note: Callable[[str], None]
    ) -> None:
        self.shown, self.task = shown, task
        self.loudness, self.note = loudness, note
        self.start = self.step_start = time.monotonic()
        self.step, self.done = "", 0

    def report(self, step: str, done: int, total: int) -> None:
        """Shows how far a step is."""
        if step != self.step:
            self.end()
            self.step, self.step_start = step, time.monotonic()
            self.shown.reset(self.task)
        self.done = done
        figures = figures_of(step, done, total, time.monotonic() - self.step_start)
        self.shown.update(
            self.task, description=step, completed=done, total=total or None, figures=figures
        )
        self._appear()

    def end(self) -> None:
        """Notes a step that ends, where the user asked for more words."""
        if self.step and self.loudness > 0:
            seconds = time.monotonic() - self.step_start
            self.note(f"{self.step}: {_amount(self.step, self.done)} in {seconds:.1f} s")
        self.step = ""

    def _appear(self) -> None:
        is_wanted = self.loudness >= 0 and self.shown.console.is_terminal
        if self.shown.disable and is_wanted and time.monotonic() - self.start > _SILENT_FOR:
            self.shown.disable = False
            self.shown.start()


def figures_of(step: str, done: int, total: int, seconds: float) -> str:
    """What is done of a step that runs for so many seconds, how fast, and what is left of it."""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{_amount(step, done)}, {rate:,.0f}/s, {_clock(seconds)}"
    words = f"{_amount(step, done)} of {_amount(step, total)}"
    if 0 < done < total:
        words += f", {_clock((total - done) / rate)} left" if rate else ""
    return words


def _amount(step: str, number: int) -> str:
    """A number of what a step counts."""
    if step in _BYTES:
        return f"{number / 1e6:,.1f} MB"
    unit = _COUNTED.get(step)
    return f"{number:,} {unit}" if unit else f"{number:,}"


def _clock(seconds: float) -> str:
    """A time as minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
