"""Frames of Zstandard: where they begin, what they unpack to, and what is no file of frames."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from chatdata.sources import _frames, cutting, jsonl
from chatdata.sources._streams import UnzstdFrames
from chatdata.sources.batches import Cut, File, Frame, Place
from tests.support import zstd_frames

# As `pzstd` packs two lines, `zstd --check` others from a file, and `zstd --no-check` again others.
OF_PZSTD = bytes.fromhex(
    "502a4d18 04000000 19000000 28b52ffd 0458 610000 68656c6c6f0a776f726c640a b50e8717"
)
CHECKED = bytes.fromhex("28b52ffd 240c 610000 68656c6c6f0a776f726c640a b50e8717")
UNCHECKED = bytes.fromhex("28b52ffd 200c 610000 68656c6c6f0a776f726c640a")


def test_frames_of_the_command_line_tools(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(OF_PZSTD + CHECKED + UNCHECKED)
    assert _frames.starts(path) == [0, 37, 62]
    assert _frames.starts(path, apart=40) == [0, 62]
    assert _frames.starts(path, apart=63) == []
    two_lines = b"hello\nworld\n"
    assert list(_frames.unpacked(path, [0, 37, 62])) == [
        (Frame(0, 0), two_lines),
        (Frame(37, 12), two_lines),
        (Frame(62, 24), two_lines),
    ]
    for at in range(37, 62):  # the second frame
        damaged = bytearray(path.read_bytes())
        damaged[at] ^= 1
        (tmp_path / "b.zst").write_bytes(damaged)
        assert unpacked(tmp_path / "b.zst") != two_lines * 3, f"a bit of byte {at} is wrong"


def unpacked(path: Path) -> bytes | None:
    """What a file unpacks to, frame by frame; nothing where that fails."""
    try:
        texts = _frames.unpacked(path, _frames.starts(path) or [0])
        return b"".join(text for _, text in texts)
    except OSError:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_is_not_all_frames_has_none(tmp_path: Path, seed: int) -> None:
    draw, path = random.Random(seed), tmp_path / "a.zst"
    content = draw.randbytes(200) + b"a" * 90 + "é日本\n".encode() * 70
    packed = zstd_frames.pack(content, draw)
    path.write_bytes(packed)
    starts = _frames.starts(path)
    assert len(starts) >= 8
    assert unpacked(path) == content
    ends = {*starts[2:]}
    for end in range(1, len(packed)):
        path.write_bytes(packed[:end])
        shorter = _frames.starts(path)
        assert shorter == starts[: len(shorter)]
        assert shorter or end not in ends
        text = unpacked(path) if shorter else b""
        assert text == content[: len(text or b"")]
    for junk in (b"\0", b"\0" * 9, b"junk", b"\x28\xb5\x2f\xfd"):
        path.write_bytes(packed + junk)
        assert _frames.starts(path) == []


def test_bytes_are_at_the_places_of_the_whole(tmp_path: Path) -> None:
    draw, path = random.Random(0), tmp_path / "a.zst"
    content = draw.randbytes(3000)
    path.write_bytes(zstd_frames.pack(content, draw))
    for frame, _ in _frames.unpacked(path, _frames.starts(path)):
        with io.BufferedReader(UnzstdFrames(path, frame), 64) as file:
            for _ in range(5):  # forward and back
                at = draw.randint(frame.unpacked, len(content))
                assert file.seek(at) == at
                assert file.read(200) == content[at : at + 200]


def test_a_file_that_was_damaged_since_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(CHECKED + UNCHECKED[:-1])
    with pytest.raises(OSError, match="Truncated"):
        UnzstdFrames(path, Frame(25, 12)).read(12)
    with pytest.raises(OSError, match="byte 11 is before"):
        UnzstdFrames(path, Frame(25, 12)).seek(11)


def test_pieces_begin_at_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that end within a line; places are those of the text, as if it were not packed."""
    monkeypatch.setattr(cutting, "SPLIT_BYTES", 20)
    lines = tmp_path / "a.jsonl.zst"
    texts = (b'{"a": 1}\n{"b": 2}\n{"c"', b": 3}\n", b'{"d": 4}\n{"e": 5}\n{"f"', b": 6}", b"")
    packed = [zstd_frames.sized(text) for text in texts]
    lines.write_bytes(b"".join(packed))
    assert cuts(lines) == [
        Cut("lines", 0, 27, 0, frame=Frame(0, 0)),
        Cut("lines", 27, 53, 3, frame=Frame(len(packed[0]), 22)),
    ]
    values = tmp_path / "a.json.zst"
    texts = (b"[" + b'{"a": 1}, ' * 8, b'{"a": 1}, ' * 9, b'{"a": 1}, ' * 6, b'{"a": 1}]')
    packed = [zstd_frames.sized(text) for text in texts]
    values.write_bytes(b"".join(packed))
    guess = {"place": Place(0, in_array=True), "is_guessed": True}
    second, third = (sum(map(len, packed[:number])) for number in (1, 2))
    assert cuts(values) == [
        Cut("values", 0, 64, frame=Frame(0, 0)),
        Cut("values", 64, 145, frame=Frame(0, 0), **guess),
        Cut("values", 145, 235, frame=Frame(second, 81), **guess),
        Cut("values", 235, 240, frame=Frame(third, 171), **guess),
    ]


def cuts(path: Path) -> list[Cut | None]:
    return [piece.cut for piece in cutting.pieces(File(path, path.name), jsonl.is_record)]
