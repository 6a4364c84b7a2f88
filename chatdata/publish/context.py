"""A push and its repository: what is published where, and what the repository holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from chatdata.dataset import card, manifest
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.hub.client import Note
from chatdata.hub.repository import Entry, Refs, Repository, Tree
from chatdata.pipeline.progress import Progress
from chatdata.publish import release as releases
from chatdata.publish import versions
from chatdata.publish.journal import Journal
from chatdata.publish.release import Release
from chatdata.publish.versions import Version


class LatestVersion(NamedTuple):
    """The latest version that chatdata published in a repository."""

    version: Version
    commit: str
    manifest: Manifest | Listing


@dataclass(frozen=True)
class RepoState:
    """A repository at one commit: its files, and the manifest, if chatdata published there."""

    commit: str | None
    tree: Tree
    manifest: Manifest | Listing | None
    listed: Mapping[str, str]  # the SHA-256 of each file that the manifest lists

    def managed(self, release: Release) -> dict[str, Entry]:
        """The files that belong to a dataset, without the card, on which users write too."""
        known = {*self.listed, *release.files}
        return {
            path: entry
            for path, entry in self.tree.items()
            if path != card.PAGE and releases.is_managed(path, known)
        }

    def stale(self, release: Release) -> list[str]:
        """The files of earlier versions that the release does not have."""
        return sorted(set(self.managed(release)) - set(release.files))

    def holds(self, release: Release) -> bool:
        """Whether every file of the release is there, and no file of an earlier version."""
        return not release.missing_at(self.tree) and not self.stale(release)


@dataclass(frozen=True)
class PushContext:
    """The release to publish, its repository, and where progress and notes go."""

    release: Release
    repository: Repository
    journal: Journal
    progress: Progress
    note: Note

    def manifest_at(self, commit: str | None) -> Manifest | Listing | None:
        """The manifest at a commit, or None where chatdata did not publish there."""
        text = self.repository.read(manifest.FILE, commit) if commit else None
        return manifest.parse(text) if text is not None else None

    def card_at(self, commit: str | None) -> str | None:
        """The card at a commit, or None without a card."""
        text = self.repository.read(card.PAGE, commit) if commit else None
        return text.decode(errors="replace") if text is not None else None

    def state_at(self, commit: str | None) -> RepoState:
        """The state of the repository at a commit."""
        published = self.manifest_at(commit)
        listed = manifest.hashes(published) if published else {}
        return RepoState(commit, self.repository.tree(commit), published, listed)

    def latest_version(self, refs: Refs) -> LatestVersion | None:
        """The latest version that chatdata published, or None without a version."""
        for version in versions.of_tags(refs.tags):
            commit = refs.tags[version.tag]
            published = self.manifest_at(commit)
            if published is not None:
                return LatestVersion(version, commit, published)
        return None

    def following(self, latest: LatestVersion | None) -> PushContext:
        """The same context; the card of its release says what changed since the latest version."""
        if latest is None:
            return self
        return replace(self, release=self.release.following(latest.manifest))
