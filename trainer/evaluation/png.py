"""Whether bytes that a stranger's program calls a PNG are one, before a browser sees them."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIDE = 10_000  # pixels
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs", b"sRGB", b"gAMA", b"cHRM", b"sBIT"}


def fault(data: bytes) -> str | None:
    """Why bytes are no PNG to show, or None. Chunks and their sums are read, not the picture."""
    if not data.startswith(SIGNATURE):
        return "no PNG"
    try:
        chunks = _chunks(data)
    except (struct.error, ValueError):
        return "a damaged PNG"
    if chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND" or len(chunks[0][1]) != 13:
        return "a damaged PNG"
    if max(size(data)) > _SIDE or min(size(data)) < 1:
        return f"a PNG of more than {_SIDE} pixels"
    return None


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def plain(data: bytes) -> bytes:
    """A PNG without its words: the picture alone, the same wherever it was drawn."""
    kept = [(name, body) for name, body in _chunks(data) if name in _KEPT]
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in kept)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, up to its end. Raises ValueError or struct.error for what is none."""
    chunks: list[tuple[bytes, bytes]] = []
    place = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        length, name = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        (total,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        if len(body) != length or zlib.crc32(name + body) != total:
            raise ValueError(name)
        chunks.append((name, body))
        place += 12 + length
    return chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
