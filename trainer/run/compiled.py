"""DeepSpeed's compiled operations, also after a process was killed while it loaded one.

torch compiles and loads an operation while a file `lock` stands in the folder of the operation. A
process that is killed leaves that file behind, and every later run on the machine waits for it
without end (torch 2.13, DeepSpeed 0.19). So the trainer keeps its operations in a folder of its
own, and loads them under a lock of the operating system, which ends with its process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from filelock import FileLock, Timeout

PREFIX = "chatdata-"
_PATIENCE = 10.0  # seconds before a wait is named
_FOLDER = "TORCH_EXTENSIONS_DIR"  # torch's variable: where operations are compiled


def guard() -> None:
    """Lets DeepSpeed compile and load its operations in one process after another.

    Sets TORCH_EXTENSIONS_DIR to a folder of the trainer's within the one that it names, or within
    torch's. A second call changes nothing.
    """
    from deepspeed.ops.op_builder.builder import OpBuilder

    os.environ[_FOLDER] = str(_folder())
    if not hasattr(OpBuilder.jit_load, "__wrapped__"):
        OpBuilder.jit_load = _alone(OpBuilder.jit_load)


def leave_muon() -> None:
    """Imports DeepSpeed's optimizer Muon without compiling it.

    DeepSpeed imports Muon to ask whether it is in use, and with it PyTorch's compiler, which takes
    a process seconds. No recipe chooses Muon.
    """
    from deepspeed.runtime import compiler

    compile_ = compiler.compile
    compiler.compile = lambda: lambda function: function
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")
    finally:
        compiler.compile = compile_


def _folder() -> Path:
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get(_FOLDER) or get_default_build_root())
    if root.name.startswith(PREFIX):
        return root
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    return root / f"{PREFIX}{python}-torch{torch.__version__}"


@contextlib.contextmanager
def _held(lock: FileLock) -> Iterator[None]:
    """Holds a lock, and says so where another process keeps it for long."""
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        click.echo(f"waiting for a process that compiles under '{lock.lock_file}'", err=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _alone(jit_load: Any) -> Any:
    @functools.wraps(jit_load)
    def load(self: Any, verbose: bool = True) -> Any:
        folder = Path(os.environ[_FOLDER])
        folder.mkdir(parents=True, exist_ok=True)
        with _held(FileLock(folder / f"{self.name}.lock")):
            # Whoever left a lock in the operation's folder is dead: the living wait here.
            (folder / self.name / "lock").unlink(missing_ok=True)
            return jit_load(self, verbose)

    return load
