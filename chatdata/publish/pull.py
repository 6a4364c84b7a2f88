"""Fetches a published version: resolved to a commit once, every hash checked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from chatdata.core import disk, storage
from chatdata.core.errors import HubError, OutputError
from chatdata.dataset import manifest, remote_copy, replacing
from chatdata.dataset.finished import is_published as is_published
from chatdata.hub import client, download
from chatdata.hub.client import Note, quiet
from chatdata.hub.repository import Repository
from chatdata.pipeline import downloads
from chatdata.pipeline.progress import Progress, silent
from chatdata.publish import references, snapshot
from chatdata.publish.snapshot import Snapshot
from chatdata.verify import verification


def folder(name: str | Path, note: Note = quiet, *, is_checked: bool = True) -> Path:
    """The folder that a name means: a built folder, a published version in the client's cache, or
    a copy of what is behind a URL, which may have faults unless `is_checked`.

    The folder is only for reading. Raises a ChatdataError for a version that is not on the Hub.
    """
    if is_published(name):
        return fetch(str(name), note=note).folder
    if storage.is_remote(str(name)):
        return remote_copy.fetch(str(name), is_checked=is_checked)
    return remote_copy.folder(name)


def changeable(name: str | Path) -> Path:
    """The folder that a name means, which is written into. Raises OutputError for a published
    version, and for a URL, with the way out."""
    if is_published(name) or storage.is_remote(str(name)):
        shown = name if is_published(name) else storage.shown(str(name))
        raise OutputError(f"'{shown}' cannot be changed; pull it into a folder first.")
    return remote_copy.folder(name)


def fetch(reference: str, *, allow_moving: bool = False, note: Note = quiet) -> Snapshot:
    """The version that `org/name@1.2.0` names, in the client's cache, only for reading.

    The Hub is asked for nothing that the cache holds. Raises a ChatdataError for a branch, unless
    `allow_moving`, for a version that does not exist, and for files that differ from the manifest.
    """
    pinned = references.resolve(references.parse(reference), note, allow_moving)
    return snapshot.fetch(pinned, note)


def data(name: str, suffixes: Sequence[str], note: Note = quiet) -> Path:
    """The folder that `org/name@revision` means, whether or not chatdata published there.

    Of what chatdata has published every hash is checked; of anything else, the files that end
    like this are fetched. A branch may be named too, since an audit pins nothing. Raises a
    ChatdataError where the repository or the revision does not exist.
    """
    pinned = references.resolve(references.parse(name), note, allow_moving=True)
    repository = Repository.named(pinned.repo)
    with client.reaching(pinned.where):
        tree = client.retrying(note)(repository.tree, pinned.commit)
        published = None
        if snapshot.may_hold_manifest(tree):
            published = client.retrying(note)(repository.read, manifest.FILE, pinned.commit)
    if published is not None and manifest.parse(published) is not None:
        return snapshot.fetch(pinned, note).folder
    paths = [path for path in tree if path.endswith(tuple(suffixes))]
    if not paths:
        raise HubError(f"{pinned.where} has no {', '.join(suffixes)} file; nothing can be audited.")
    client.bars()
    with client.reaching(pinned.where):
        download.check_room(tree, download.missing(pinned.repo, pinned.commit, paths))
        return download.folder(pinned.repo, pinned.commit, paths, note)


def pull(
    reference: str,
    out: str | Path,
    *,
    allow_moving: bool = False,
    force: bool = False,
    progress: Progress = silent,
    note: Note = quiet,
) -> dict[str, str | None]:
    """Writes the version that `org/name@1.2.0` names, or the dataset behind a URL, to the folder
    `out`, as it was built. `out` may be a URL too.

    Returns the repository, tag, commit, version and content hash, or the URL. Raises a
    ChatdataError where the version cannot be fetched, and where `out` holds another build and
    `force` is false; then `out` is unchanged.
    """
    with downloads.writing(out, progress) as written, replacing.new_dataset(written) as new:
        if storage.is_remote(reference):
            source, paths, origin = _stored(reference)
        else:
            fetched = fetch(reference, allow_moving=allow_moving, note=note)
            source, paths, origin = fetched.folder, fetched.paths, fetched.provenance()
        pulled = manifest.read(source)
        replacing.check_same(written, pulled.recipe.as_json(), pulled.sources, is_forced=force)
        _copy(source, paths, new, progress)
        verification.verify_folder(new)
        earlier = replacing.manifest_of(written)
        if earlier is not None and earlier.version == pulled.version:
            replacing.keep_words(written, new)
    return origin


def _stored(url: str) -> tuple[Path, list[str], dict[str, str | None]]:
    """The folder of a copy of the dataset behind a URL, its files, and what it is."""
    folder = remote_copy.fetch(url)
    listing = manifest.read_listing(folder)
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    paths = sorted(path.as_posix() for path in files if not path.name.startswith("."))
    content_hash = str(listing.content_hash)
    origin = {"url": storage.shown(url), "version": listing.version, "content_hash": content_hash}
    return folder, paths, dict(origin)


def _copy(source: Path, paths: Sequence[str], new: Path, progress: Progress) -> None:
    disk.check_room(new.parent, sum((source / path).stat().st_size for path in paths))
    for number, path in enumerate(paths):
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, new / path)
        progress("copying", number + 1, len(paths))
