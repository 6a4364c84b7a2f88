"""The alphabet of byte-level vocabularies."""

from __future__ import annotations


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary, as GPT-2 chose them."""
    unchanged = {*range(33, 127), *range(161, 173), *range(174, 256)}
    substitutes = iter(range(256, 512))
    return [chr(byte if byte in unchanged else next(substitutes)) for byte in range(256)]
