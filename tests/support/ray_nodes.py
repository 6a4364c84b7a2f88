"""Ray nodes on this machine, each with temporary folders of its own, whose processes cannot open
what the first process has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
_HOOK = """
import os, sys

hidden = os.environ.get("TEST_HIDDEN")

def look(event, values):
    if event in ("open", "os.listdir", "os.scandir", "glob.glob") and values:
        if hidden in str(values[0]):
            raise PermissionError(f"a task looked at {values[0]}")

if hidden:
    sys.addaudithook(look)
"""


@dataclass
class Nodes:
    """A cluster of a node that the first process joins, and of two others."""

    cluster: Any
    folder: Path
    short: Path
    others: list[Any] = field(default_factory=list)
    _started: int = 0

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path) -> Iterator[Nodes]:
        """Three nodes, of a core each."""
        from ray.cluster_utils import Cluster

        short = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # names of sockets are short
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(_HOOK)
        nodes = cls(Cluster(), folder, short)
        nodes.hidden.mkdir()
        try:
            nodes.add()
            nodes.others = [nodes.add(), nodes.add()]
            yield nodes
        finally:
            nodes.cluster.shutdown()
            shutil.rmtree(short, ignore_errors=True)

    @property
    def hidden(self) -> Path:
        """The folder at which no task may look."""
        return self.folder / "hidden"

    def add(self) -> Any:
        """A new node."""
        self._started += 1
        temporary = self.folder / f"node-{self._started}"
        (temporary / "ray").mkdir(parents=True)  # where Ray notes its address
        path = os.pathsep.join([str(self.folder / "hook"), str(ROOT)])
        variables = {
            "TMPDIR": str(temporary),
            "TEST_HIDDEN": str(self.hidden),
            "PYTHONPATH": path,
        }
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            return self.cluster.add_node(
                num_cpus=1, include_dashboard=False, temp_dir=str(self.short)
            )
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def replace_one(self) -> None:
        """Ends a node with all that runs on it, at once, and adds another."""
        self.cluster.remove_node(self.others.pop(0), allow_graceful=False)
        self.others.append(self.add())

    def kill_worker(self) -> None:
        """Kills a process that runs a task, once there is one."""
        nodes = [self.cluster.head_node, *self.others]
        last = time.monotonic() + 30
        while time.monotonic() < last:
            for worker in (child for node in nodes for child in _workers(node)):
                with contextlib.suppress(OSError):  # a worker that has ended meanwhile
                    if b"ray::_run" in Path(f"/proc/{worker}/cmdline").read_bytes():
                        os.kill(worker, signal.SIGKILL)
                        return
        raise AssertionError("no node runs a task")

    def left(self) -> list[Path]:
        """What builds have left in the temporary folders of nodes."""
        return sorted(self.folder.glob("node-*/chatdata-*"))


def _workers(node: Any) -> list[int]:
    pid = node.all_processes["raylet"][0].process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
