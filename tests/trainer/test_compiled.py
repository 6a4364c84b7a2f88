"""DeepSpeed's operations load although a process was killed while it loaded one."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from torch.utils.file_baton import FileBaton

from tests.support.imports import ROOT
from tests.support.later import need
from trainer.run import compiled

need("deepspeed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of forks


class Operation:
    name = "an_operation"


def load(operation: Operation, inside: Any = lambda: None) -> None:
    """Does what torch does around an operation, guarded by the trainer's lock."""

    def jit_load(self: Operation, verbose: bool) -> None:
        folder = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / self.name
        folder.mkdir(exist_ok=True)
        baton = FileBaton(folder / "lock")
        assert baton.try_acquire(), "torch would wait here"
        inside()
        baton.release()

    compiled._alone(jit_load)(operation)


def start(folder: Path, seconds: float) -> Any:
    """A process that has begun to load an operation as torch does, and takes its time over it."""

    def inside() -> None:
        (folder / "begun").touch()
        time.sleep(seconds)

    process = multiprocessing.get_context("fork").Process(target=load, args=(Operation(), inside))
    process.start()
    while not (folder / "begun").exists():
        assert process.is_alive()
        time.sleep(0.01)
    return process


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    return tmp_path


def test_an_operation_loads_after_a_process_was_killed_while_it_loaded_the_operation(
    folder: Path,
) -> None:
    process = start(folder, seconds=60)
    process.kill()
    process.join()
    assert (folder / Operation.name / "lock").exists()
    load(Operation())
    assert not (folder / Operation.name / "lock").exists()


def test_a_process_that_loads_is_waited_for_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "_PATIENCE", 0.1)
    process = start(folder, seconds=1)
    load(Operation())
    process.join()
    assert process.exitcode == 0
    assert f"compiles under '{folder / 'an_operation.lock'}'" in capsys.readouterr().err


def test_the_folder_is_within_the_one_that_the_user_names(folder: Path) -> None:
    first = compiled._folder()
    assert first.parent == folder
    os.environ["TORCH_EXTENSIONS_DIR"] = str(first)
    assert compiled._folder() == first  # so in a process that another one started


@pytest.mark.slow
def test_deepspeed_loads_its_operations_under_the_lock_and_compiles_no_optimizer() -> None:
    script = (
        "from trainer.run import compiled\n"
        "compiled.guard(); compiled.guard()\n"
        "from deepspeed.accelerator import get_accelerator\n"
        "load = get_accelerator().create_op_builder('ShareMemCommBuilder').jit_load\n"
        "assert load.__wrapped__.__module__ == 'deepspeed.ops.op_builder.builder'\n"
        "import sys\n"
        "compiled.leave_muon()\n"
        "from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam\n"
        "assert 'torch._inductor.compile_fx' not in sys.modules  # seconds of importing\n"
    )
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
