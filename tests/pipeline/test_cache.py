"""The cache: an entry is whole or not there, the oldest go first, nobody else may write to it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.core import cache_folder
from chatdata.core.errors import OutputError
from chatdata.pipeline import cache, stage
from chatdata.pipeline.cache import Cache, Kept

NOISE = os.urandom(5000)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    made = cache.open_cache()
    assert made is not None
    return made


def kept(size: int = 5000) -> Kept:
    return Kept({"a": 1}, {"x.arrow": NOISE[:size]})


def test_what_was_kept_is_there_again(opened: Cache) -> None:
    assert opened.load("first", "aa1") is None
    opened.save("first", "aa1", kept())
    assert opened.load("first", "aa1") == kept()
    assert opened.load("second", "aa1") is None


@pytest.mark.parametrize("change", ["cut", "flip", "mark", "empty"])
def test_a_damaged_entry_is_none(opened: Cache, change: str) -> None:
    opened.save("first", "aa1", kept())
    (entry,) = opened.entries()
    data = bytearray(entry.path.read_bytes())
    if change == "flip":
        data[len(data) // 2] ^= 1
    if change == "mark":
        data[0] ^= 1
    entry.path.write_bytes({"cut": data[:-1], "empty": b""}.get(change, data))
    assert opened.load("first", "aa1") is None
    assert opened.entries() == []
    opened.save("first", "aa1", kept())
    assert opened.load("first", "aa1") == kept()


def test_long_arrays_that_differ_in_their_middle_have_keys_of_their_own() -> None:
    """numpy writes neither."""
    arrays = [np.zeros(5000, np.int32), np.zeros(5000, np.int32), np.zeros((2, 2500), np.int32)]
    arrays[1][2500] = 1
    keys = {"".join(stage._plain([array])) for array in arrays}
    assert len(keys) == len(arrays)


def test_those_that_were_used_longest_ago_go_first(opened: Cache) -> None:
    for number, key in enumerate(["aa1", "bb2", "cc3"]):
        opened.save("first", key, kept())
        os.utime(opened.entries()[-1].path, (number, number))
    assert opened.load("first", "aa1")
    opened.set_limit(2 * opened.entries()[0].bytes)
    assert [opened.load("first", key) is not None for key in ("aa1", "bb2", "cc3")] == [
        *(True, False, True)
    ]
    opened.set_limit(0)
    assert opened.entries() == []


def test_what_a_killed_build_left_goes_later(opened: Cache) -> None:
    opened.save("first", "aa1", kept())
    left, new = (opened.entries()[0].path.with_name(name) for name in ("tmpold", "tmpnew"))
    left.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(left, (0, 0))
    opened.tidy()
    assert (left.exists(), new.exists()) == (False, True)


def test_a_quarter_of_the_disk_is_the_most(opened: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.save("first", "aa1", kept())
    size = opened.entries()[0].bytes
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: Usage(3 * size))
    assert opened.limit() == size
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: Usage(100))
    opened.save("first", "bb2", kept())
    assert [entry.stage for entry in opened.entries()] == ["first"]


class Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_only_its_user_may_use_it(opened: Cache, tmp_path: Path) -> None:
    assert opened.folder.stat().st_mode & 0o777 == 0o700
    opened.save("first", "aa1", kept())
    entry = opened.entries()[0]
    assert entry.path.parent.stat().st_mode & 0o077 == 0
    assert entry.path.stat().st_mode & 0o077 == 0
    opened.folder.chmod(0o777)
    with pytest.raises(OutputError, match="others may write to the cache"):
        cache.open_cache()


@pytest.mark.parametrize("words", [["--clear"], ["--limit", "0kB"], []])
def test_a_folder_of_others_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Whoever names a folder with files loses none of them."""
    thesis = tmp_path / "work" / "texts" / "2026" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("mine")
    os.utime(thesis, (0, 0))
    (tmp_path / "work").chmod(0o755)
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "work"))
    refused = CliRunner().invoke(main, ["cache", *words])
    assert "holds files that are not chatdata's" in refused.output
    assert "set CHATDATA_CACHE to an empty folder" in refused.output
    assert thesis.read_text() == "mine"
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["texts"]
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o755


def test_the_mark_of_another_program_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path))
    mark = tmp_path / cache_folder.MARK
    mark.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n")
    with pytest.raises(OutputError, match="not chatdata's"):
        cache.open_cache()
    mark.write_bytes(b"")  # as another process of ours leaves it for a moment
    assert cache.open_cache() == cache.open_cache() == Cache(tmp_path)


def test_a_cache_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="cannot be made: Not a directory"):
        cache.open_cache()


def test_no_build_ends_for_want_of_a_cache_that_nobody_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that cannot be written, as in many containers, or that nobody knows."""
    (tmp_path / "home").write_text("")
    monkeypatch.delenv(cache_folder.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.open_cache() is None
    why = f"the cache '{tmp_path}/home/.cache/chatdata' cannot be made: Not a directory"
    assert f"nothing is kept: {why}" in CliRunner().invoke(main, ["cache"]).output
    built = CliRunner().invoke(main, ["build", "sample", "--out", str(tmp_path / "out")])
    assert built.exit_code == 0, built.output
    words = f"nothing is kept for the next time: {why}; set CHATDATA_CACHE to a folder\n"
    assert built.stderr.startswith(words)
    monkeypatch.setattr(Path, "home", nobody_knows)
    assert cache.open_cache() is None
    assert "the home folder of this user is not known" in (cache_folder.missing() or "")


def nobody_knows() -> Path:
    raise RuntimeError("Could not determine home directory.")  # as pathlib does


def test_the_cache_of_another_user_is_named_as_such(
    opened: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chmod` would be no way out."""
    monkeypatch.setattr(os, "getuid", lambda: opened.folder.stat().st_uid + 1)
    with pytest.raises(OutputError, match="belongs to another user; set CHATDATA_CACHE to a fol"):
        cache.open_cache()


def test_what_is_removed_or_added_while_a_cache_is_cleared_is_no_matter(
    opened: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two `chatdata cache --clear` at once, and a build beside them, do it."""
    for key in ("aa1", "bb1", "cc1"):
        opened.save("first", key, kept())
    unlink, rmdir = os.unlink, os.rmdir

    def first_by_another(path: Any, **options: Any) -> None:
        unlink(path, **options)
        unlink(path, **options)

    def after_an_addition(path: Any, **options: Any) -> None:
        if path == "cc":
            opened.save("first", "cc2", kept())
        rmdir(path, **options)

    monkeypatch.setattr(os, "unlink", first_by_another)
    monkeypatch.setattr(os, "rmdir", after_an_addition)
    opened.clear()
    assert [entry.path.stem for entry in opened.entries()] == ["cc2"]


def test_an_entry_that_cannot_be_removed_is_named(
    opened: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.save("first", "aa1", kept())

    def refused(path: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(OutputError, match=r"aa1.entry' of the cache cannot be removed: Permission"):
        opened.clear()


def test_the_command_shows_limits_and_clears(opened: Cache) -> None:
    def shown(*words: str) -> str:
        result = CliRunner().invoke(main, ["cache", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "nothing is kept" in shown()
    opened.save("first-pass", "aa1", kept())
    os.utime(opened.entries()[0].path, (0, 0))
    assert f"{opened.folder}: 5." in shown()
    opened.save("first-pass-layers", "aa1", kept())
    rows = shown().splitlines()[1:]
    assert "first pass             1 entries     5." in rows[0]
    assert len(rows) == 2
    assert len({line.index("entries") for line in rows}) == 1
    assert "last used 1970-01-01" in shown()
    assert '"limit": 6000' in shown("--limit", "6kB", "--json")
    assert "9 B" in shown("--limit", "9 b")
    assert "a quarter of the free disk" in shown("--limit", "9000TB")
    assert '"limit": 6000' in shown("--limit", "6kB", "--json")
    assert "nothing is kept" in shown("--clear")
    assert '"limit": 6000' in shown("--json")
    refused = CliRunner().invoke(main, ["cache", "--limit", "much"])
    assert "'much' is not a size; write 500MB or 10GB." in refused.output


def test_off_is_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, "off")
    assert cache.open_cache() is None
    assert "CHATDATA_CACHE is off" in CliRunner().invoke(main, ["cache"]).output
    assert json.loads(CliRunner().invoke(main, ["cache", "--json"]).output)["folder"] is None
    monkeypatch.delenv(cache_folder.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder.place() == tmp_path / "chatdata"
