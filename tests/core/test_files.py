"""Files and folders that are either complete or absent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdata.core import files
from chatdata.core.errors import OutputError

MARKER = "finished.json"


def is_ours(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def finish(folder: Path, text: str = "{}") -> None:
    (folder / MARKER).write_text(text)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_ends_well_becomes_the_folder(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a" / "out", is_ours) as work:
        finish(work)
        assert not (tmp_path / "a" / "out").exists()
    assert left(tmp_path / "a") == ["out"]
    assert left(tmp_path / "a" / "out") == [MARKER]


def test_all_that_a_folder_holds_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def note(handle: int) -> None:
        assert not (tmp_path / "out").exists()
        written.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    with files.new_folder(tmp_path / "out", is_ours) as work:
        (work / "rows").mkdir()
        (work / "rows" / "a").write_text("a")
        finish(work)
    held = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert sorted(written) == sorted(path.stat().st_ino for path in held)


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        files.new_folder(tmp_path / "out", is_ours) as work,
    ):
        (work / "file").write_text(str(1 / 0))
    assert left(tmp_path) == []


def test_a_finished_build_is_replaced_and_survives_a_failure(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with files.new_folder(tmp_path / "out", is_ours) as work:
            finish(work, text)
    assert (tmp_path / "out" / MARKER).read_text() == "2"
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "out", is_ours):
        _ = 1 / 0
    assert (tmp_path / "out" / MARKER).read_text() == "2"
    assert left(tmp_path) == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with files.new_folder(tmp_path / "out", is_ours) as work:
        finish(work)
    assert left(tmp_path / "out") == [MARKER]


def test_foreign_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "file").write_text("")
    for name, words in (("mine", "did not build"), ("file", "is a file")):
        with (
            pytest.raises(OutputError, match=words),
            files.new_folder(tmp_path / name, is_ours),
        ):
            pass
    assert left(tmp_path) == ["file", "mine"]
    with (
        pytest.raises(OutputError, match="cannot write"),
        files.new_folder(tmp_path / "file" / "x", is_ours),
    ):
        pass


def _die(out: Path) -> None:
    with files.new_folder(out, is_ours) as work:
        (work / "half").write_text("")
        os.kill(os.getpid(), 9)


def test_what_a_killed_build_left_is_swept_and_a_running_one_is_not(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path / "out",))
    process.start()
    process.join()
    assert len(left(tmp_path)) == 1
    with files.new_folder(tmp_path / "out", is_ours) as first:
        assert left(tmp_path) == [first.name]
        with files.new_folder(tmp_path / "out", is_ours) as second:
            assert sorted([first.name, second.name]) == left(tmp_path)
            finish(second)
        finish(first)
    assert left(tmp_path) == ["out"]


def test_a_file_is_placed_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with files.place_file(path) as new:
        new.write_text("1")
        assert not path.exists()
    assert path.read_text() == "1"
    with pytest.raises(ZeroDivisionError), files.place_file(path) as new:
        new.write_text(str(1 / 0))
    assert (path.read_text(), left(path.parent)) == ("1", ["file"])
    for place, why in (
        (path / "a" / "page", f"'{path}' is a file"),
        (path.parent, "Is a directory"),
    ):
        words = f"^cannot write '{place}': {why}; choose another place.$"
        refused = pytest.raises(OutputError, match=words)
        with refused, files.place_file(place) as new:
            new.write_text("1")
    assert left(path.parent) == ["file"]


def replace(out: Path, text: str) -> None:
    with files.new_folder(out, is_ours) as work:
        finish(work, text)


def test_a_folder_that_is_replaced_is_never_missed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    replace(out, "0")
    seen, is_over = set(), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.add((out / MARKER).read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(50):
        replace(out, str(number))
    is_over.set()
    reader.join()
    assert seen <= {str(number) for number in range(50)}
    assert len(seen) > 1


STEPS = ["mkdtemp", "_sync", "_exchange", "_replace_in_two_steps", "rename", "chmod", "rmtree"]
MODULES: dict[str, Any] = {
    "mkdtemp": files.tempfile,
    "rename": Path,
    "chmod": files.os,
    "rmtree": files.shutil,
}


def _dying(function: Callable[..., Any], is_before: bool) -> Callable[..., Any]:
    def die(*args: Any, **options: Any) -> Any:
        if not is_before:
            function(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def _replace_and_die(out: Path, step: str, is_before: bool, exchanges: bool) -> None:
    if not exchanges:
        files._exchange = lambda *_: False
    module = MODULES.get(step, files)
    setattr(module, step, _dying(getattr(module, step), is_before))
    replace(out, "new")


def begun(out: Path) -> str:
    """What `out` holds when a folder in its place is begun, and given up."""
    text = ""
    with contextlib.suppress(ZeroDivisionError), files.new_folder(out, is_ours):
        text = (out / MARKER).read_text()
        raise ZeroDivisionError
    return text


@pytest.mark.slow
@pytest.mark.parametrize("exchanges", [True, False])
def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, exchanges: bool) -> None:
    """Without an exchange, what was moved away comes back before anything else is done."""
    context = multiprocessing.get_context("fork")
    killed = 0
    for step in STEPS:
        for is_before in (True, False):
            out = tmp_path / f"{step}{is_before}" / "out"
            replace(out, "old")
            arguments = (out, step, is_before, exchanges)
            process = context.Process(target=_replace_and_die, args=arguments)
            process.start()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
            if exchanges:
                assert (out / MARKER).read_text() in ("old", "new")
            assert begun(out) in ("old", "new")
            assert left(out.parent) == ["out"]
    assert killed >= 8


@pytest.mark.parametrize("kind", ["link", "folder above", "this folder"])
def test_what_can_not_be_replaced_is_refused_before_the_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(tmp_path / "a", "old")
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a" / ("b" if kind == "folder above" else ""))
    out = {"link": tmp_path / "link", "folder above": tmp_path / "a", "this folder": Path()}[kind]
    words = "is a link" if kind == "link" else "the folder in which this command runs"
    with pytest.raises(OutputError, match=words), files.new_folder(out, is_ours):
        pytest.fail("the work began")
    assert (tmp_path / "a" / MARKER).read_text() == "old"


def test_a_folder_that_appears_while_it_is_written_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def write_while_it_appears() -> None:
        with files.new_folder(out, is_ours) as work:
            finish(work)
            out.mkdir()
            (out / "thesis.tex").write_text("")

    with pytest.raises(OutputError, match="did not build"):
        write_while_it_appears()
    assert left(tmp_path) == ["out"]
    assert left(out) == ["thesis.tex"]


def test_names_are_not_patterns_and_a_neighbour_is_not_swept(tmp_path: Path) -> None:
    for neighbour in (".d.a.abcdefgh.partial", ".d1.abcdefgh.partial", ".d.notes.partial"):
        (tmp_path / neighbour).mkdir()
    for name in ("d", "d[1]", "d*"):
        replace(tmp_path / name, name)
        replace(tmp_path / name, f"{name}, again")
        assert (tmp_path / name / MARKER).read_text() == f"{name}, again"
    assert len(left(tmp_path)) == 6


def test_a_folder_is_removed_beside_other_work_and_gone_behind_it(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "rows").write_text("1")
    with files.removing(folder):
        (tmp_path / "made").write_text("2")
    assert left(tmp_path) == ["made"]


def test_what_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.removing(tmp_path / "none"):
        pass
