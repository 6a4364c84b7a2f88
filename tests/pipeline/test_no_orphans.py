"""Workers end with their parent, and Ctrl-C is a word: at any time, however the parent ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import left_of, running, session, until_members

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

ALL_MEMBERS = 4  # the parent, which works too, two workers and the tracker of their resources
LONG = 20.0  # seconds; a machine may be busy

POOL = """
import sys, time
from chatdata.pipeline import engines
from tests.pipeline import test_no_orphans as at

if __name__ == "__main__":
    with engines.start("local", 3) as running:
        list(running.map(getattr(at, sys.argv[1]), [sys.argv[2]] * 3))
"""


def sleep(started: str) -> None:
    _tell(started)
    time.sleep(600)


def hold_the_interpreter(started: str) -> None:
    """Lets no thread of Python run, as a long call of C code may."""
    import ctypes

    _tell(started)
    if multiprocessing.parent_process() is None:  # which has to give the others their tasks
        time.sleep(600)
    ctypes.PyDLL(None).sleep(600)


def without_the_kernel(started: str) -> None:
    """As on a system whose kernel does not end the process."""
    import ctypes

    ctypes.CDLL(None).prctl(1, 0)
    sleep(started)


def _tell(started: str) -> None:
    (Path(started) / str(os.getpid())).touch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sleep", signal.SIGTERM),
        ("hold_the_interpreter", signal.SIGKILL),
        ("without_the_kernel", signal.SIGKILL),
    ],
)
def test_workers_end_with_their_parent(name: str, how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    (tmp_path / "started").mkdir()
    with running(str(script), name, str(tmp_path / "started")) as parent:
        while len(list((tmp_path / "started").iterdir())) < 3:
            assert parent.poll() is None, parent.stderr and parent.stderr.read()
            time.sleep(0.05)
        assert len(session(parent.pid)) == ALL_MEMBERS
        parent.send_signal(how)
        assert left_of(parent.pid, LONG) == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a few seconds to build."""
    words = [f"word{number}" for number in range(3000)]
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    with path.open("w") as file:
        for number in range(6000):
            turns = [
                {"role": role, "content": " ".join(rng.choices(words, k=60))}
                for role in ("user", "assistant")
            ]
            file.write(json.dumps({"id": str(number), "messages": turns}) + "\n")
    return path


def arguments(large: Path, out: Path, workers: int) -> list[str]:
    recipe = out.parent / "r.yaml"
    recipe.write_text("name: r\nversion: 1.0.0\nsource: {jsonl: {}}\nrender: {tokenizer: bytes}\n")
    build = ["-m", "chatdata", "build", str(recipe), "--input", str(large), "--out", str(out)]
    return [*build, "--workers", str(workers)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "delay"),
    [(signal.SIGKILL, 0.0), (signal.SIGTERM, 0.5), (signal.SIGKILL, 2.0)],
)
def test_no_process_of_a_build_is_left(
    how: signal.Signals, delay: float, large: Path, tmp_path: Path
) -> None:
    """While workers start, while they load modules, while they work."""
    with running(*arguments(large, tmp_path / "out", 2)) as parent:
        until_members(parent.pid, 3)
        time.sleep(delay)
        parent.send_signal(how)
        assert left_of(parent.pid, LONG) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "delay", "how", "word"),
    [
        (1, 0.2, signal.SIGINT, "Aborted!"),
        (1, 1.2, signal.SIGTERM, "Terminated!"),
        (2, 1.2, signal.SIGINT, "Aborted!"),
        (2, 2.5, signal.SIGTERM, "Terminated!"),
    ],
)
def test_a_signal_is_a_word_and_a_status_and_nothing_is_left(
    workers: int, delay: float, how: signal.Signals, word: str, large: Path, tmp_path: Path
) -> None:
    """All processes of the terminal get SIGINT, as Ctrl-C does it."""
    with running(*arguments(large, tmp_path / "out", workers)) as parent:
        time.sleep(delay)
        (os.killpg if how == signal.SIGINT else os.kill)(parent.pid, how)
        _, errors = parent.communicate(timeout=LONG)
        assert (parent.returncode, errors.split()) == (128 + how, [word])
        assert left_of(parent.pid, LONG) == []
    assert not list(tmp_path.glob(".out*"))
    assert not (tmp_path / "out").exists()
