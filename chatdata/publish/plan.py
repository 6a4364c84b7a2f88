"""What publishing a release will do, by what its repository holds, or why it must not be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from chatdata.core.errors import HubError
from chatdata.dataset import card, manifest
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.hub.client import Note
from chatdata.hub.repository import Entry, Refs, Repository, Tree
from chatdata.publish import published_diff, release, versions
from chatdata.publish.journal import Journal
from chatdata.publish.release import Release
from chatdata.publish.versions import Version

Progress = Callable[[str, int, int], None]
State = Literal["planned", "published", "nothing"]
_SHOWN = 5  # files that are deleted; `facts` names all


@dataclass(frozen=True)
class Plan:
    """What is published where, and how it follows on what is there."""

    repo: str
    version: str
    content_hash: str
    state: State = "planned"
    creates: bool = False  # the repository
    private: bool = True  # where it is created
    previous: str | None = None  # the last version
    step: str | None = None  # from the last version, at least
    reason: str | None = None  # for the step
    upload: tuple[tuple[str, int], ...] = ()  # path, bytes
    unchanged: int = 0  # files
    delete: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def tag(self) -> str:
        """The tag of the version."""
        return f"v{self.version}"

    def facts(self) -> dict[str, Any]:
        """It, for machines."""
        return {
            "repo": self.repo,
            "version": self.version,
            "tag": self.tag,
            "state": self.state,
            "commit": self.commit,
            "content_hash": self.content_hash,
            "creates_repository": self.creates,
            "private": self.private if self.creates else None,
            "previous": self.previous,
            "step": self.step,
            "reason": self.reason,
            "upload": [{"path": path, "bytes": size} for path, size in self.upload],
            "unchanged": self.unchanged,
            "delete": list(self.delete),
        }

    def lines(self) -> Iterator[str]:
        """It, for people."""
        where = f"{self.repo} {self.tag}"
        if self.state == "nothing":
            yield f"nothing to publish: {self.repo} {self.previous} has this very content"
            if self.previous != self.tag:
                yield f"  --allow-version publishes it as {self.tag} too"
            return
        if self.state == "published":
            yield f"published {where}, commit {self.commit}"
        else:
            yield f"would publish {where}" + (f" after {self.previous}" if self.previous else "")
        yield from self._details()

    def _details(self) -> Iterator[str]:
        if self.creates:
            yield f"  a new {'private' if self.private else 'public'} repository"
        if self.step:
            yield f"  {self.reason} since {self.previous}: at least a {self.step} version"
        size = sum(size for _, size in self.upload)
        yield f"  {len(self.upload)} files, {_bytes(size)}; {self.unchanged} are there already"
        for path in self.delete[:_SHOWN]:
            yield f"  without {path}, which is of an earlier version"
        if len(self.delete) > _SHOWN:
            yield f"  and without {len(self.delete) - _SHOWN} more"
        yield f"  {self.content_hash}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@dataclass(frozen=True)
class Push:
    """What is published, where, and who is told."""

    release: Release
    repository: Repository
    journal: Journal
    progress: Progress
    note: Note

    def published(self, commit: str | None) -> Manifest | Listing | None:
        """The manifest at a commit, where chatdata published there."""
        text = self.repository.read(manifest.FILE, commit) if commit else None
        return manifest.parse(text) if text is not None else None

    def card_at(self, commit: str | None) -> str | None:
        """The card at a commit."""
        text = self.repository.read(card.PAGE, commit) if commit else None
        return text.decode(errors="replace") if text is not None else None

    def standing_at(self, commit: str | None) -> Standing:
        """What is at a commit."""
        facts = self.published(commit)
        listed = manifest.hashes(facts) if facts else {}
        return Standing(commit, self.repository.tree(commit), facts, listed)

    def last(self, refs: Refs) -> Last | None:
        """The latest version that chatdata published."""
        for version in versions.of_tags(refs.tags):
            commit = refs.tags[version.tag]
            facts = self.published(commit)
            if facts is not None:
                return Last(version, commit, facts)
        return None

    def after(self, last: Last | None) -> Push:
        """The same, with a card that says what changed since the last version."""
        return replace(self, release=self.release.after(last.facts)) if last else self


class Last(NamedTuple):
    """The last version of a repository."""

    version: Version
    commit: str
    facts: Manifest | Listing


@dataclass(frozen=True)
class Standing:
    """A repository at one moment: its head, the files there, and what its manifest lists."""

    head: str | None
    tree: Tree
    facts: Manifest | Listing | None
    listed: Mapping[str, str]

    def managed(self, own: Release) -> dict[str, Entry]:
        """The files that are a dataset's, but for the card, on which users write too."""
        known = {*self.listed, *own.files}
        return {
            path: entry
            for path, entry in self.tree.items()
            if path != card.PAGE and release.is_managed(path, known)
        }

    def stale(self, own: Release) -> list[str]:
        """The files of earlier versions that this release does not have."""
        return sorted(set(self.managed(own)) - set(own.files))

    def holds(self, own: Release) -> bool:
        """Whether the release is there: every file of it, and no file of an earlier one."""
        return not own.missing_at(self.tree) and not self.stale(own)


def make(push: Push, refs: Refs, last: Last | None, allow_version: bool) -> tuple[Plan, Standing]:
    """What publishing will do, and what it goes by: the repository as it stands at these refs.

    `last` is the last version there. Raises HubError for a version that is taken, or that the
    change of the rows does not allow.
    """
    own = push.release
    standing = push.standing_at(refs.head)
    found = Plan(push.repository.name, str(own.version), own.facts.content_hash)
    if own.version.tag in refs.tags:
        return _again(push, found, refs.tags[own.version.tag]), standing
    _refuse_unfinished(push, standing)
    if last is not None:
        found = _following(push, found, last, allow_version)
    if found.state != "nothing":
        found = _with_files(push, found, standing)
    return found, standing


def _card(own: Release, published: str | None) -> tuple[str, int]:
    return card.PAGE, len(own.card_over(published).encode())


def _with_files(push: Push, found: Plan, standing: Standing) -> Plan:
    """The plan with what is uploaded, and what is deleted."""
    own = push.release
    missing = own.missing_at(standing.tree)
    published = push.card_at(standing.head)
    upload = [(file.path, file.size) for file in missing]
    if own.card_over(published) != published:
        upload.append(_card(own, published))
    if own.ignores_edits(published):
        push.note(
            f"'{own.folder / card.PAGE}' was edited, and so was the published card, whose text is "
            "kept; edit it there"
        )
    unchanged = len(own.files) - len(missing)
    delete = tuple(standing.stale(own))
    return replace(found, upload=tuple(upload), unchanged=unchanged, delete=delete)


def _again(push: Push, found: Plan, commit: str) -> Plan:
    """The plan for a version that is there: nothing to do. Raises HubError if it is another."""
    published, tag = push.published(commit), push.release.version.tag
    if published is None or not release.same(published, push.release.facts):
        raise HubError(
            f"'{found.repo}' has {tag} with other content (commit {commit[:12]}), and a version "
            "is never replaced; publish under the next one."
        )
    return replace(found, state="nothing", previous=tag, commit=commit)


def _refuse_unfinished(push: Push, standing: Standing) -> None:
    """Raises HubError where somebody else's push of this version has come to its commit."""
    facts, version = standing.facts, str(push.release.version)
    if facts and facts.version == version and not release.same(facts, push.release.facts):
        raise HubError(
            f"'{push.repository.name}' holds {version} with other content (commit "
            f"{str(standing.head)[:12]}), not tagged yet; publish under the next version, or push "
            "that folder again to finish it."
        )


def _following(push: Push, found: Plan, last: Last, allow_version: bool) -> Plan:
    """The plan with how far the version is from the last. Raises HubError where not far enough."""
    version, commit, before = last
    own = push.release
    if allow_version:
        return replace(found, previous=version.tag)
    if _says_the_same(push, last):
        return replace(found, state="nothing", previous=version.tag, commit=commit)
    change = published_diff.since(push.repository, commit, before, own.folder, own.facts)
    versions.check(version, own.version, change)
    return replace(found, previous=version.tag, step=change.step, reason=change.reason)


def _says_the_same(push: Push, last: Last) -> bool:
    """Whether the last version has the same dataset and the same card, but for the number."""
    version, commit, before = last
    if not release.same(before, push.release.facts):
        return False
    published = push.card_at(commit)
    return push.release.said_as(version).card_over(published) == published
