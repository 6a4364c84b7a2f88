"""Progress: what is done and what is left, on a terminal alone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatdata.cli import options, progress
from chatdata.pipeline import progress_line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reading", 1200, 0, 4.0), "1,200 records, 300/s, 0:04"),
        (("splitting, rendering", 3, 12, 30.0), "3 of 12, 1:30 left"),
        (("splitting, rendering", 1, 3601, 2.0), "1 of 3,601, 2:00:00 left"),
        (("splitting, rendering", 12, 12, 30.0), "12 of 12"),
        (("uploading", 2_500_000, 10_000_000, 1.0), "2.5 MB of 10.0 MB, 0:03 left"),
        (("reading", 0, 0, 0.0), "0 records, 0/s, 0:00"),
    ],
)
def test_figures_say_what_is_done_how_fast_and_what_is_left(
    arguments: tuple[str, int, int, float], words: str
) -> None:
    assert progress_line.figures_of(*arguments) == words


@click.command()
@options.loudness
def work() -> None:
    with progress.bar() as report:
        report("reading", 7, 0)
        report("writing", 1, 2)
        report("writing", 2, 2)


def test_without_a_terminal_nothing_is_printed() -> None:
    assert CliRunner().invoke(work).output == ""
    assert CliRunner().invoke(work, ["-q"]).output == ""


def test_with_verbose_each_step_is_noted_with_its_time() -> None:
    shown = CliRunner().invoke(work, ["-v"])
    assert shown.stdout == ""
    assert re.fullmatch(r"reading: 7 records in \d+\.\d s\nwriting: 2 in \d+\.\d s\n", shown.stderr)


@pytest.mark.slow
def test_on_a_terminal_a_line_moves_and_goes(tmp_path: Path) -> None:
    code = (
        "import time, chatdata\nfrom chatdata.pipeline import progress_line\n"
        "progress_line._SILENT_FOR = 0\n"
        "with chatdata.show_progress() as report:\n"
        "  for number in range(3): report('rendering', number, 3); time.sleep(0.3)\n"
    )
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stderr=follower, env=environment, check=True)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "1 of 3" in shown
    assert "2 of 3" in shown
    assert "left" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # transient: the line is gone at the end
