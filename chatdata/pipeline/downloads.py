"""Input files in storage, copied to a temporary folder for as long as a build runs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from chatdata.core import storage
from chatdata.core.errors import ChatdataError, SourceError
from chatdata.core.storage import Storage, Stored
from chatdata.sources import File
from chatdata.sources.records import READABLE


@dataclass(slots=True)
class Downloads:
    """A temporary folder with copies of files, by their URLs."""

    folder: Path
    copies: dict[tuple[str, Stored], Path] = field(default_factory=dict)

    def fetch(self, files: Sequence[_Remote]) -> list[Path]:
        """The paths of the copies of files. What is here is not fetched again."""
        new: dict[Storage, dict[Path, Stored]] = {}
        for file in files:
            if (file.url, file.stored) not in self.copies:
                path = self.folder / f"{len(self.copies):05}" / storage.name_of(file.url)
                self.copies[file.url, file.stored] = path
                new.setdefault(file.place, {})[path] = file.stored
        for place, copies in new.items():
            place.fetch(copies)
        return [self.copies[file.url, file.stored] for file in files]

    def in_words(self, text: str) -> str:
        """A text with the URLs of files in place of the paths of their copies."""
        for (url, _), path in self.copies.items():
            text = text.replace(str(path), url)
        return text


_HERE: ContextVar[Downloads | None] = ContextVar("downloads", default=None)


@contextlib.contextmanager
def kept() -> Iterator[Downloads]:
    """Keeps the copies of files that the block fetches until it ends.

    An error of the block names URLs, not copies.
    """
    if (outer := _HERE.get()) is not None:
        yield outer
        return
    here = _new()
    token = _HERE.set(here)
    try:
        yield here
    except ChatdataError as error:
        error.args = tuple(here.in_words(str(text)) for text in error.args)
        raise
    finally:
        _HERE.reset(token)
        shutil.rmtree(here.folder, ignore_errors=True)


@functools.cache
def _of_this_process() -> Downloads:
    downloads = _new()
    atexit.register(shutil.rmtree, downloads.folder, ignore_errors=True)
    return downloads


def _new() -> Downloads:
    return Downloads(Path(tempfile.mkdtemp(prefix="chatdata-input-")))


# ------------------------------------------------------------------------------- which files


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file in storage, and the URL by which messages name it."""

    place: Storage
    stored: Stored
    url: str

    @property
    def path(self) -> PurePosixPath:
        """The bucket or host, and the path in it."""
        return PurePosixPath(self.url.split("://", 1)[1].lstrip("/"))


def files(patterns: Sequence[str]) -> list[File]:
    """Copies of the files that URLs name: files, folders and patterns. A label is the path below
    the folder that all have in common.

    Raises SourceError where a URL names no file, and StorageError where one cannot be read.
    """
    listed = {file.url: file for pattern in patterns for file in _expand(pattern)}
    remote = sorted(listed.values(), key=lambda file: file.path)
    labels = _labels([file.path for file in remote])
    if not labels:
        raise SourceError(
            f"{', '.join(map(storage.shown, patterns))} lie in several buckets; give the files of "
            "each bucket a source of its own in the recipe."
        )
    here = _HERE.get() or _of_this_process()
    paths = here.fetch(remote)
    return [File(path, label) for path, label in zip(paths, labels, strict=True)]


def _labels(paths: Sequence[PurePosixPath]) -> list[str]:
    """The names of files in outputs; none where they have no folder in common."""
    if len(paths) == 1:
        return [paths[0].name]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths] if common else []


def _expand(url: str) -> list[_Remote]:
    place = storage.at(url)
    if place.is_folder():
        listed = [file for file in place.files() if file.path.endswith(READABLE)]
        problem = f"folder '{place.url}' holds no {', '.join(READABLE)} file."
    else:
        listed = place.matches()
        problem = f"there is no file '{place.url}'; name a file, a folder or a pattern."
    if not listed:
        raise SourceError(problem)
    return [_Remote(place, file, place.url_of(file)) for file in listed]
