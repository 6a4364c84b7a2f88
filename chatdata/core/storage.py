"""Files in storage that fsspec reaches (`s3://`, `gs://`): listed, fetched, put, removed.

What may pass (a lost connection, a busy server) is tried again by the library of the protocol. A
file is fetched whole to a local path, and the fetch is refused where the size or the tag (ETag,
generation) of the file are not the same before and after, or where not all bytes came.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from chatdata.core import disk, protocols
from chatdata.core.errors import StorageError
from chatdata.core.paths import is_inside

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.ASCII)
HUB = "hf://"  # the Hub has a client of its own
MEMORY = "memory://"  # is lost when the process ends
_AT_ONCE = 4  # files that are fetched or put at the same time
_TAGS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "LastModified", "mtime", "created")


def is_url(name: str) -> bool:
    """Whether a name is the URL of a file or a folder in storage, and no local path."""
    return _URL.match(name) is not None


def local_path(name: str) -> str:
    """The local path that a name means: of `file://` URLs their path, else the name itself."""
    if not name.startswith("file://"):
        return name
    from urllib.parse import unquote, urlsplit  # as below: a command without URLs needs none

    return unquote(urlsplit(name).path)


def is_remote(name: str) -> bool:
    """Whether a name is a URL that is not of a local file."""
    return is_url(name) and not name.startswith("file://")


def shown(url: str) -> str:
    """A URL as messages name it: without a password or a signature that may stand in it."""
    scheme, place = url.split("://", 1)
    host, slash, path = place.partition("/")
    path = path.partition("?")[0] if scheme in protocols.PAGES else path
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def name_of(url: str) -> str:
    """The last part of a URL: the name of its file or folder, or its pattern."""
    return PurePosixPath(shown(url).split("://", 1)[1]).name


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in storage as it was listed: its path there, its size, and a tag of its content; None
    where the storage does not say."""

    path: str
    size: int | None
    tag: str | None


@dataclass(frozen=True, slots=True)
class Storage:
    """A place in storage: the file system of fsspec, the protocol, and a path in it."""

    system: Any
    protocol: str
    path: str
    url: str  # as messages name it

    def is_folder(self) -> bool:
        """Whether there are files below the path, as below a folder. Pages have none: to find out,
        fsspec would look for links in them."""
        if self.protocol in protocols.PAGES:
            return False
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            if self.protocol in protocols.GOOGLE:  # whose isdir says no where all fails
                return bool(self.system.info(self.path)["type"] == "directory")
            return bool(self.system.isdir(self.path))
        return False

    def files(self) -> list[Stored]:
        """All files below the path, by their paths; none where there is no such folder."""
        with self._reaching():
            try:
                listing = self.system.find(self.path, detail=True)
            except FileNotFoundError:
                return []
        return [file for file in _listed(listing) if file.path != self.path]

    def matches(self) -> list[Stored]:
        """The file of the path, or the files that match the path as a pattern."""
        with self._reaching():
            try:
                return [_stored(self.path, self.system.info(self.path))]
            except FileNotFoundError:
                return _listed(self.system.glob(self.path, detail=True))

    def relative(self, file: Stored) -> str:
        """The path of a file below this place."""
        return file.path.removeprefix(self.path).lstrip("/")

    def url_of(self, file: Stored) -> str:
        """The URL of a file, as messages name it."""
        return shown(str(self.system.unstrip_protocol(file.path)))

    def fetch(self, files: Mapping[Path, Stored]) -> None:
        """Copies files to local paths. Raises StorageError for a file that is gone, that changed in
        the meantime, or of which not all came, and OutputError where the disk has no room."""
        disk.check_room(
            next(iter(files), Path()).parent, sum(file.size or 0 for file in files.values())
        )
        _each(self._fetch, list(files.items()))

    def put(self, files: Mapping[str, Path]) -> None:
        """Copies local files to paths below this place, large files in parts."""
        _each(self._put, list(files.items()))

    def read(self, name: str) -> bytes | None:
        """The content of a small file below this place; None where there is no such file."""
        with self._reaching(name):
            try:
                return bytes(self.system.cat_file(self._at(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file below this place."""
        with self._reaching(name):
            self.system.pipe_file(self._at(name), content)

    def remove(self, names: Sequence[str]) -> None:
        """Removes files below this place, as far as they exist."""
        _each(self._remove, names)

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def _fetch(self, copy: tuple[Path, Stored]) -> None:
        path, file = copy
        name = self.relative(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = protocols.options_to_get(self.protocol, file.size)
        with self._reaching(name):
            before = self._facts(file)
            self.system.get_file(file.path, str(path), **options)
            after = self._facts(file)
        if before != after:
            raise StorageError(f"'{self._shown(name)}' changed while it was read; try again.")
        size = path.stat().st_size
        if after.size is not None and size != after.size:
            encoding = self.system.info(file.path).get("contentEncoding")  # of Google's storage
            way = f"store it without Content-Encoding '{encoding}'" if encoding else "try again"
            raise StorageError(
                f"of '{self._shown(name)}' {size:,} bytes came, and it has {after.size:,}; {way}."
            )

    def _facts(self, file: Stored) -> Stored:
        """What the storage says of a file now."""
        return _stored(file.path, self.system.info(file.path))

    def _remove(self, name: str) -> None:
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            self.system.rm_file(self._at(name))

    def _put(self, copy: tuple[str, Path]) -> None:
        name, path = copy
        options = protocols.options_to_put(self.protocol, path.stat().st_size)
        with self._reaching(name):
            self.system.put_file(str(path), self._at(name), **options)

    def _shown(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def _reaching(self, name: str = "") -> contextlib.AbstractContextManager[None]:
        return _reaching(self._shown(name), self.protocol)


def at(url: str) -> Storage:
    """The place of a URL. Options of its protocol (an address, no login) are those of fsspec's
    configuration and of the environment.

    Raises StorageError where nothing reaches such URLs, with the package that does.
    """
    import fsspec

    matched = _URL.match(url)
    assert matched is not None, url
    protocol = matched[1]
    with _reaching(shown(url), protocol):
        options = protocols.options(protocol, _configured(protocol))
        system, path = fsspec.url_to_fs(url, use_listings_cache=False, **options)
    return Storage(system, protocol, str(path), shown(url))


def _configured(protocol: str) -> dict[str, Any]:
    """What fsspec's configuration says of a protocol, by any of its names."""
    from fsspec.config import conf

    names = protocols.GOOGLE if protocol in protocols.GOOGLE else {protocol}
    return {option: value for name in names for option, value in conf.get(name, {}).items()}


def _listed(listing: Mapping[str, Mapping[str, Any]]) -> list[Stored]:
    """The files of a listing, by their paths. A name that ends with a slash stands for a folder."""
    files = [_stored(path, facts) for path, facts in listing.items() if facts["type"] == "file"]
    files = [file for file in files if not file.path.endswith("/")]
    return sorted(files, key=lambda file: PurePosixPath(file.path))


def _stored(path: str, facts: Mapping[str, Any]) -> Stored:
    tag = next((str(facts[key]) for key in _TAGS if facts.get(key)), None)
    return Stored(path, facts.get("size"), tag)


def _each(function: Callable[[Any], None], tasks: Sequence[Any]) -> None:
    """Calls a function with each task, some at the same time. Raises the first error."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE, "chatdata-storage") as threads:
        running = [threads.submit(function, task) for task in tasks]
        try:
            for task in running:
                task.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def check_inside(name: str, url: str) -> str:
    """A path below a place, as given. Raises StorageError for a path that leads out of the folder
    to which it is copied."""
    if not is_inside(name):
        raise StorageError(
            f"'{url}' has a file with the path {name!r}, which no folder can hold; rename the file."
        )
    return name


# ------------------------------------------------------------------------------ errors in words


@contextlib.contextmanager
def _reaching(url: str, protocol: str) -> Iterator[None]:
    """Raises StorageError in place of what the library of a protocol raises. An error of the local
    disk stays."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if disk.is_full(error):
            raise
        raise StorageError(f"'{url}' {protocols.problem(error, protocol)}") from error
