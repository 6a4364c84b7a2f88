"""Engines: results in order, errors by their name, the same bytes from each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatdata.core.errors import BuildError, EngineError
from chatdata.pipeline import engines


def double(number: int) -> int:
    time.sleep(0.05 * (number % 3 == 0))  # the first to start is not the first to end
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise BuildError("three is refused.")
    return number


def die(number: int) -> int:
    os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    with engines.start("local", workers) as running:
        assert list(running.map(double, range(7))) == [2 * i for i in range(7)]
        assert list(running.map(double, [])) == []
        assert running.submit(double, 4).result() == 8


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_name_and_words(workers: int) -> None:
    with (
        pytest.raises(BuildError, match="three is refused"),
        engines.start("local", workers) as running,
    ):
        list(running.map(refuse, range(9)))


@pytest.mark.slow
def test_a_worker_that_dies_is_a_named_error() -> None:
    with (
        pytest.raises(EngineError, match="fewer --workers"),
        engines.start("local", 2) as running,
    ):
        list(running.map(die, range(4)))


RAY = """
import sys
from chatdata.pipeline import engines
from chatdata.core.errors import BuildError
from tests.pipeline.test_engines import double, refuse

with engines.start("ray", 2) as running:
    assert list(running.map(double, range(7))) == [2 * i for i in range(7)]
    assert running.submit(double, 4).result() == 8
try:
    with engines.start("ray", 2) as running:
        list(running.map(refuse, range(9)))
except BuildError as error:
    sys.exit(f"BuildError: {error}")
"""


@pytest.mark.slow
def test_ray_does_the_same(tmp_path: Path) -> None:
    """In a process of its own, since Ray looks for its node's address."""
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-c", RAY],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert done.stderr.splitlines()[-1] == "BuildError: three is refused."


@pytest.mark.slow
def test_ray_writes_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "chatdata", "build", "sample", "--engine", "ray"]
    command += ["--workers", "2", "--out", str(tmp_path / "o")]
    subprocess.run(command, check=True, capture_output=True)
    built, built_by_ray = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (sample, tmp_path / "o")
    )
    assert built == built_by_ray


def test_without_ray_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install .ray>="), engines.start("ray", 1):
        pass
