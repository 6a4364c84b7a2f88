"""Gzip files, also damaged ones: all bytes that stand before the damage, and what is wrong."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PACKED = 1 << 16  # bytes that are unpacked at a time
_UNPACKED = 1 << 20  # that may come of them at a time
_GZIP = 31  # of zlib: a gzip header, and its check sum


class Gunzip(io.RawIOBase):
    """The bytes of a gzip file. A damaged file ends at the damage, which `damage` then names."""

    def __init__(self, path: Path) -> None:
        self.damage = ""
        self._file = path.open("rb")
        self._pieces = self._unpacked(self._file)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """True: bytes can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The number of bytes that were read into a buffer; 0 at the end, or at the damage."""
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        """Yields the unpacked bytes in pieces that are not empty."""
        packed = file.read(_PACKED)
        while packed and not self.damage:
            member = zlib.decompressobj(_GZIP)
            while not member.eof and not self.damage:
                if not packed:
                    self.damage = "it ends before the end of what was packed"
                    return
                before = member.copy()
                try:
                    piece = member.decompress(packed, _UNPACKED)
                except zlib.error as error:
                    piece = _before_damage(before, packed)
                    self.damage = str(error)
                if piece:
                    yield piece
                packed = member.unconsumed_tail or (b"" if member.eof else file.read(_PACKED))
            packed = _without_padding(member.unused_data, file)


def _before_damage(member: zlib._Decompress, packed: bytes) -> bytes:
    """What can be unpacked of bytes that are damaged somewhere, byte by byte."""
    unpacked = bytearray()
    try:
        for number in range(len(packed)):
            unpacked += member.decompress(packed[number : number + 1])
    except zlib.error:
        return bytes(unpacked)
    return bytes(unpacked)


def _without_padding(packed: bytes, file: BinaryIO) -> bytes:
    """The bytes behind a member, without the zeros that some programs write there."""
    packed = packed.lstrip(b"\0")
    while not packed and (more := file.read(_PACKED)):
        packed = more.lstrip(b"\0")
    return packed
