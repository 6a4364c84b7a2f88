"""Splits of files of several Zstandard frames: how they are packed does not show."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chatdata.sources import _frames, cutting
from tests.support import zstd_frames
from tests.support.splits import FORMS, check, damaged

WHOLE = ("bom.json", "utf16.jsonl")


@pytest.mark.parametrize("name", FORMS)
def test_frames_do_not_show(tmp_path: Path, name: str) -> None:
    draw, path = random.Random(name), tmp_path / f"{name}.zst"
    path.write_bytes(zstd_frames.pack(FORMS[name], draw, frames=12))
    (tasks,) = check(tmp_path / "out", "sharegpt", [path], sizes=(draw.choice([60, 300]),))
    assert (len(tasks) > 1) is (name not in WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "lines.json", "within.json"])
def test_damaged_text_in_frames_is_the_same(tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    for number in range(3):
        path = tmp_path / f"{number}-{name}.zst"
        path.write_bytes(zstd_frames.pack(damaged(FORMS[name], draw), draw))
        check(tmp_path / str(number), "auto", [path], sizes=(90,))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_damaged_frames_are_read_as_a_whole(tmp_path: Path, name: str) -> None:
    draw, path = random.Random(name), tmp_path / f"{name}.zst"
    packed = zstd_frames.pack(FORMS[name], draw)
    for number, broken in enumerate((packed[:-1], packed + b"\0", spoiled(packed))):
        path.write_bytes(broken)
        (tasks,) = check(tmp_path / str(number), "sharegpt", [path], sizes=(60,))
        assert len(tasks) == 1


def spoiled(packed: bytes) -> bytes:
    """The file with a frame behind its last that unpacks to something else than it says."""
    frame = zstd_frames.sized(b"a" * 99)
    return packed + frame[:5] + bytes([98]) + frame[6:]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xef\xbb\xbf"])
def test_a_mark_within_the_text_is_none(tmp_path: Path, content: bytes) -> None:
    """A frame that begins as a file in UTF-16 would, or with a byte order mark."""
    lines = FORMS["a.jsonl"].splitlines(keepends=True)
    path = tmp_path / "a.jsonl.zst"
    texts = (b"".join(lines[:4]), content + b"".join(lines[4:]))
    path.write_bytes(b"".join(map(zstd_frames.sized, texts)))
    (tasks,) = check(tmp_path / "out", "sharegpt", [path], sizes=(60,))
    assert len(tasks) == 2


def test_tables_are_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zst"
    rows = [b"question,answer\n", *(b"q%d,a%d\n" % (number, number) for number in range(60))]
    path.write_bytes(b"".join(map(zstd_frames.sized, rows)))
    (tasks,) = check(tmp_path / "out", "auto", [path], sizes=(60,))
    assert len(tasks) == 1


def test_a_single_frame_is_not_unpacked_and_a_small_file_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstd_frames.without_data(b"x") + zstd_frames.stream(FORMS["a.jsonl"]))
    monkeypatch.setattr(_frames, "unpacked", None)
    (tasks,) = check(tmp_path / "single", "sharegpt", [path], sizes=(60,))
    assert len(tasks) == 1
    monkeypatch.setattr(_frames, "starts", None)
    size = path.stat().st_size * cutting._SMALLER
    (tasks,) = check(tmp_path / "small", "sharegpt", [path], sizes=(size,))
    assert len(tasks) == 1
