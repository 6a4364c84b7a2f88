"""A dataset in storage (`s3://bucket/x`) as a local folder, every hash checked, kept in a cache."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from chatdata.core import cache_folder, files, storage
from chatdata.core.errors import OutputError, VerifyError
from chatdata.core.hashing import sha256_file
from chatdata.core.storage import Storage, Stored
from chatdata.dataset import card, dropped, layout, manifest
from chatdata.dataset.manifest import Listing


def cache() -> Path:
    """The folder of all copies, in the user's cache; it may be removed. Without a cache it goes
    when the process ends. Raises OutputError as `cache_folder.ready` does."""
    folder = cache_folder.ready()
    return _of_this_process() if folder is None else folder / "datasets" / "copies"


@functools.cache
def _of_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix="chatdata-copies-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def fetch(url: str, *, is_checked: bool = True) -> Path:
    """The folder of a copy of a dataset, only for reading. What the cache holds is not fetched.

    Raises OutputError where no finished build is there, and VerifyError for a file that has not the
    hash of the manifest, unless `is_checked` is false.
    """
    if url.startswith(storage.HUB):
        raise OutputError(f"'{url}' is on the Hub; write org/name@VERSION for a dataset there.")
    place = storage.at(url)
    text = _manifest(place)
    key = hashlib.sha256(f"{place.url}\n".encode() + text).hexdigest()[:32]
    folder = cache() / key / (storage.name_of(place.url) or "dataset")
    cache().mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.locked(folder, waits=True):
        (folder / manifest.FILE).write_bytes(text)
        copy = _Copy(place, folder, manifest.read_listing(folder))
        copy.complete()
        if is_checked:
            copy.check()
    return folder


def folder(name: str | Path) -> Path:
    """The folder that a name means: a local one, or for a URL that of a copy."""
    text = str(name)
    return fetch(text) if storage.is_remote(text) else Path(storage.local_path(text))


def to_change(name: str | Path, out: str | Path | None) -> Path:
    """The folder that is changed, or of which a changed copy goes to `out`. Raises OutputError for
    a URL without `out`."""
    if out is None and storage.is_remote(str(name)):
        raise OutputError(
            f"'{storage.shown(str(name))}' is in storage; name a folder for a copy, or the URL "
            "again (--out)."
        )
    return folder(name).resolve()


def _manifest(place: Storage) -> bytes:
    text = place.read(manifest.FILE)
    if text is None:
        raise OutputError(manifest.unfinished(place.url))
    return text


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a dataset, as far as it is here."""

    place: Storage
    folder: Path
    listing: Listing

    def complete(self) -> None:
        """Fetches what is missing, spoilt or changed in storage; removes what is gone there."""
        hashes = manifest.hashes(self.listing)
        for name in hashes:
            self._check_name(name)
        stored = {self.place.relative(file): file for file in self.place.files()}
        before = self._states()
        wanted = {name: file for name, file in stored.items() if name in hashes or _unlisted(name)}
        missing = {
            self.folder / name: file
            for name, file in wanted.items()
            if before.get(name) != file or not self._is_whole(name, file, hashes.get(name))
        }
        self.states.unlink(missing_ok=True)
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and name not in {*wanted, manifest.FILE}:
                path.unlink()
        self.place.fetch(missing)
        states = {name: asdict(file) for name, file in wanted.items()}
        self.states.write_text(json.dumps(states))

    def check(self) -> None:
        """Raises VerifyError for a file that is missing or has another hash than in the manifest,
        and OutputError where the dataset was replaced in the meantime."""
        for name, sha256 in manifest.hashes(self.listing).items():
            path = self.folder / name
            if path.is_file() and sha256_file(path) == sha256:
                continue
            if self.place.read(manifest.FILE) != (self.folder / manifest.FILE).read_bytes():
                raise OutputError(f"'{self.place.url}' was replaced while it was read; try again.")
            fault = "has not the SHA-256 of its manifest" if path.is_file() else "is missing"
            raise VerifyError(f"{name} of '{self.place.url}' {fault}; build the dataset again.")

    def _check_name(self, name: str) -> None:
        storage.check_inside(name, self.place.url)
        if not layout.has(name):
            raise VerifyError(
                f"'{self.place.url}' lists the file {json.dumps(name)}, which is no part of a "
                "dataset; do not use it."
            )

    @property
    def states(self) -> Path:
        """The file beside the folder that keeps what the storage said of each file."""
        return self.folder.parent / "states.json"

    def _states(self) -> dict[str, Stored]:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads(self.states.read_text())
            return {name: Stored(**state) for name, state in values.items()}
        return {}

    def _is_whole(self, name: str, file: Stored, sha256: str | None) -> bool:
        path = self.folder / name
        if not path.is_file():
            return False
        if sha256 is not None:
            return sha256_file(path) == sha256
        return path.stat().st_size == file.size


def _unlisted(name: str) -> bool:
    """Whether a file belongs to a dataset, and no manifest lists the file."""
    return name in card.PAGES or dropped.is_shard(name)
