"""Real clients in processes of their own: run, awaited, killed."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi

ROOT = Path(__file__).parent.parent.parent.parent


def environment(endpoint: str, home: Path, **more: str) -> dict[str, str]:
    """The variables by which real clients come to a Hub on loopback and to no other place."""
    variables = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "NO_PROXY": "127.0.0.1,localhost",
        "USE_TORCH": "0",  # datasets imports it to hash things that are none of its
        "OPENBLAS_NUM_THREADS": "1",  # a process that forks has one thread
        "SSL_CERT_FILE": str(_one_certificate()),  # all of them take a while, and none is used
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **variables, **more}


@functools.cache
def _one_certificate() -> Path:
    """A file with one certificate."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    file = Path(tempfile.mkdtemp()) / "one.pem"
    file.write_text(f"{first}{end}\n")
    return file


@dataclass(frozen=True)
class Done:
    """What became of a client."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)


@dataclass
class Client:
    """A client that runs."""

    pid: int
    clients: Clients
    paths: dict[str, Path]

    def kill(self) -> None:
        """Ends it as a loss of power would."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Done:
        """What became of it."""
        code = self.clients.ask({"wait": self.pid})["code"]
        output = {name: path.read_text() for name, path in self.paths.items()}
        return Done(code, **output)


@dataclass
class Clients:
    """Forks clients from a process that has imported them."""

    process: subprocess.Popen[str]
    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, command: dict[str, Any]) -> Any:
        """Sends a line, and reads one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: str | Path, token: str = "", **options: Any) -> Client:
        """Starts `chatdata` with arguments, or `code`, as the user whom a token names."""
        number = next(self._numbers)
        paths = {name: self.folder / f"{number}.{name}" for name in ("stdout", "stderr")}
        variables: Mapping[str, str] = {"HF_TOKEN": token, **options.pop("variables", {})}
        command = {
            "arguments": [str(argument) for argument in arguments],
            "environment": variables,
            **{name: str(path) for name, path in paths.items()},
            **options,
        }
        return Client(self.ask(command)["pid"], self, paths)

    def run(self, *arguments: str | Path, token: str = "", **options: Any) -> Done:
        """Runs `chatdata`, or `code`. Returns what became of it."""
        return self.start(*arguments, token=token, **options).wait()


@contextlib.contextmanager
def clients(endpoint: str, folder: Path, *preload: str) -> Iterator[Clients]:
    """Clients of the Hub at an endpoint; their cache and what they print are below a folder.

    `preload` names modules that are imported before the first of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.loopback.zygote", *preload],
        cwd=ROOT,
        env=environment(endpoint, folder / "home"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Clients(process, folder)
        assert process.stdin is not None
        process.stdin.close()
