"""Bytes of files that are packed by Zstandard, or written in UTF-16, as they are needed."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import Any

from chatdata.sources.batches import Frame

_PIECE = 1 << 18
_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces; `damage` names what is wrong with a file that broke off."""

    damage = ""

    def __init__(self) -> None:
        self._left = memoryview(b"")

    def _next(self) -> bytes:
        raise NotImplementedError

    def readable(self) -> bool:
        """True: bytes can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The number of bytes that were read into a buffer; 0 at the end, or at the damage."""
        if not self._left:
            self._left = memoryview(self._next())
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class Unzstd(_Pieces):
    """The bytes of a file that Zstandard has packed, from a frame on. A damaged file ends at the
    damage."""

    def __init__(self, path: Path, start: int = 0) -> None:
        super().__init__()
        self._path, self._start = path, start
        self._given = 0
        self._file = self._opened()

    def _opened(self) -> Any:
        import pyarrow as pa

        file = pa.OSFile(str(self._path))
        file.seek(self._start)
        return pa.CompressedInputStream(file, "zstd")

    def _next(self) -> bytes:
        if self.damage:  # behind an error PyArrow gives bytes that nobody has packed, without end
            return b""
        try:
            piece = bytes(self._file.read(_PIECE))
        except OSError as error:
            self.damage = str(error)
            return self._before_damage()
        self._given += len(piece)
        return piece

    def _before_damage(self) -> bytes:
        """What an error in a piece has lost, byte by byte."""
        self._file.close()
        self._file = self._opened()
        piece = bytearray()
        try:
            for _ in range(self._given // _PIECE):
                self._file.read(_PIECE)
            self._file.read(self._given % _PIECE)
            while byte := self._file.read(1):
                piece += byte
        except OSError:
            pass
        return bytes(piece)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


class UnzstdFrames(io.RawIOBase):
    """The bytes of a file that Zstandard has packed, from a frame on, by their places in the whole.
    To go back unpacks again. The file was unpacked before: damage raises OSError."""

    def __init__(self, path: Path, frame: Frame) -> None:
        self._path, self._frame = path, frame
        self._begin()

    def _begin(self) -> None:
        self._bytes, self._at = Unzstd(self._path, self._frame.packed), self._frame.unpacked

    def readable(self) -> bool:
        """True: bytes can be read."""
        return True

    def seekable(self) -> bool:
        """True: any byte behind the beginning of the frame can be moved to."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The number of bytes that were read into a buffer; 0 at the end."""
        size = self._bytes.readinto(buffer)
        if self._bytes.damage:
            raise OSError(self._bytes.damage)
        self._at += size
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a byte of the whole, or `offset` bytes on. Returns where that is."""
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._frame.unpacked:
            raise io.UnsupportedOperation(f"byte {target} is before {self._frame}")
        if target < self._at:
            self._bytes.close()
            self._begin()
        while self._at < target and self.read(min(target - self._at, _PIECE)):
            pass
        return self._at

    def close(self) -> None:
        """Closes the file."""
        self._bytes.close()
        super().close()


class Utf8(_Pieces):
    """A stream of UTF-16 as UTF-8. What is no UTF-16 becomes bytes that are no UTF-8."""

    def __init__(self, raw: io.BufferedReader, encoding: str) -> None:
        super().__init__()
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def _next(self) -> bytes:
        while packed := self._raw.read(_PIECE):
            if words := self._decoder.decode(packed):
                return _encoded(words)
        self.damage = getattr(self._raw.raw, "damage", "")
        return _encoded(self._decoder.decode(b"", final=True))

    def close(self) -> None:
        """Closes the stream."""
        self._raw.close()
        super().close()


def _encoded(words: str) -> bytes:
    return words.encode().replace("\ufffd".encode(), b"\xff")


def as_utf8(file: io.BufferedReader, size: int) -> io.BufferedReader:
    """A file as UTF-8, with a buffer of this size: the file itself unless it begins with the mark
    of UTF-16."""
    encoding = _MARKS.get(file.peek(2)[:2])
    if encoding is None:
        return file
    file.read(2)
    return io.BufferedReader(Utf8(file, encoding), size)
