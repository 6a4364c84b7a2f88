"""A dataset written to storage (`s3://bucket/x`): built in a local folder, put there as a whole.

A folder in storage cannot be exchanged in one step. So the manifest goes first and comes last: a
folder with a manifest is complete, and in between there is none. Until then a marker says which
files belong to the upload, so that what a killed one has left is known, and goes with the next.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatdata.core import protocols, storage
from chatdata.core.errors import ChatdataError, OutputError, StorageError
from chatdata.core.storage import Storage
from chatdata.dataset import card, dropped, manifest, replacing

MARKER = ".chatdata-upload.json"  # lists the files of an upload that is not finished
_PROBE = ".chatdata-can-write"


@contextlib.contextmanager
def local(
    out: str | Path, progress: Callable[[str, int, int], None] | None = None
) -> Iterator[Path]:
    """The folder to write for `out`: the folder itself, or for a URL a temporary one, which is put
    there when the block ends without an error.

    Where a dataset is at the URL, the folder has its manifest and its card, so that the block
    replaces them by the rules of a local folder. Raises OutputError for a URL with files that are
    not of chatdata, and where a URL cannot be written; before the block if possible.
    """
    if not storage.is_remote(str(out)):
        yield Path(storage.local_path(str(out)))
        return
    place = _place(str(out))
    before = _look_at(place)
    with tempfile.TemporaryDirectory(prefix="chatdata-out-") as work:
        folder = Path(work) / storage.name_of(place.url)
        before.stand_in(folder)
        try:
            yield folder
        except ChatdataError as error:
            error.args = tuple(str(text).replace(str(folder), place.url) for text in error.args)
            raise
        if progress:
            progress("uploading", 0, 0)
        _Upload(place, before, folder).run()


def _place(out: str) -> Storage:
    if out.startswith(storage.HUB):
        raise OutputError(
            f"'{out}' is on the Hub; build into a folder, and publish it with `chatdata push`."
        )
    place = storage.at(out)
    if place.protocol in protocols.HAVE_BUCKETS and "/" not in place.path.strip("/"):
        raise OutputError(f"'{place.url}' is a whole bucket; name a folder in it.")
    return place


@dataclass(frozen=True, slots=True)
class _Before:
    """What is at a URL before a dataset is written there: the names of files, the manifest and
    card, and the files of an upload that was not finished."""

    names: frozenset[str]
    pages: dict[str, bytes]
    unfinished: frozenset[str]

    def stand_in(self, folder: Path) -> None:
        """Gives a folder the manifest and the card, where there is a manifest."""
        if manifest.FILE in self.pages:
            folder.mkdir()
            for name, content in self.pages.items():
                (folder / name).write_bytes(content)

    def of_chatdata(self, folder: Path) -> set[str]:
        """The files that are not users', where the dataset of a folder takes the place."""
        text = self.pages.get(manifest.FILE)
        earlier = manifest.parse(text) if text else None
        written = replacing.written_by(earlier, replacing.manifest_of(folder)) | self.unfinished
        return {name for name in self.names if name in written or dropped.is_shard(name)}


def _look_at(place: Storage) -> _Before:
    """What is at a place. Raises OutputError where no dataset may be written there."""
    names = frozenset(place.relative(file) for file in place.files())
    if not names and place.matches():
        raise OutputError(f"'{place.url}' is a file; choose another --out, or remove it.")
    wanted = {manifest.FILE, *card.PAGES} & names
    pages = {name: content for name in wanted if (content := place.read(name)) is not None}
    marker = place.read(MARKER) if MARKER in names else None
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        before = _Before(names, pages, _listed(marker))
        before.stand_in(Path(work) / "x")
        is_ours = manifest.is_ours(Path(work) / "x")
    if names and marker is None and not is_ours:
        raise OutputError(
            f"'{place.url}' is a folder that chatdata did not build; choose another --out, or "
            "remove it."
        )
    place.write(_PROBE, b"")
    place.remove([_PROBE])
    return before


def _listed(marker: bytes | None) -> frozenset[str]:
    """The files of an upload that was not finished."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return frozenset(map(str, json.loads(marker or b"{}")["files"]))
    return frozenset()


@dataclass(frozen=True, slots=True)
class _Upload:
    """A local dataset folder on its way to a place."""

    place: Storage
    before: _Before
    folder: Path

    def run(self) -> None:
        """Puts the dataset in the place of what is there."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        new = {path.relative_to(self.folder).as_posix(): path for path in paths}
        last = {manifest.FILE: new.pop(manifest.FILE)}
        earlier = self.before.of_chatdata(self.folder)
        listed = sorted({*new, *last, *earlier} - {MARKER})
        marker = json.dumps({"upload": uuid.uuid4().hex, "files": listed}).encode()
        self.place.write(MARKER, marker)
        try:
            self.place.remove([manifest.FILE])
            self.place.remove(sorted(earlier - {*new, *last, MARKER}))
            self.place.put(new)
            self._check(new, marker)
            self.place.put(last)
        except StorageError as error:
            raise OutputError(
                f"no dataset is at '{self.place.url}' now, since the upload broke off: {error} "
                "Then build again, which removes what was left."
            ) from error
        self.place.remove([MARKER])

    def _check(self, new: dict[str, Path], marker: bytes) -> None:
        """Raises OutputError where a file is not there in its size, or another process writes to
        the place."""
        sizes = {self.place.relative(file): file.size for file in self.place.files()}
        if self.place.read(MARKER) != marker:
            raise OutputError(
                f"another process writes to '{self.place.url}' at the same time; wait for it, or "
                "choose another --out."
            )
        for name, path in new.items():
            if sizes.get(name) != path.stat().st_size:
                raise OutputError(
                    f"'{self.place.url}/{name}' was not stored as it was sent "
                    f"({sizes.get(name)} of {path.stat().st_size} bytes); build again."
                )
