"""A full or read-only disk ends a command in one sentence, and leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main
from chatdata.pipeline import preview
from chatdata.pipeline.context import BuildContext
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
            assert f"the disk of '{disk}" in words
            assert words.endswith("; make room, or set TMPDIR to a folder on another disk.")
            assert "fails its verification" not in done.output
        assert not files(disk)


def test_a_build_that_can_have_no_room_does_not_begin(sample: Path, tmp_path: Path) -> None:
    """A build writes more than it reads, and a rendering about what the folder holds."""
    answer = {"role": "assistant", "content": "word " * 200}
    record = json.dumps({"messages": [{"role": "user", "content": "?"}, answer]})
    (tmp_path / "in.jsonl").write_text("\n".join([record] * 200))
    (tmp_path / "r.yaml").write_text("name: r\nversion: 1.0.0\nsource: {jsonl: {}}\n")
    build = ["build", tmp_path / "r.yaml", "--input", tmp_path / "in.jsonl"]
    render = ["render", sample, "--tokenizer", "bytes"]
    with small_disk(tmp_path / "disk", 16 * 1024) as disk:
        for command in (build, render):
            words = sentence(run(*command, "--out", disk / "out"))
            assert f"the disk of '{disk}' has room for " in words
            assert " kB, and at least " in words
            assert words.endswith("make room, or choose a folder on another disk.")
            assert not files(disk)


def test_a_build_needs_twice_the_room_of_its_input_and_that_of_a_shard(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "word " * 200}
    record = json.dumps({"messages": [{"role": "user", "content": "?"}, answer]})
    given = tmp_path / "in.jsonl"
    given.write_text("\n".join([record] * 500))
    (tmp_path / "r.yaml").write_text("name: r\nversion: 1.0.0\nsource: {jsonl: {}}\n")
    with small_disk(tmp_path / "disk", given.stat().st_size * 9 // 4) as disk:
        words = sentence(run("build", tmp_path / "r.yaml", "--input", given, "--out", disk / "out"))
        assert f"at least {2.4 * given.stat().st_size / 10**6:,.1f} MB are needed" in words
        assert not files(disk)


def test_room_that_temporary_files_leave_when_they_go_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full disk is named, though the error names no file and the disk is empty by then."""

    def run_out(context: BuildContext, *rest: object) -> None:
        fill(context.files.folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with small_disk(tmp_path / "disk", 2**22) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        monkeypatch.setattr(preview, "run_pipeline", run_out)
        words = sentence(run("check", "sample"))
        assert f"'{disk}" in words
        assert "set TMPDIR to a folder on another disk" in words
        assert not list(disk.iterdir())
