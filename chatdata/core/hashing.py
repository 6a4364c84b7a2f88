"""Hashes that are the same on every machine, in every process, in every version of Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl


def hash64(text: str, purpose: str) -> int:
    """An unsigned 64-bit hash of `text`; different purposes give independent hashes."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose.encode()[:16])
    return int.from_bytes(digest.digest(), "big")


def hash64_bytes(texts: Iterable[str], purpose: str) -> bytes:
    """The `hash64` of each text, eight bytes each, the highest first: in a third of the time."""
    start = hashlib.blake2b(digest_size=8, person=purpose.encode()[:16])
    digests = []
    for text in texts:
        hash_ = start.copy()
        hash_.update(text.encode())
        digests.append(hash_.digest())
    return b"".join(digests)


def hash_column(values: pl.Series, purpose: str) -> pl.Series:
    """The `hash64` of each string, as a UInt64 series. Equal strings are hashed once."""
    hashes = {text: hash64(text, purpose) for text in values.unique()}
    return pl.Series(values.name, [hashes[text] for text in values], dtype=pl.UInt64)


def fraction_column(values: pl.Series, purpose: str) -> pl.Series:
    """The `hash64` of each string as a number from 0 up to, but not including, 1."""
    return (hash_column(values, purpose) // 2**11).cast(pl.Float64) / 2**53


def digest_column(values: pl.Series) -> pl.Series:
    """A 128-bit hash of each string, in hexadecimal, as a String series."""
    hashes = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in values]
    return pl.Series(values.name, hashes, dtype=pl.String)


def beginnings(owners: pl.Series, texts: pl.Series) -> pl.Series:
    """A 128-bit hash, in hexadecimal, of each text and all texts before it of the same owner."""
    running: dict[str, hashlib.blake2b] = {}
    hashes = []
    for owner, text in zip(owners, texts, strict=True):
        if owner not in running:
            running[owner] = hashlib.blake2b(digest_size=16)
        data = text.encode()
        running[owner].update(len(data).to_bytes(8, "big") + data)
        hashes.append(running[owner].hexdigest())
    return pl.Series(texts.name, hashes, dtype=pl.String)


def short_hash(text: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """`sha256:` and the SHA-256 of the canonical JSON of `value` (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def sha256_pairs(pairs: Iterable[tuple[str, bytes]]) -> str:
    """`sha256:` and the SHA-256 over (id, digest) pairs, sorted by id.

    The order in which the pairs arrive does not matter, so that the same rows have the same hash
    however they are cut into shards.
    """
    total = hashlib.sha256()
    for row, digest in sorted(pairs):
        total.update(len(row.encode()).to_bytes(8, "big") + row.encode() + digest)
    return "sha256:" + total.hexdigest()
