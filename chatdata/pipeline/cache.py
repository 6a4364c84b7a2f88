"""What stages made of parts, kept from build to build on this machine: found by a key of all that a
result depends on.

An entry is a file with the result and the files that were written, compressed, behind its digest.
A file that does not have the digest is taken for none. Entries appear at once, so that builds may
share a cache; those that were used longest ago go first where the cache is full.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from chatdata.core import cache_folder
from chatdata.core.errors import OutputError

MOST_BYTES = 20 * 10**9
_MOST_OF_DISK = 4  # at most one in so many bytes that would be free without the cache
_MARK = b"chatdata cache 1\n"
_SUFFIX = ".entry"
_LIMIT = "limit"  # the file that holds the limit that a user has set
_UNFINISHED = 3600.0  # seconds after which a file that is not finished is taken for left behind


@dataclass(frozen=True, slots=True)
class Kept:
    """What a stage made of a part: its result, and the bytes of its files by their names."""

    result: Any
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a cache: the stage that made it, its size, and when it was used last."""

    path: Path
    stage: str
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Cache:
    """The entries in a folder."""

    folder: Path

    def load(self, stage: str, key: str) -> Kept | None:
        """What was kept under a key of a stage; None where nothing is, or where it is damaged."""
        path = self._path(stage, key)
        try:
            kept = _unpacked(path.read_bytes())
        except OSError:
            return None
        if kept is None:
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return kept

    def save(self, stage: str, key: str, kept: Kept) -> None:
        """Keeps what a stage made, where there is room: a full disk is no reason to end a build."""
        path, data = self._path(stage, key), _packed(kept)
        if len(data) > self._room():
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(name, path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def entries(self) -> list[Entry]:
        """All entries, those that were used longest ago first."""
        return sorted(self._entries(), key=lambda entry: (entry.used, entry.path))

    def _entries(self) -> Iterator[Entry]:
        for path in self.folder.glob(f"*/*/*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                yield Entry(path, path.parent.parent.name, facts.st_size, facts.st_mtime)

    def limit(self) -> int:
        """The bytes that the entries may have together: what a user has set, or a part of the
        disk, and never more than a quarter of what would be free without them."""
        size = sum(entry.bytes for entry in self._entries())
        return min(
            self.stated_limit(), (shutil.disk_usage(self.folder).free + size) // _MOST_OF_DISK
        )

    def stated_limit(self) -> int:
        """The limit that a user has set, or the one that holds where none has."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / _LIMIT).read_text())
        return MOST_BYTES

    def set_limit(self, size: int) -> None:
        """Sets the limit, and removes what is above it."""
        (self.folder / _LIMIT).write_text(str(size))
        self.tidy()

    def tidy(self) -> None:
        """Removes entries above the limit, and files that a killed build has left."""
        entries, limit = self.entries(), self.limit()
        above = sum(entry.bytes for entry in entries) - limit
        for entry in entries:
            if above <= 0:
                break
            entry.path.unlink(missing_ok=True)
            above -= entry.bytes
        for path in self.folder.glob("*/*/*"):
            with contextlib.suppress(OSError):
                if path.suffix != _SUFFIX and time.time() - path.stat().st_mtime > _UNFINISHED:
                    path.unlink()

    def clear(self) -> None:
        """Removes all entries; what others remove, or builds add meanwhile, is no matter. The limit
        stays. Raises OutputError where an entry cannot be removed."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, onerror=_pass_over)

    def _path(self, stage: str, key: str) -> Path:
        return self.folder / stage / key[:2] / f"{key}{_SUFFIX}"

    def _room(self) -> int:
        """The bytes that an entry may have: an eighth of the disk stays free of them."""
        try:
            return shutil.disk_usage(self.folder).free // 8
        except OSError:
            return 0


@dataclass(frozen=True, slots=True)
class Store:
    """A cache, and a hash of the versions that make results."""

    cache: Cache
    versions: str


def open_cache() -> Cache | None:
    """The user's cache, which is made where it is missing; None where there is, or can be, none.

    Raises OutputError as `cache_folder.ready` does.
    """
    folder = cache_folder.ready()
    return None if folder is None else Cache(folder)


def _pass_over(function: Any, path: str, raised: Any) -> None:
    """Lets be what is removed already, and folders into which a build writes."""
    error = raised[1]
    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
        raise OutputError(
            f"'{path}' of the cache cannot be removed: {error.strerror}; change its permissions."
        ) from None


def _packed(kept: Kept) -> bytes:
    """An entry as it stands in its file."""
    plain = pickle.dumps((kept.result, dict(kept.files)), protocol=5)
    codec = pa.Codec("zstd", compression_level=1)
    data: bytes = len(plain).to_bytes(8, "big") + codec.compress(plain, asbytes=True)
    return _MARK + hashlib.blake2b(data).digest() + data


def _unpacked(data: bytes) -> Kept | None:
    """The entry of a file; None where the file is not whole."""
    start = len(_MARK) + hashlib.blake2b().digest_size
    digest, packed = data[len(_MARK) : start], data[start:]
    if not data.startswith(_MARK) or hashlib.blake2b(packed).digest() != digest:
        return None
    size = int.from_bytes(packed[:8], "big")
    result, files = pickle.loads(pa.Codec("zstd").decompress(packed[8:], size, asbytes=True))
    return Kept(result, files)
