"""A pack that is killed at any step, or that runs beside others, leaves a folder to rely on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chatdata import build_dataset, load_recipe, read_manifest
from chatdata.core.errors import VerifyError
from chatdata.dataset import pack
from chatdata.dataset.pack import repack
from chatdata.verify.verification import verify_folder

pytestmark = pytest.mark.slow

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"}  # of Python, by audit event
MOST_STEPS = 200


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    settings = ["render.max_tokens=700", "render.overflow=cut", "pack.max_tokens=900"]
    build_dataset(load_recipe("sample", settings), out)
    return out


def in_child(work: Callable[[], object]) -> int:
    """The number of a process that works, and ends with status 0 if the work ends well."""
    number = os.fork()
    if number:
        return number
    try:
        signal.alarm(100)  # no test waits for ever
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def is_killed(child: int) -> bool:
    """Whether a child was killed, when it has ended; it must end well if not."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def killed_at(step: int, folder: Path, work: Callable[[], object]) -> None:
    """Works, and is killed before the step of this number that changes a file of the folder."""
    steps = iter(range(MOST_STEPS))

    def count(event: str, arguments: tuple[object, ...]) -> None:
        is_read = event == "open" and arguments[1] in ("r", "rb")
        is_here = event in STEPS and str(folder) in str(arguments[0]) and not is_read
        is_step = event == "fcntl.flock" or is_here
        if is_step and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    work()


def pack_anew(folder: Path) -> None:
    repack(folder, 2048)


def pack_in_other_bytes(folder: Path) -> None:
    """As by another version of a library, which compresses in another way."""
    pack.PARQUET = {**pack.PARQUET, "compression": "gzip"}  # type: ignore[attr-defined]
    repack(folder, 900)


def pack_with_half_a_write(folder: Path) -> None:
    """Is killed when half of an index is written."""

    def write(table: object, path: Path, **options: object) -> None:
        path.write_bytes(b"PAR1")
        os.kill(os.getpid(), signal.SIGKILL)

    pq.write_table = write
    repack(folder, 2048)


def is_sound(folder: Path) -> bool:
    try:
        verify_folder(folder)
    except VerifyError:
        return False
    return not list(folder.rglob(".*"))


def check_mends(folder: Path) -> None:
    """The folder is sound, or is so after the next pack, whatever that packs for."""
    if not is_sound(folder):
        repack(folder, 1500)
        verify_folder(folder)
        assert not list(folder.rglob(".*"))
    assert [entry["max_tokens"] for entry in read_manifest(folder)["packs"]][:2] == [900, 900]


@pytest.mark.slow
@pytest.mark.parametrize("work", [pack_anew, pack_in_other_bytes])
def test_a_kill_at_any_step(work: Callable[[Path], None], built: Path, tmp_path: Path) -> None:
    for step in range(MOST_STEPS):
        folder = tmp_path / str(step)
        shutil.copytree(built, folder)
        child = in_child(lambda at=step, out=folder: killed_at(at, out, lambda: work(out)))  # type: ignore[misc]
        was_killed = is_killed(child)
        check_mends(folder)
        if not was_killed:
            break
    assert step >= 8


def test_a_kill_within_a_write(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(built, folder)
    assert is_killed(in_child(lambda: pack_with_half_a_write(folder)))
    assert list(folder.rglob(".*"))
    check_mends(folder)


def test_packs_at_the_same_time_are_all_there(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(built, folder)
    sizes = [1000, 1100, 1200, 1000, 1300, 1400]
    children = [in_child(lambda to=size: repack(folder, to)) for size in sizes]  # type: ignore[misc]
    assert [is_killed(child) for child in children] == [False] * len(sizes)
    listed = {entry["max_tokens"] for entry in read_manifest(folder)["packs"]}
    assert listed == {900, *sizes}
    assert is_sound(folder)


def test_a_file_that_is_no_index_stays(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(built, folder)
    names = ["train-x.parquet", "notes.txt", ".hidden", "dev-900.parquet"]
    for name in names:
        (folder / "packs" / name).write_text("mine")
    (folder / "train-1000.parquet").write_text("mine")
    repack(folder, 2048)
    assert all((folder / "packs" / name).read_text() == "mine" for name in names)
    assert (folder / "train-1000.parquet").read_text() == "mine"
