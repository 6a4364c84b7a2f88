"""A Ray cluster, or Ray on this machine: the functions of a build, so the same bytes.

Nodes share no disk. A task runs in a scratch folder of its node; what it reads is put there from
Ray's object store. What it wrote comes back into the work folder of the first process, but for
files that only other tasks read: these stay in the object store. A task that is run again, since
its worker or node is lost, or a file that it left, has another scratch folder, and only one run of
it counts. So many tasks are on their way as keep all cores at work, however many there are.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdata.core.errors import ChatdataError, EngineError
from chatdata.pipeline import shipping
from chatdata.pipeline.engines import Result, Task, Workers, remove_here
from chatdata.pipeline.shipping import Content, Made, Piece, Portable, Shared
from chatdata.pipeline.stage import versions

INSTALL = "pip install 'ray>=2.50'"
_CHUNK = 64 * 2**20  # bytes of a file in the object store
_RETRIES = 5  # of a task whose worker or node is lost
_WAIT = 20  # seconds for nodes to remove their files
_Handle = tuple[str, Mapping[str, Sequence[Any]]]  # a folder of nodes, and the references of files


@contextlib.contextmanager
def start(workers: int) -> Iterator[Workers]:
    """Joins the cluster that `RAY_ADDRESS` names; without one, starts Ray here with `workers` CPUs.

    Raises EngineError where Ray is not installed, and where tasks lose their workers again and
    again.
    """
    try:
        import ray
    except ImportError:
        raise EngineError(
            f"Ray is not installed; run `{INSTALL}`, or use --engine local."
        ) from None
    started_here = not ray.is_initialized()
    if started_here:
        _start(workers)
    with ThreadPoolExecutor(1, "chatdata-beside") as thread:
        cluster = _Cluster(thread)
        try:
            yield cluster
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.RaySystemError) as error:
            raise EngineError(
                f"a worker of the Ray cluster ended early, {_RETRIES + 1} times. The cause may be "
                "too little memory: give nodes fewer CPUs."
            ) from error
        finally:
            cluster.remove_files()
            if started_here:
                ray.shutdown()


class _Cluster:
    """The machines of a Ray cluster, and what was put into its object store for them."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        import ray

        self._thread = thread
        self._folder = f"chatdata-{uuid.uuid4().hex}"
        self._shared: dict[Shared, _Handle] = {}
        self._left: dict[str, Any] = {}  # references of files that tasks have left
        self._call: Any = ray.remote(max_retries=_RETRIES)(_call)
        self._run: Any = ray.remote(max_retries=_RETRIES)(_run)

    @property
    def number(self) -> int:
        """The cores of the cluster, which may grow."""
        return _cores()

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        send: Any = self._send if hasattr(function, "parcel") else self._send_alone
        most = 2 * self.number + 2
        waiting: deque[Callable[[], Any]] = deque()
        for task in tasks:
            if len(waiting) >= most:
                yield waiting.popleft()()
            waiting.append(send(function, task))
        while waiting:
            yield waiting.popleft()()

    def map_here(
        self, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        return map(function, tasks)

    write = map

    def remove(self, path: Path) -> None:
        self._left.pop(path.name, None)
        remove_here(path)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        if not hasattr(function, "parcel"):
            return self._thread.submit(function, task)
        send: Any = self._send
        return self._thread.submit(send(function, task))

    def remove_files(self) -> None:
        """Removes what nodes keep for the tasks of this build."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        ray: Any = importlib.import_module("ray")
        with contextlib.suppress(ray.exceptions.RayError):
            nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]] * bool(self._shared)
            remove = ray.remote(num_cpus=0)(_remove)
            removed = [
                remove.options(scheduling_strategy=OnNode(node, soft=False)).remote(self._folder)
                for node in nodes
            ]
            if removed:
                ray.wait(removed, num_returns=len(removed), timeout=_WAIT)

    def _send_alone(self, function: Callable[[Any], Any], task: Any) -> Callable[[], Any]:
        """Starts a task that needs no files. Returns what waits for its result."""
        sent = self._call.remote(function, task)
        return lambda: _get(sent)

    def _send(self, function: Portable[Any, Any], task: Any) -> Callable[[], Any]:
        """Starts a task with its files. Returns what waits for its result, and takes in the files
        that it wrote."""
        known, key = function.known(task)
        if known is not None:
            return lambda: known
        parcel = function.parcel(task)
        handles = {item: self._put(item) for item in parcel.shared}
        left = [name for name in parcel.left if name in self._left]
        leaves = function.leaves(task)
        names = _Names(self._folder, tuple(left), leaves)
        run = self._run.options(num_returns=2 + len(leaves))
        given = (versions(), names, function, task, parcel.pieces, handles)
        # Arguments of their own: of what is lost Ray makes these again before the task begins.
        sent = run.remote(*given, *(self._left[name] for name in left))

        def received() -> Any:
            result, made = _get(sent[:2])
            self._left.update(zip(leaves, sent[2:], strict=True))
            return function.arrived(task, key, result, made)

        return received

    def _put(self, item: Shared) -> _Handle:
        """Puts files into the object store, once."""
        import ray

        if item not in self._shared:
            references = {
                name: [ray.put(part) for part in shipping.chunks(item.root / name, _CHUNK)]
                for name in item.names
            }
            self._shared[item] = (str(len(self._shared)), references)
        return self._shared[item]


def _get(sent: Any) -> Any:
    import ray

    try:
        return ray.get(sent)
    except ray.exceptions.RayTaskError as error:
        raise _cause(error) from None


def _cause(error: Any) -> Exception:
    """The error of a task as its function raised it, where it is one of ours."""
    cause: Exception = error.cause
    return cause if isinstance(cause, ChatdataError) else error


def _cores() -> int:
    """The cores of the cluster."""
    ray: Any = importlib.import_module("ray")
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the folder of a build on nodes, of the files that other tasks have left for a
    task, and of those that it leaves."""

    folder: str
    left: tuple[str, ...]
    leaves: tuple[str, ...]


def _run(
    expected: str,
    names: _Names,
    function: Portable[Task, Result],
    task: Task,
    pieces: Sequence[Piece],
    handles: Mapping[Shared, _Handle],
    *left: Content | None,
) -> tuple[Result, Made, *tuple[Content | None, ...]]:
    """The result of a task on a node, the files that it wrote, and those that it leaves: None for
    one that it did not write. `left` are files that other tasks have left."""
    ray: Any = importlib.import_module("ray")
    if versions() != expected:
        raise EngineError(
            f"node {ray.util.get_node_ip_address()} has not the same versions of Python, chatdata "
            "and its packages as the machine that builds; install the same on all nodes."
        )
    home = Path(tempfile.gettempdir()) / names.folder
    places = {}
    for item, (folder, references) in handles.items():
        contents = {name: map(ray.get, parts) for name, parts in references.items()}
        home.mkdir(mode=0o700, exist_ok=True)
        places[item] = shipping.place(home / folder, contents)
    with tempfile.TemporaryDirectory(prefix="chatdata-task-") as scratch:
        more = [Piece(n, c) for n, c in zip(names.left, left, strict=True) if c is not None]
        given = shipping.unpack([*pieces, *more], Path(scratch))
        result = function.there(Path(scratch), places, task)
        made = shipping.collect(Path(scratch), given)
        stay = [made.pop(name, None) for name in names.leaves]
        return result, made, *stay


def _remove(name: str) -> None:
    shutil.rmtree(Path(tempfile.gettempdir()) / name, ignore_errors=True)


def _start(workers: int) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS")  # not any cluster that happens to run here
    ray.init(
        address or "local",
        num_cpus=None if address else workers,
        log_to_driver=False,
        include_dashboard=None if address else False,
        logging_level=logging.ERROR,
    )
