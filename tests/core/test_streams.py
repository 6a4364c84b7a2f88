"""Standard streams that are closed, deserted, or of an encoding without most characters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core import streams

ROOT = Path(__file__).parent.parent.parent
ANY = st.text(st.characters(exclude_categories=[]))  # halves of characters among them


@given(text=ANY, encoding=st.sampled_from(["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"]))
def test_json_stays_the_same_json_in_any_encoding(text: str, encoding: str) -> None:
    streams.prepare()  # which makes the name of the handler known
    printed = json.dumps(text, ensure_ascii=False).encode(encoding, "chatdata-escapes")
    again = json.loads(printed.decode(encoding))
    # Two halves that stand beside each other are one character in JSON.
    assert again.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def python(code: str, shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of Python that `shell` runs as "$0" -c "$1"."""
    return subprocess.run(
        ["bash", "-c", shell, sys.executable, code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=_hears,
    )


def _hears() -> None:
    """Lets a process hear SIGHUP, which all that `nohup` starts ignores."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


CLOSED = """
import os, subprocess, sys
from chatdata.core import streams

streams.prepare()
print("out", sys.stdout.isatty(), sys.stdin.isatty(), sys.stdin.read(), flush=True)
print("err", file=sys.stderr)
subprocess.run(["sh", "-c", "echo child; echo child >&2"], check=True)
os.write(FILE, str(os.open(os.devnull, os.O_RDONLY) > 2).encode())
"""


@pytest.mark.parametrize("closes", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nothing_and_no_file_takes_its_number(
    closes: str, tmp_path: Path
) -> None:
    code = CLOSED.replace("FILE", "7")
    done = python(code, f'"$0" -c "$1" 7>{tmp_path}/seen </dev/null {closes}')
    assert done.returncode == 0
    assert (tmp_path / "seen").read_text() == "True"
    assert done.stdout == ("" if ">&-" in closes.split() else "out False False \nchild\n")
    assert done.stderr == ("" if "2>&-" in closes else "err\nchild\n")


COMMAND = """
import click, os, signal, sys, time
from pathlib import Path
from chatdata.core import interrupts, streams

@click.command()
def main():
    try:
        DO
    finally:
        os.kill(os.getpid(), signal.SIGTERM) if TWICE else None
        print("tidied", file=sys.stderr)

streams.prepare()
interrupts.run(main, tidies=TIDIES)
"""


def command(does: str, shell: str, twice: bool = False, tidies: bool = True) -> tuple[int, str]:
    """The status of a command, and what it wrote on stderr."""
    code = COMMAND.replace("DO", does).replace("TWICE", str(twice)).replace("TIDIES", str(tidies))
    done = python(code, f"{shell}; exit ${{PIPESTATUS[0]}}")
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "word"),
    [("SIGTERM", "Terminated!"), ("SIGHUP", "Hung up!"), ("SIGINT", "Aborted!")],
)
def test_a_command_that_is_to_end_tidies_and_says_a_word(name: str, word: str) -> None:
    """A second request, as systemd sends one, does not disturb it."""
    does = f"os.kill(os.getpid(), signal.{name}); time.sleep(60)"
    status = 128 + signal.Signals[name]
    twice = name != "SIGINT"
    assert command(does, '"$0" -c "$1"', twice) == (status, f"tidied\n\n{word}\n")


def test_what_is_ignored_stays_ignored_and_without_tidying_the_end_is_at_once() -> None:
    does = "os.kill(os.getpid(), signal.SIGHUP)"
    assert command(does, 'trap "" HUP; "$0" -c "$1"') == (0, "tidied\n")
    assert command(does, '"$0" -c "$1" || exit $?', tidies=False)[0] == 128 + signal.SIGHUP


def test_output_that_nobody_reads_is_a_status_and_no_words() -> None:
    does = "[click.echo('line') for _ in range(10 ** 6)]"
    assert command(does, '"$0" -c "$1" | head -1 > /dev/null') == (141, "tidied\n")
