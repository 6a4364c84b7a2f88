"""Frames of files that Zstandard has packed (RFC 8878): each unpacks by itself.

Where frames begin is told by their headers. What they unpack to, and whether they are damaged, is
known once they have been unpacked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chatdata.sources.batches import Frame

_MAGIC = 0xFD2FB528
_WITHOUT_DATA = range(0x184D2A50, 0x184D2A60)
_REPEATED = 1  # a block of a single byte
_PIECE = 1 << 18


def starts(path: Path, apart: int = 0) -> list[int]:
    """0, and where later frames with data begin, at least so many bytes apart; nothing where no
    later frame does, or the file is not all frames."""
    kept = [0]
    try:
        with path.open("rb") as file:
            for start in itertools.islice(_starts(file, path.stat().st_size), 1, None):
                if start - kept[-1] >= apart:
                    kept.append(start)
    except EOFError:
        return []
    return kept if len(kept) > 1 else []


def _starts(file: BinaryIO, size: int) -> Iterator[int]:
    """Yields where frames with data begin. Raises EOFError where the file does not end behind the
    last frame."""
    while (start := file.tell()) < size:
        magic = _number(file, 4)
        if magic == _MAGIC:
            yield start
            _skip_frame(file)
        elif magic in _WITHOUT_DATA:
            file.seek(_number(file, 4), 1)
        else:
            raise EOFError
    if file.tell() > size:
        raise EOFError


def _number(file: BinaryIO, size: int) -> int:
    if len(number := file.read(size)) < size:
        raise EOFError
    return int.from_bytes(number, "little")


def _skip_frame(file: BinaryIO) -> None:
    """Moves behind a frame, of which the magic number was read."""
    facts = _number(file, 1)
    has_window = not facts & 0x20
    size_of_dictionary = (0, 1, 2, 4)[facts & 3]
    size_of_size = (0 if has_window else 1, 2, 4, 8)[facts >> 6]
    file.seek(has_window + size_of_dictionary + size_of_size, 1)
    is_last = False
    while not is_last:
        block = _number(file, 3)
        is_last = bool(block & 1)
        file.seek(1 if block >> 1 & 3 == _REPEATED else block >> 3, 1)
    file.seek(4 if facts & 4 else 0, 1)


def unpacked(path: Path, starts: list[int]) -> Iterator[tuple[Frame, bytes]]:
    """Yields what a file unpacks to from each start up to the next, in pieces, with that start.

    Raises OSError where the file is damaged, behind what stands before the damage, or where frames
    do not end at a start.
    """
    import pyarrow as pa

    at = 0
    with pa.OSFile(str(path)) as file:
        for start, end in itertools.pairwise([*starts, file.size()]):
            frame = Frame(start, at)
            with pa.CompressedInputStream(file.get_stream(start, end - start), "zstd") as stream:
                while piece := stream.read(_PIECE):
                    yield frame, piece
                    at += len(piece)
