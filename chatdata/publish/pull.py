"""Fetches a published version: resolved to its commit once, every hash checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from chatdata.core import files
from chatdata.dataset import manifest
from chatdata.hub.client import Note
from chatdata.publish import reference as names
from chatdata.publish import snapshot
from chatdata.publish.snapshot import Snapshot
from chatdata.verify import verification

Progress = Callable[[str, int, int], None]


def is_published(name: str) -> bool:
    """Whether a name is of a version on the Hub: it names one, and no folder is called so."""
    return "@" in name and not Path(name).is_dir()


def folder(name: str, note: Note = lambda text: None) -> Path:
    """The folder that a name is of: a built one, or a published version in the client's cache.

    It is for reading alone. Raises a ChatdataError for what is not on the Hub.
    """
    return fetch(name, note=note).folder if is_published(name) else Path(name)


def fetch(
    reference: str, *, allow_moving: bool = False, note: Note = lambda text: None
) -> Snapshot:
    """The version that `org/name@1.2.0` names, in the client's cache, for reading alone.

    Nothing is asked of the Hub for a commit that is in the cache. Raises a ChatdataError for a
    branch, unless `allow_moving`, and for what is not there or not what its manifest says.
    """
    pinned = names.resolve(names.parse(reference), note, allow_moving)
    return snapshot.fetch(pinned, note)


def pull(
    reference: str,
    out: str | Path,
    *,
    allow_moving: bool = False,
    progress: Progress = lambda step, done, total: None,
    note: Note = lambda text: None,
) -> dict[str, str | None]:
    """Writes the version that `org/name@1.2.0` names to the folder `out`, as it was built.

    Returns its repository, tag, commit, version and content hash. Raises a ChatdataError, and
    leaves no part of it in `out`, where it fails.
    """
    with files.new_folder(Path(out), manifest.FILE) as new:
        fetched = fetch(reference, allow_moving=allow_moving, note=note)
        paths = fetched.paths
        for number, path in enumerate(paths):
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetched.folder / path, new / path)
            progress("copying", number + 1, len(paths))
        verification.verify_folder(new)
    return fetched.provenance()
