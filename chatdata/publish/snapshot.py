"""The files of a published version, from the Hub or from the cache, every hash checked."""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import errors, hf_hub_download, snapshot_download
from tenacity import Retrying

from chatdata.core.errors import HubError
from chatdata.core.hashing import sha256_file
from chatdata.core.paths import is_inside
from chatdata.dataset import manifest
from chatdata.dataset.manifest import Manifest
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import KIND
from chatdata.publish.reference import Pinned

# What a folder has beside the files that its manifest lists with a hash.
UNHASHED = (manifest.FILE, "README.md", "croissant.json")


@dataclass(frozen=True)
class Snapshot:
    """A published version in the client's cache: for reading, never for writing."""

    pinned: Pinned
    folder: Path
    facts: Manifest

    @property
    def paths(self) -> list[str]:
        """The files of the dataset in the folder, which may hold others."""
        there = [path for path in UNHASHED if (self.folder / path).is_file()]
        return [*manifest.hashes(self.facts), *there]

    def provenance(self) -> dict[str, str | None]:
        """Where the data comes from, for a checkpoint or a model card."""
        return {
            "repo": self.pinned.repo,
            "tag": self.pinned.tag,
            "commit": self.pinned.commit,
            "version": self.facts["version"],
            "content_hash": self.facts["content_hash"],
        }


def download(pinned: Pinned, note: Note) -> Snapshot:
    """A version's files. Raises HubError where one is missing or not what its manifest says.

    Nothing is asked of the Hub for what is in the cache.
    """
    client.bars()
    again = client.retrying(note)
    with client.reaching(pinned.where):
        path = Path(again(_file, pinned, manifest.FILE))
        facts = manifest.read(path.parent)
        _check_version(pinned, facts)
        folder = again(
            snapshot_download,
            pinned.repo,
            repo_type=KIND,
            revision=pinned.commit,
            allow_patterns=_patterns([*_safe(pinned, facts), *UNHASHED]),
        )
    snapshot = Snapshot(pinned, Path(folder), facts)
    for name, sha256 in manifest.hashes(facts).items():
        _check(snapshot, name, sha256, again)
    return snapshot


def _check_version(pinned: Pinned, facts: Manifest) -> None:
    """Raises HubError where a tag is that of another version than its manifest says."""
    if pinned.is_version and pinned.tag != f"v{facts['version']}":
        raise HubError(
            f"the tag {pinned.tag} of '{pinned.repo}' is at version {facts['version']}: it was not "
            f"made by `chatdata push`, so name the commit {pinned.commit} if it is meant."
        )


def _file(pinned: Pinned, name: str, force: bool = False) -> str:
    try:
        return str(
            hf_hub_download(
                pinned.repo, name, repo_type=KIND, revision=pinned.commit, force_download=force
            )
        )
    except errors.RemoteEntryNotFoundError:
        raise HubError(
            f"{pinned.where} has no {name}; it was not published by `chatdata push`."
        ) from None


def _safe(pinned: Pinned, facts: Manifest) -> list[str]:
    """The files that a manifest lists. Raises HubError where one would be outside its folder."""
    paths = list(manifest.hashes(facts))
    for path in paths:
        if not is_inside(path):
            raise HubError(f"{pinned.where} lists the file {json.dumps(path)}, which is refused.")
    return paths


def _patterns(paths: list[str]) -> list[str]:
    """A pattern for each folder and each file in none: the client tries each on each file."""
    tops = {path.partition("/")[:2] for path in paths}
    return sorted(f"{glob.escape(top)}/*" if slash else glob.escape(top) for top, slash in tops)


def _check(snapshot: Snapshot, name: str, sha256: str, again: Retrying) -> None:
    """Makes sure of a file's hash: what a full disk or a fault has spoilt is fetched again."""
    path = snapshot.folder / name
    if path.is_file() and sha256_file(path) == sha256:
        return
    with client.reaching(f"{name} of {snapshot.pinned.where}"):
        path = Path(again(_file, snapshot.pinned, name, force=True))
    if sha256_file(path) != sha256:
        raise HubError(
            f"{name} of {snapshot.pinned.where} is not the file that its manifest lists "
            "(another sha256); do not use this version."
        )
