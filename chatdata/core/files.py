"""Files and folders that are either complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chatdata.core.errors import OutputError


@contextlib.contextmanager
def place_file(path: Path) -> Iterator[Path]:
    """A new file to write, which becomes `path` when the block ends without an error.

    Makes the folder of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.partial")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(out: Path, marker: str) -> Iterator[Path]:
    """A new folder to write into, which becomes `out` when the block ends without an error.

    Until then the folder stands beside `out` under a hidden name; if the block fails, nothing is
    left. An `out` that is empty or holds a file `marker` is replaced. Raises OutputError for any
    other `out`, and where the folder cannot be written.
    """
    _refuse_foreign(out, marker)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise OutputError(
            f"cannot write to '{out}': {error.strerror}; choose another --out."
        ) from None
    try:
        with _locked(work):
            yield work
            os.chmod(work, 0o777 & ~_umask())
            _sync(work)
            _move(work, out)
    except OSError as error:
        raise OutputError(f"cannot write to '{out}': {error.strerror or error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _refuse_foreign(out: Path, marker: str) -> None:
    if out.is_dir() and (not any(out.iterdir()) or (out / marker).is_file()):
        return
    if out.exists() or out.is_symlink():
        kind = "a folder that chatdata did not build" if out.is_dir() else "a file"
        raise OutputError(f"'{out}' is {kind}; choose another --out, or remove it.")


def _sweep(out: Path) -> None:
    """Removes what a killed build has left beside `out`."""
    for stale in out.parent.glob(f".{out.name}.*.partial"):
        with contextlib.suppress(OSError), _locked(stale):
            shutil.rmtree(stale)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder. Raises OSError where another build holds the lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    """Writes everything in a folder through to the disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move(work: Path, out: Path) -> None:
    """Puts `work` in the place of `out`; an earlier `out` comes back if that fails."""
    old = work.with_suffix(".old")
    if out.exists():
        out.rename(old)
    try:
        work.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
