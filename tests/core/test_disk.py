"""What disks do, in words: the place and the way out, whoever raised the error."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chatdata.core import disk
from chatdata.core.errors import OutputError, SourceError


def of_system(number: int, *name: str) -> OSError:
    return OSError(number, os.strerror(number), *name)


ANOTHER_DISK = "make room, or choose a folder on another disk"
WORDS: list[tuple[BaseException, str]] = [
    (
        of_system(errno.ENOSPC, "/d/out/.m.partial"),
        f"the disk of '/d/out' is full; {ANOTHER_DISK}.",
    ),
    (of_system(errno.EDQUOT, "/d/out/m"), f"the disk of '/d/out' is full; {ANOTHER_DISK}."),
    (
        of_system(errno.EROFS, "/d/out/m"),
        "'/d/out' is on a disk that can only be read; copy the folder to another disk.",
    ),
    (
        of_system(errno.EACCES, "/d/out/m"),
        "'/d/out/m' may not be opened by this user; change its permissions, or copy the file.",
    ),
    (
        OSError(errno.EMFILE, "Failed to open local file 'x'. Detail: [errno 24] Too many"),
        "too many files are open at once; allow more, for example by `ulimit -n 1024`.",
    ),
    (OSError("No space left on device (os error 28)"), f"a disk is full; {ANOTHER_DISK}."),
    (
        ValueError("Permission denied (os error 13): /d/x.parquet"),
        "'/d/x.parquet' may not be opened by this user; change its permissions, or copy the file.",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
        "temporary files cannot be written; make room, or set TMPDIR to a folder on another disk.",
    ),
]


@pytest.mark.parametrize(("error", "words"), WORDS)
def test_an_error_says_where_and_what_to_do(error: BaseException, words: str) -> None:
    assert disk.problem(error) == words
    with pytest.raises(OutputError) as raised, disk.in_words():
        raise error
    assert str(raised.value) == words


def test_temporary_files_have_a_way_out_of_their_kind(tmp_path: Path) -> None:
    error = of_system(errno.ENOSPC, str(Path(tempfile.gettempdir()) / "chatdata-x" / "part"))
    assert "set TMPDIR to a folder on another disk" in (disk.problem(error) or "")


@pytest.mark.parametrize(
    "error", [ValueError("x"), of_system(errno.ENOENT, "x"), OSError("x"), KeyError(28)]
)
def test_errors_of_another_kind_stay(error: Exception) -> None:
    assert disk.problem(error) is None
    with pytest.raises(type(error)) as raised, disk.in_words():
        raise error
    assert raised.value is error


def _in_a_row(first: Callable[[], BaseException]) -> BaseException:
    try:
        try:
            raise of_system(errno.ENOSPC, "/d/out/m")
        except OSError:
            raise first() from None
    except Exception as error:
        return error


def test_an_error_in_words_keeps_them_and_its_cause_is_known() -> None:
    """`verify --rebuild` asks, so that a full disk is no fault of the folder."""
    error = _in_a_row(lambda: SourceError("cannot read 'x'."))
    assert "the disk of '/d/out' is full" in (disk.problem(error) or "")
    with pytest.raises(SourceError, match="cannot read 'x'"), disk.in_words():
        raise error


def test_a_bug_after_a_full_disk_is_a_bug() -> None:
    assert disk.problem(_in_a_row(lambda: KeyError("x"))) is None


def test_room_that_is_missing_is_named_beforehand(tmp_path: Path) -> None:
    disk.check_room(tmp_path, 1)
    with pytest.raises(OutputError) as raised:
        disk.check_room(tmp_path / "not" / "yet", 2**70)
    begin, middle, end = str(raised.value).partition("B, and at least ")
    assert begin.startswith(f"the disk of '{tmp_path}/not/yet' has room for ")
    assert middle
    assert end.startswith("1,180,591,620,717,411.2 MB are needed; make room, or ")
