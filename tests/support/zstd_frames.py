"""Files of Zstandard in several frames, of all kinds that a header may tell of."""

from __future__ import annotations

import random
import struct

import pyarrow as pa

_MAGIC = struct.pack("<I", 0xFD2FB528)


def stream(content: bytes) -> bytes:
    """A frame as a stream writes it, which does not say how long its content is."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


def sized(content: bytes) -> bytes:
    """A frame that says how long its content is, in 1, 2, 4 or 8 bytes."""
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def blocks(content: bytes, size: int = 50) -> bytes:
    """A frame of blocks of some bytes as they are, and of a byte that is repeated."""
    parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    made = _MAGIC + b"\x00\x58"
    for part in parts:
        kind = 1 if len(part) > 1 and len(set(part)) == 1 else 0
        facts = (part is parts[-1]) | kind << 1 | len(part) << 3
        made += facts.to_bytes(3, "little") + (part[:1] if kind else part)
    return made


def without_data(content: bytes, kind: int = 0) -> bytes:
    """A frame that holds bytes of somebody else, of 16 kinds."""
    return struct.pack("<II", 0x184D2A50 + kind, len(content)) + content


def pack(content: bytes, draw: random.Random, frames: int = 8) -> bytes:
    """Content in frames of random kinds and sizes, some empty, with frames without data between."""
    cuts = sorted(draw.randint(0, len(content)) for _ in range(frames - 1))
    made = without_data(b"", 3) if draw.random() < 0.3 else b""
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        made += draw.choice([stream, sized, blocks])(content[start:end])
        if draw.random() < 0.3:
            made += without_data(draw.randbytes(draw.choice([0, 4, 300])), draw.randrange(16))
        if draw.random() < 0.2:
            made += draw.choice([stream, sized, blocks])(b"")
    return made
