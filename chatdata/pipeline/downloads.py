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
from chatdata.dataset import remote_output
from chatdata.pipeline.progress import Progress, silent
from chatdata.sources import File
from chatdata.sources.records import READABLE


@dataclass(slots=True)
class Downloads:
    """Copies of files, by their URLs, in a temporary folder, which is made with the first."""

    out: str | None = None  # the URL that is written, below which nothing is read
    copies: dict[tuple[str, Stored], Path] = field(default_factory=dict)
    _folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="chatdata-input-"))
        return self._folder

    def remove(self) -> None:
        """Removes the copies."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def fetch(self, files: Sequence[_Remote]) -> list[Path]:
        """The paths of the copies of files. What is here is not fetched again."""
        new: dict[Storage, dict[Path, Stored]] = {}
        for file in files:
            self._refuse(file.url)
            if (file.url, file.stored) not in self.copies:
                path = self.folder / f"{len(self.copies):05}" / storage.name_of(file.url)
                self.copies[file.url, file.stored] = path
                new.setdefault(file.place, {})[path] = file.stored
        for place, copies in new.items():
            place.fetch(copies)
        return [self.copies[file.url, file.stored] for file in files]

    def _refuse(self, url: str) -> None:
        if self.out is not None and url.startswith(f"{self.out}/"):
            raise SourceError(
                f"the input '{url}' lies in '{self.out}', which the build replaces; name the files "
                "that are meant, or choose an --out outside the input."
            )

    def in_words(self, text: str) -> str:
        """A text with the URLs of files in place of the paths of their copies."""
        for (url, _), path in self.copies.items():
            text = text.replace(str(path), url)
        return text


_HERE: ContextVar[Downloads | None] = ContextVar("downloads", default=None)


@contextlib.contextmanager
def kept(out: str | Path = "") -> Iterator[Downloads]:
    """Keeps the copies of files that the block fetches until it ends. Files below `out`, if that is
    the URL of a folder to write, are refused.

    An error of the block names URLs, not copies.
    """
    if (outer := _HERE.get()) is not None:
        yield outer
        return
    url = storage.shown(str(out)).rstrip("/") if storage.is_remote(str(out)) else None
    here = Downloads(url)
    token = _HERE.set(here)
    try:
        yield here
    except ChatdataError as error:
        error.args = tuple(here.in_words(str(text)) for text in error.args)
        raise
    finally:
        _HERE.reset(token)
        here.remove()


@contextlib.contextmanager
def writing(out: str | Path, progress: Progress = silent) -> Iterator[Path]:
    """The folder to write for `out`, as `remote_output.local` gives it, while copies of input files
    are kept, of which none may lie in `out`."""
    with kept(out), remote_output.local(out, progress) as folder:
        yield folder


@functools.cache
def _of_this_process() -> Downloads:
    downloads = Downloads()
    atexit.register(downloads.remove)
    return downloads


# ------------------------------------------------------------------------------- which files


def folder(url: str) -> Path:
    """A folder with copies of the files that a URL names, under their paths below it."""
    listed = _expand(url)
    labels = _labels([file.path for file in listed])
    here = _HERE.get() or _of_this_process()
    copy = Path(tempfile.mkdtemp(dir=here.folder))
    names = [storage.check_inside(label, storage.shown(url)) for label in labels]
    files = {copy / name: file.stored for name, file in zip(names, listed, strict=True)}
    listed[0].place.fetch(files)
    return copy


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
