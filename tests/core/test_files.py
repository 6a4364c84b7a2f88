"""Files and folders that are either complete or absent."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from chatdata.core import files
from chatdata.core.errors import OutputError

MARKER = "finished.json"


def finish(folder: Path, text: str = "{}") -> None:
    (folder / MARKER).write_text(text)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_ends_well_becomes_the_folder(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a" / "out", MARKER) as work:
        finish(work)
        assert not (tmp_path / "a" / "out").exists()
    assert left(tmp_path / "a") == ["out"]
    assert left(tmp_path / "a" / "out") == [MARKER]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        files.new_folder(tmp_path / "out", MARKER) as work,
    ):
        (work / "file").write_text(str(1 / 0))
    assert left(tmp_path) == []


def test_a_finished_build_is_replaced_and_survives_a_failure(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with files.new_folder(tmp_path / "out", MARKER) as work:
            finish(work, text)
    assert (tmp_path / "out" / MARKER).read_text() == "2"
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "out", MARKER):
        _ = 1 / 0
    assert (tmp_path / "out" / MARKER).read_text() == "2"
    assert left(tmp_path) == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with files.new_folder(tmp_path / "out", MARKER) as work:
        finish(work)
    assert left(tmp_path / "out") == [MARKER]


def test_foreign_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "file").write_text("")
    for name, words in (("mine", "did not build"), ("file", "is a file")):
        with (
            pytest.raises(OutputError, match=words),
            files.new_folder(tmp_path / name, MARKER),
        ):
            pass
    assert left(tmp_path) == ["file", "mine"]
    with (
        pytest.raises(OutputError, match="cannot write"),
        files.new_folder(tmp_path / "file" / "x", MARKER),
    ):
        pass


def _die(out: Path) -> None:
    with files.new_folder(out, MARKER) as work:
        (work / "half").write_text("")
        os.kill(os.getpid(), 9)


def test_what_a_killed_build_left_is_swept_and_a_running_one_is_not(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path / "out",))
    process.start()
    process.join()
    assert len(left(tmp_path)) == 1
    with files.new_folder(tmp_path / "out", MARKER) as first:
        assert left(tmp_path) == [first.name]
        with files.new_folder(tmp_path / "out", MARKER) as second:
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
