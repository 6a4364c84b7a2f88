"""`org/name@1.2.0`: a dataset at a version, and the commit to which the version is resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chatdata.core.errors import HubError
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import Refs, Repository, checked_name

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """A dataset on the Hub and a revision: a version, a tag, a branch or a commit."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class Pinned:
    """A dataset at one commit. `tag` is None where a commit or a branch was asked for."""

    repo: str
    tag: str | None
    commit: str

    @property
    def is_version(self) -> bool:
        """Whether a version was asked for."""
        return self.tag is not None and _VERSION.fullmatch(self.tag) is not None

    @property
    def where(self) -> str:
        """The dataset and its revision, for a message."""
        return f"dataset '{self.repo}' at {self.tag or self.commit[:12]}"


def parse(text: str) -> Reference:
    """The reference in a text such as `org/name@1.2.0`. Raises HubError for any other text."""
    repo, at, revision = text.partition("@")
    if not at or not revision:
        raise HubError(f"'{text}' names no version; write {repo or 'org/name'}@1.0.0, for example.")
    return Reference(checked_name(repo), revision)


def tag_of(version: str) -> str:
    """The tag of a version: `v1.2.0` for `1.2.0` and for `v1.2.0`."""
    return f"v{version.removeprefix('v')}"


def resolve(reference: Reference, note: Note, allow_moving: bool = False) -> Pinned:
    """The dataset at the commit that a version, a tag or a commit names.

    The client keeps the answer in its cache, and uses it when the Hub cannot be reached. Raises
    HubError for a branch, unless `allow_moving`, and for a revision that does not exist.
    """
    repo, revision = reference.repo, reference.revision
    if _COMMIT.fullmatch(revision):
        return Pinned(repo, None, revision)
    name = tag_of(revision) if _VERSION.fullmatch(revision) else revision
    repository = Repository.named(repo)
    with client.reaching(f"dataset '{repo}'"):
        try:
            refs = client.retrying(note)(repository.refs)
        except client.UNREACHABLE:
            pinned = _from_cache(repository, name)
            note("the Hub cannot be reached; the version is taken from the cache")
            return pinned
    _check(reference, refs, name, allow_moving)
    with client.reaching(f"dataset '{repo}' at {name}"):
        commit = client.retrying(note)(repository.resolve, name)
    return Pinned(repo, name if name in refs.tags else None, commit)


def _from_cache(repository: Repository, name: str) -> Pinned:
    """The commit to which a name was resolved before. Raises HubError where it never was."""
    commit = repository.resolve_offline(name)
    if commit is None:
        raise HubError(
            f"dataset '{repository.name}' at {name} is not in the cache and the Hub cannot be "
            "reached: check the network and HF_ENDPOINT."
        )
    is_version = _VERSION.fullmatch(name) is not None
    return Pinned(repository.name, name if is_version else None, commit)


def _check(reference: Reference, refs: Refs, name: str, allow_moving: bool) -> None:
    """Raises HubError for a revision that does not exist, is ambiguous, or may move."""
    repo = reference.repo
    if name in refs.tags and name in refs.branches:
        raise HubError(
            f"'{name}' is both a tag and a branch of '{repo}'; name the commit "
            f"{refs.tags[name]} instead."
        )
    if name in refs.tags or (name in refs.branches and allow_moving):
        return
    versions = [tag for tag in refs.tags if _VERSION.fullmatch(tag)]
    latest = max(versions, key=_numbers, default=None)
    if name in refs.branches:
        way_out = f"name a version ({latest})" if latest else "name the commit"
        raise HubError(
            f"'{name}' is a branch of '{repo}', which may move: {way_out}, or allow a branch "
            "(--allow-moving-revision; allow_moving_revision: true in a train recipe)."
        )
    known = f"the latest is {latest}" if latest else "it has no version yet"
    raise HubError(f"dataset '{repo}' has no {name}; {known}.")


def _numbers(tag: str) -> tuple[int, ...]:
    return tuple(int(part) for part in tag.removeprefix("v").split("."))
