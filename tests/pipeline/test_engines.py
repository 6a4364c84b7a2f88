"""Engines: results in order, errors by their name, the same bytes from each.

Of Ray, results and errors are in test_ray_cluster.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chatdata.core.errors import BuildError, EngineError
from chatdata.pipeline import engines
from chatdata.pipeline.engines import shared_tasks
from chatdata.pipeline.engines.shared_tasks import SharedTasks
from chatdata.pipeline.engines.worker_process import WorkerPool
from tests.support.engine_tasks import check, double, refuse
from tests.support.kept_pools import KeptPools


def die(number: int) -> int:
    if multiprocessing.parent_process() is None:
        return number
    os._exit(1)


def pid(number: int) -> int:
    time.sleep(0.5)
    return os.getpid()


def check_and_die(running: engines.Workers) -> None:
    check(running)
    workers = Counter(running.map(pid, range(6)))
    assert os.getpid() in workers  # two workers are this process and another
    assert list(workers.values()) == [3, 3]
    list(running.map(die, range(4)))


class Alone(Executor):
    """A pool whose tasks are done, or fail, when they are sent; it ends after `most` of them."""

    def __init__(self, most: int = 100) -> None:
        self.sent: list[int] = []
        self._most = most

    def submit(self, function: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        if len(self.sent) == self._most:
            raise RuntimeError("the pool has ended")
        self.sent.append(given[0])
        future = Future[Any]()
        try:
            future.set_result(function(*given))
        except BuildError as error:
            future.set_exception(error)
        return future


def test_a_task_that_fails_is_raised_in_its_place_and_nobody_takes_another() -> None:
    pool = Alone()
    results = SharedTasks(pool, refuse, range(9)).results(2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BuildError, match="three is refused"):
        next(results)
    assert pool.sent == [1, 2, 3]


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_rest_while_nobody_takes_results(processes: int) -> None:
    pool = Alone()
    results = SharedTasks(pool, double, range(90)).results(processes)
    most = shared_tasks._AHEAD * (processes + 1)
    for number in range(90):
        assert next(results) == 2 * number
        assert len(pool.sent) <= number + most
    assert 45 <= len(pool.sent) < 90  # as many as this process at least, and not all


def test_a_pool_that_has_ended_is_an_error_and_not_waited_for() -> None:
    results = SharedTasks(Alone(2), double, range(9)).results(1)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(RuntimeError, match="has ended"):
        next(results)


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
def test_a_worker_that_dies_while_nobody_asks_for_results_is_the_same_error() -> None:
    """As one that writes a shard: it was an error of Python's own."""
    with (
        pytest.raises(EngineError, match="fewer --workers"),
        engines.start("local", 2) as running,
    ):
        running.submit(die, 0).result()


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


def test_a_pool_of_tests_is_kept_while_modules_are_found_in_the_same_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its workers would not find a package that a test puts in place."""
    pools = KeptPools()
    first, again = pools(1, print, ()).processes, pools(1, print, ()).processes
    assert first is again
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pools(1, print, ()).processes is not first
    pools.end()


def test_a_machine_without_semaphores_has_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some sandboxes are, which have no /dev/shm."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(ProcessPoolExecutor, "__init__", refuse)
    with pytest.raises(EngineError, match=r"no semaphores \(Read-only .*; use --workers 1"):
        WorkerPool(1, os.getpid, ())
