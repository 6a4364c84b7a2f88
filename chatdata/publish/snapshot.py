"""The files of a published version, from the Hub or from the cache, every hash checked."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from chatdata.core.errors import HubError
from chatdata.core.hashing import sha256_file
from chatdata.core.paths import is_inside
from chatdata.dataset import card, layout, manifest
from chatdata.dataset.manifest import Listing
from chatdata.hub import client, download
from chatdata.hub.client import Note
from chatdata.hub.repository import Repository, Tree
from chatdata.publish.references import Pinned

_MOST_OF_A_MANIFEST = 2**26  # bytes
# Files of a dataset that its manifest does not list with a hash.
UNHASHED = (manifest.FILE, *card.PAGES)


@dataclass(frozen=True)
class Snapshot:
    """A published version in the client's cache, which nobody may write to."""

    pinned: Pinned
    folder: Path
    listing: Listing

    @property
    def paths(self) -> list[str]:
        """The files of the dataset. The folder may hold more files."""
        unhashed = [path for path in UNHASHED if (self.folder / path).is_file()]
        return [*manifest.hashes(self.listing), *unhashed]

    def provenance(self) -> dict[str, str | None]:
        """The origin of the data, for a checkpoint or a model card."""
        return {
            "repo": self.pinned.repo,
            "tag": self.pinned.tag,
            "commit": self.pinned.commit,
            "version": self.listing.version,
            "content_hash": self.listing.content_hash,
        }


def fetch(pinned: Pinned, note: Note) -> Snapshot:
    """The files of a version. Raises HubError where a file is missing or has another hash.

    The Hub is asked for nothing that the cache holds.
    """
    client.bars()
    with client.reaching(pinned.where):
        tree = functools.cache(lambda: _tree(pinned, note))
        if download.missing(pinned.repo, pinned.commit, [manifest.FILE]):
            _check_manifest(pinned, tree())
        path = _file(pinned, manifest.FILE, note)
        listing = manifest.read_listing(path.parent)
        _check_version(pinned, listing)
        paths = [*_safe(pinned, listing), *UNHASHED]
        if missing := download.missing(pinned.repo, pinned.commit, paths):
            download.check_room(tree(), missing)
        folder = download.folder(pinned.repo, pinned.commit, paths, note)
    snapshot = Snapshot(pinned, folder, listing)
    for name, sha256 in manifest.hashes(listing).items():
        _check(snapshot, name, sha256, note)
    return snapshot


def _tree(pinned: Pinned, note: Note) -> Tree:
    """All files of a version, with their sizes."""
    return client.retrying(note)(Repository.named(pinned.repo).tree, pinned.commit)


def may_hold_manifest(tree: Tree) -> bool:
    """Whether a commit has a `manifest.json` that is no larger than any of chatdata's."""
    return manifest.FILE in tree and tree[manifest.FILE].size <= _MOST_OF_A_MANIFEST


def _check_manifest(pinned: Pinned, tree: Tree) -> None:
    """Raises HubError for a manifest that is larger than any of chatdata's."""
    if manifest.FILE in tree and not may_hold_manifest(tree):
        size = tree[manifest.FILE].size
        raise HubError(
            f"{manifest.FILE} of {pinned.where} has {size:,} bytes, and no more than "
            f"{_MOST_OF_A_MANIFEST:,} are read; do not use this version."
        )


def _check_version(pinned: Pinned, listing: Listing) -> None:
    """Raises HubError where a tag names another version than the manifest."""
    if pinned.is_version and pinned.tag != f"v{listing.version}":
        raise HubError(
            f"the tag {pinned.tag} of '{pinned.repo}' holds version {listing.version}, so it was "
            f"not made by `chatdata push`; write @{pinned.commit} to use it anyway."
        )


def _file(pinned: Pinned, name: str, note: Note, force: bool = False) -> Path:
    """The path of a file of the version. Raises HubError where the version has no such file."""
    path = download.file(pinned.repo, pinned.commit, name, note, force)
    if path is None:
        raise HubError(f"{pinned.where} has no {name}; it was not published by `chatdata push`.")
    return path


def _safe(pinned: Pinned, listing: Listing) -> list[str]:
    """The files that a manifest lists. Raises HubError for a file that no dataset has."""
    paths = list(manifest.hashes(listing))
    for path in paths:
        if not is_inside(path):
            raise HubError(
                f"{pinned.where} lists the file {json.dumps(path)}, which is outside of its folder."
            )
        if not layout.has(path):
            raise HubError(
                f"{pinned.where} lists the file {json.dumps(path)}, which is no part of a dataset; "
                "do not use this version."
            )
    return paths


def _check(snapshot: Snapshot, name: str, sha256: str, note: Note) -> None:
    """Makes sure of a file's hash. A file that a full disk or a fault has spoilt is fetched again.

    Raises HubError where the fetched file has another hash too.
    """
    path = snapshot.folder / name
    if path.is_file() and sha256_file(path) == sha256:
        return
    with client.reaching(f"{name} of {snapshot.pinned.where}"):
        path = _file(snapshot.pinned, name, note, force=True)
    if sha256_file(path) != sha256:
        raise HubError(
            f"{name} of {snapshot.pinned.where} does not have the SHA-256 of its manifest; do not "
            "use this version."
        )
