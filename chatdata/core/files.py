"""Files and folders that are either complete or absent; a folder that is replaced is old or new."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chatdata.core import disk
from chatdata.core.errors import OutputError

_SYNCED = 8  # files at a time


@contextlib.contextmanager
def place_file(path: Path) -> Iterator[Path]:
    """A new file to write, which becomes `path` when the block ends without an error.

    Makes the folder of `path`. Raises OutputError where no file can be there.
    """
    new = path.with_name(f".{path.name}.partial")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new.touch()
    try:
        yield new
        with _writing(path):
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Raises OutputError in place of what the system says of a place that cannot be written."""
    try:
        yield
    except OSError as error:
        words = f"{_why(error, place)}; choose another place."
        if not isinstance(error, PermissionError):
            words = disk.problem(error, [place.parent]) or words
        raise OutputError(f"cannot write '{place}': {words}") from error


def _why(error: OSError, place: Path) -> str:
    """What the system says of a place, but where a folder above it is a file."""
    above = next((path for path in place.parents if path.is_file()), None)
    return f"'{above}' is a file" if above else error.strerror or str(error)


@contextlib.contextmanager
def new_folder(out: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A new folder to write into, which becomes `out` when the block ends without an error.

    Until then the folder stands beside `out` under a hidden name; if the block fails, nothing is
    left. An `out` that is empty, or of which `is_ours` is true, is replaced: at every instant it is
    the old folder or the new one where the system can exchange two folders, and elsewhere once the
    next block for `out` has begun. Raises OutputError for any other `out`, and where the folder
    cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _recover(out)
        _refuse_foreign(out, is_ours)
        _sweep(out)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise OutputError(
            f"cannot write to '{out}': {_why(error, out)}; choose another --out."
        ) from None
    try:
        with locked(work):
            yield work
            os.chmod(work, 0o777 & ~_umask())
            _sync(work)
            _refuse_foreign(out, is_ours)
            _move(work, out)
    except OSError as error:
        words = disk.problem(error, [out.parent]) or f"{error.strerror or error}."
        raise OutputError(f"cannot write to '{out}': {words}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _refuse_foreign(out: Path, is_ours: Callable[[Path], bool]) -> None:
    """Raises OutputError where `out` is not to be replaced by a folder that is written."""
    if not out.exists() and not out.is_symlink():
        return
    if kind := _foreign(out, is_ours):
        raise OutputError(f"'{out}' is {kind}; choose another --out, or remove it.")


def _foreign(out: Path, is_ours: Callable[[Path], bool]) -> str | None:
    """What `out` is, where it is not to be replaced."""
    if out.is_symlink():
        return f"a link (to '{out.readlink()}')"
    if not out.is_dir():
        return "a file"
    if Path.cwd().is_relative_to(out.resolve()):
        return "the folder in which this command runs, or a folder above it"
    if out.resolve().is_mount():
        return "the root of a disk"
    if any(out.iterdir()) and not is_ours(out):
        return "a folder that chatdata did not build"
    return None


def _recover(out: Path) -> None:
    """Puts an earlier `out` back that a killed process had moved away."""
    for old in _beside(out, "old"):
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(out)


def _sweep(out: Path) -> None:
    """Removes what a killed build has left beside `out`."""
    for stale in _beside(out, "partial"):
        with contextlib.suppress(OSError), locked(stale):
            shutil.rmtree(stale)


def _beside(out: Path, suffix: str) -> list[Path]:
    """The folders that `new_folder` has made for `out`, with this suffix."""
    made = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.{suffix}")
    return sorted(path for path in out.parent.iterdir() if made.fullmatch(path.name))


@contextlib.contextmanager
def locked(folder: Path, *, waits: bool = False) -> Iterator[None]:
    """Holds the lock of a folder. Where another process holds the lock, it waits, or raises
    OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    """Writes everything in a folder through to the disk, some files at a time."""
    with ThreadPoolExecutor(_SYNCED, "chatdata-sync") as threads:
        for _ in threads.map(_sync_file, [*folder.rglob("*"), folder]):
            pass


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def removing(folder: Path) -> Iterator[None]:
    """Removes a folder while the block runs, and waits until it is gone."""
    with ThreadPoolExecutor(1, "chatdata-remove") as thread:
        removed = thread.submit(shutil.rmtree, folder)
        yield
        removed.result()


def _move(work: Path, out: Path) -> None:
    """Puts `work` in the place of `out`. An earlier `out` is then at `work`, or is removed."""
    if not out.exists():
        _rename_new(work, out)
    elif not _exchange(work, out):
        _replace_in_two_steps(work, out)


def _rename_new(work: Path, out: Path) -> None:
    try:
        work.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise OutputError(
            f"'{out}' appeared while it was written, by another process; choose another --out."
        ) from None


def _exchange(first: Path, second: Path) -> bool:
    """Lets two folders change places in one step. Returns whether the system can do so."""
    libc = ctypes.CDLL(None, use_errno=True)
    places = (os.fsencode(first.absolute()), os.fsencode(second.absolute()))
    if hasattr(libc, "renameat2"):  # Linux: RENAME_EXCHANGE is 2, the folders are ignored
        failed = libc.renameat2(-1, places[0], -1, places[1], 2)
    elif hasattr(libc, "renamex_np"):  # macOS: RENAME_SWAP is 2
        failed = libc.renamex_np(*places, 2)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # not on this disk
        return False
    raise OSError(number, os.strerror(number))


def _replace_in_two_steps(work: Path, out: Path) -> None:
    """Replaces `out`; it comes back if that fails, or by `_recover` after a kill."""
    old = work.with_suffix(".old")
    out.rename(old)
    try:
        work.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
