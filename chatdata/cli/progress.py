"""The progress of a long step, for people at a terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager

from chatdata.cli.terminal import loudness, note
from chatdata.pipeline import progress_line
from chatdata.pipeline.progress import Progress


def bar() -> AbstractContextManager[Progress]:
    """A function that reports progress (step, done, total) to a line on stderr, in a terminal.

    With --quiet nothing appears; with --verbose each step is noted at its end, with its time.
    """
    return progress_line.line(loudness(), note)
