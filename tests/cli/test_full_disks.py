"""A full or read-only disk ends a command in one sentence, and leaves nothing half-written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main
from tests.support.builds import files
from tests.support.disks import fill, make_read_only, small_disk

pytestmark = pytest.mark.slow

READING = [["show"], ["stats"], ["verify"], ["verify", "--full"]]
WRITING = [["report"], ["pack", "--max-tokens", "3000"]]
SENTENCE = {"full": "is full; make room", "read-only": "on a disk that can only be read"}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sentence(done: Result) -> str:
    """What a command says that ends with status 1: a sentence, without a traceback."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    return last


@pytest.mark.parametrize("state", SENTENCE)
def test_a_folder_on_such_a_disk(state: str, sample: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**23) as disk:
        out = disk / "out"
        shutil.copytree(sample, out)
        {"full": fill, "read-only": make_read_only}[state](disk)
        before = files(disk)
        for command, *options in READING:
            assert run(command, out, *options).exit_code == 0, command
        for command, *options in WRITING:
            words = sentence(run(command, out, *options))
            assert f"'{out}'" in words
            assert SENTENCE[state] in words
        assert files(disk) == before


@pytest.mark.parametrize("size", [4, 64, 128])
@pytest.mark.parametrize("command", [["check", "sample"], ["verify", "OUT", "--rebuild"]])
def test_no_room_for_temporary_files(
    command: list[str], size: int, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that is verified is not to blame."""
    with small_disk(tmp_path / "disk", size * 1024) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        done = run(*(str(sample) if word == "OUT" else word for word in command))
        if size < 100 or "--rebuild" in command:
            words = sentence(done)
            assert words.endswith(
                f"the disk of '{disk}' is full; make room, or set TMPDIR to a folder on another "
                "disk."
            )
            assert "fails its verification" not in done.output
        assert not files(disk)
