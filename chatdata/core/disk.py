"""Full disks, files that may not be opened or written, and memory that is used up, in words."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from chatdata.core.errors import ChatdataError, OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS}
_REFUSED = {errno.EACCES, errno.EPERM}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}
_OF_RUST = re.compile(r"\(os error (\d+)\)(?:: (.+))?")  # so Polars writes the number and the file
_LITTLE = 2**20  # bytes: a disk with less is taken for the full one
_NO_TEMPORARY = "No usable temporary directory"  # so `tempfile` begins


@contextlib.contextmanager
def in_words(places: Sequence[Path] = ()) -> Iterator[None]:
    """Raises OutputError in place of an error of the block that `problem` has words for."""
    try:
        yield
    except ChatdataError:
        raise
    except Exception as error:
        if (words := problem(error, places)) is None:
            raise
        raise OutputError(words) from error


def problem(error: BaseException, places: Sequence[Path] = ()) -> str | None:
    """What a disk or a file did to cause an error, with the way out; None for other errors.

    `places` are folders that may be on the full disk, where the error names no file.
    """
    cause: BaseException | None = error
    while cause is not None:
        if words := _words(cause, places):
            return words
        cause = _before(cause)
    return None


def is_full(error: BaseException) -> bool:
    """Whether a disk that is full, or cannot be written, caused an error."""
    return _number(error)[0] in _FULL | _READ_ONLY


def check_room(place: Path, needed: int, way_out: str | None = None) -> None:
    """Raises OutputError where the disk of a place has less room than `needed` bytes.

    The place may not exist yet. `way_out` is what the error advises, where no usual advice helps.
    """
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"the disk of '{place}' has room for {_in_units(free)}, and at least "
            f"{_in_units(needed)} are needed; {way_out or _way_out(_is_temporary(place))}."
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place / "file"))


def _in_units(size: int) -> str:
    return f"{size / 10**6:,.1f} MB" if size >= 10**6 else f"{size / 1000:,.1f} kB"


def _before(error: BaseException) -> BaseException | None:
    """The error that led to this error."""
    if isinstance(error, ChatdataError):  # raised `from None`, to be printed alone
        return error.__cause__ or error.__context__
    return error.__cause__


def _words(error: BaseException, places: Sequence[Path]) -> str | None:
    number, file = _number(error)
    if number in _FULL:
        return _full(file.parent if file else _fullest(places))
    if number in _READ_ONLY:
        place = f"'{file.parent}'" if file else "a file to write"
        return f"{place} is on a disk that can only be read; copy the folder to another disk."
    if number in _REFUSED:
        place = f"'{file}'" if file else "a file"
        return f"{place} may not be opened by this user; change its permissions, or copy the file."
    if isinstance(error, MemoryError):
        return "the memory is used up; use fewer --workers, or more memory."
    if number in _TOO_MANY:
        return "too many files are open at once; allow more, for example by `ulimit -n 1024`."
    if _NO_TEMPORARY in str(error):
        return f"temporary files cannot be written; {_way_out(temporary=True)}."
    return None


def _number(error: BaseException) -> tuple[int | None, Path | None]:
    """The number of an error of the system, and the file, as far as the error names them."""
    name = getattr(error, "filename", None)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, Path(name) if isinstance(name, str) else None
    if match := _OF_RUST.search(str(error)):
        return int(match[1]), Path(match[2]) if match[2] else None
    return None, None


def _full(place: Path | None) -> str:
    if place is None:
        return f"a disk is full; {_way_out(temporary=False)}."
    return f"the disk of '{place}' is full; {_way_out(_is_temporary(place))}."


def _way_out(temporary: bool) -> str:
    choice = "set TMPDIR to a folder" if temporary else "choose a folder"
    return f"make room, or {choice} on another disk"


def _is_temporary(place: Path) -> bool:
    """Whether a place is a folder for temporary files, or a folder of chatdata's in it."""
    folder = _temporary()
    return folder is not None and (place == folder or place.parent == folder)


def _temporary() -> Path | None:
    """The folder for temporary files, where there is room for a file."""
    with contextlib.suppress(FileNotFoundError):
        return Path(tempfile.gettempdir())
    return None


def _fullest(places: Sequence[Path]) -> Path | None:
    """The place with the least room, of those whose disks are as good as full."""
    rooms: dict[Path, int] = {}
    for place in filter(None, [*places, _temporary()]):
        with contextlib.suppress(OSError, ValueError):
            rooms[place] = shutil.disk_usage(place).free
    fullest = min(rooms, key=rooms.__getitem__, default=None)
    return fullest if fullest is not None and rooms[fullest] < _LITTLE else None
