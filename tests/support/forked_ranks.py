"""Two ranks without a launcher: forked from a process that has imported the trainer.

A launcher and two ranks that import PyTorch, transformers and DeepSpeed take half a minute of CPU
before the first step; a fork takes none. torchrun itself starts a run in `test_trainer`, and
`test_trainer_runs` gives to ranks what accelerate gives to those it starts.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support.commands import free_port

ROOT = Path(__file__).parent.parent.parent
RANKS = 2
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# What runs import when they need it.
LATER = (
    *("deepspeed", "matplotlib.figure", "matplotlib.backends.backend_agg", "tensorboard"),
    *("trainer.run.run", "trainer.run.log", "trainer.run.save", "trainer.run.upload"),
    *("trainer.run.preflight", "trainer.evaluate", "trainer.data.batching", "torch._dynamo"),
    *("transformers.models.gpt_bigcode.modeling_gpt_bigcode",),
    *("transformers.models.llama.modeling_llama",),
)


@dataclass(frozen=True)
class Done:
    """What became of two ranks."""

    codes: list[int]  # by rank; -9 is SIGKILL
    errors: str


@dataclass(frozen=True)
class ForkedRanks:
    """The process that forks ranks."""

    process: subprocess.Popen[str]

    def run(
        self,
        folder: Path,
        jobs: dict[str, Any],
        cwd: Path = ROOT,
        ranks: int = RANKS,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> Done:
        """What became of runs, written as in `ranks`, whose counts come into a folder."""
        (folder / "jobs.json").write_text(json.dumps(jobs))
        launch = [str(folder), str(cwd), free_port(), ranks, dict(variables)]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(launch) + "\n")
        self.process.stdin.flush()
        codes = json.loads(self.process.stdout.readline())
        return Done(codes, (folder / "stderr").read_text())

    def finish(
        self,
        folder: Path,
        jobs: dict[str, Any],
        cwd: Path = ROOT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Runs what must end well."""
        done = self.run(folder, jobs, cwd, variables=variables)
        assert done.codes == [0] * RANKS, done.errors[-5000:]


@contextlib.contextmanager
def start() -> Iterator[ForkedRanks]:
    """Starts the process, which imports while the caller goes on."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked_ranks"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield ForkedRanks(process)
        assert process.stdin is not None
        process.stdin.close()


# ------------------------------------------------------------------------------ in the process


def _fork(
    rank: int, ranks: int, folder: Path, cwd: str, port: int, variables: dict[str, str]
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        output = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(cwd)
        os.environ.update(variables)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
        os.environ.update({name: str(value) for name, value in names.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        importlib.import_module("tests.support.ranks").run_all(folder / "jobs.json")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(70)  # `run_all` does not return


def _codes(pids: list[int]) -> list[int]:
    """The exit codes of all ranks. Where one fails the others are ended, as torchrun does."""
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        pid, status = os.wait()
        codes[pid] = os.waitstatus_to_exitcode(status)
        if codes[pid] != 0:
            for left in set(pids) - set(codes):
                os.kill(left, signal.SIGKILL)
    return [codes[pid] for pid in pids]


def serve() -> None:
    """Answers launches until stdin ends."""
    for name in ("tests.support.ranks", *LATER):
        importlib.import_module(name)
    importlib.import_module("trainer.run.compiled").leave_muon()
    gc.freeze()
    assert threading.active_count() == 1  # or else a fork may wait for ever
    for line in sys.stdin:
        folder, cwd, port, ranks, variables = json.loads(line)
        (Path(folder) / "stderr").unlink(missing_ok=True)
        pids = [_fork(rank, ranks, Path(folder), cwd, port, variables) for rank in range(ranks)]
        print(json.dumps(_codes(pids)), flush=True)


if __name__ == "__main__":
    serve()
