"""Files of one commit of a dataset's repository, in the client's cache.

The Hub is asked for nothing that the cache holds. The functions try again what may pass, and
raise what the client raises; `client.reaching` is for those who call them.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import (
    constants,
    errors,
    hf_hub_download,
    snapshot_download,
    try_to_load_from_cache,
)

from chatdata.core import disk
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import KIND, Tree


def file(repo: str, commit: str, name: str, note: Note, force: bool = False) -> Path | None:
    """The path of a file in the cache, or None where the commit has no such file.

    `force` downloads also what the cache holds.
    """
    try:
        path = client.retrying(note)(
            hf_hub_download, repo, name, repo_type=KIND, revision=commit, force_download=force
        )
    except errors.RemoteEntryNotFoundError:
        return None
    return Path(path)


def missing(repo: str, commit: str, paths: Iterable[str]) -> list[str]:
    """Those of the files of a commit that the cache lacks."""
    return [
        path
        for path in paths
        if not isinstance(try_to_load_from_cache(repo, path, revision=commit, repo_type=KIND), str)
    ]


def check_room(tree: Tree, paths: Iterable[str]) -> None:
    """Raises OutputError where the cache has no room for these files of a commit, of which `tree`
    are all."""
    needed = sum(tree[path].size for path in paths if path in tree)
    way_out = "make room, or set HF_HOME to another disk"
    disk.check_room(Path(constants.HF_HUB_CACHE), needed, way_out)


def folder(repo: str, commit: str, paths: Sequence[str], note: Note) -> Path:
    """The folder of a commit in the cache, with these files and others that lie beside them."""
    path = client.retrying(note)(
        snapshot_download, repo, repo_type=KIND, revision=commit, allow_patterns=_patterns(paths)
    )
    return Path(path)


def _patterns(paths: Sequence[str]) -> list[str]:
    """A pattern for each top folder, and for each file in no folder. The client tries every
    pattern on every file of the repository, so a pattern for each path would take too long."""
    tops = {path.partition("/")[:2] for path in paths}
    return sorted(f"{glob.escape(top)}/*" if slash else glob.escape(top) for top, slash in tops)
