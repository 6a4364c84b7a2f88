"""Engines: results in order, errors by their name, the same bytes from each.

Of Ray, results and errors are in test_ray_cluster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatdata.core.errors import EngineError
from chatdata.pipeline import engines
from tests.support.engine_tasks import check


def die(number: int) -> int:
    os._exit(1)


def check_and_die(running: engines.Workers) -> None:
    check(running)
    list(running.map(die, range(4)))


def test_this_process_keeps_the_order_and_the_errors() -> None:
    with engines.start("local", 1) as running:
        check(running)


@pytest.mark.slow
def test_a_pool_does_the_same_and_a_worker_that_dies_is_a_named_error() -> None:
    with (
        pytest.raises(EngineError, match="fewer --workers"),
        engines.start("local", 2) as running,
    ):
        check_and_die(running)


@pytest.mark.slow
def test_ray_writes_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "chatdata", "build", "sample", "--engine", "ray"]
    command += ["--workers", "1", "--out", str(tmp_path / "o")]
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
