"""`org/name@1.2.0`: which dataset, at which version, and the one commit that it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from huggingface_hub import errors
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from chatdata.core.errors import HubError
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import KIND, Refs, Repository, checked_name

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """A dataset on the Hub and what it is asked for at."""

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
        """It, in words."""
        return f"dataset '{self.repo}' at {self.tag or self.commit[:12]}"


def parse(text: str) -> Reference:
    """What `org/name@1.2.0` says. Raises HubError where no version is named."""
    repo, at, revision = text.partition("@")
    if not at or not revision:
        raise HubError(f"'{text}' names no version; write {repo or 'org/name'}@1.0.0, for example.")
    return Reference(checked_name(repo), revision)


def tag_of(version: str) -> str:
    """The tag of a version: v1.2.0 for 1.2.0, and for v1.2.0."""
    return f"v{version.removeprefix('v')}"


def resolve(reference: Reference, note: Note, allow_moving: bool = False) -> Pinned:
    """The commit that a version, a tag or a commit names: asked for once, then kept.

    Without a network, what was asked for before is in the client's cache. Raises HubError for a
    branch, which moves, unless that is allowed; and for what is not there.
    """
    repo, revision = reference.repo, reference.revision
    if _COMMIT.fullmatch(revision):
        return Pinned(repo, None, revision)
    name = tag_of(revision) if _VERSION.fullmatch(revision) else revision
    repository = Repository.named(repo)
    with client.reaching(f"dataset '{repo}'"):
        try:
            refs = client.retrying(note)(repository.refs)
        except (httpx.TransportError, errors.OfflineModeIsEnabled):
            note("the Hub cannot be reached; what is in the cache is taken")
            return _from_cache(repository, name)
    _check(reference, refs, name, allow_moving)
    with client.reaching(f"dataset '{repo}' at {name}"):
        resolved = client.retrying(note)(
            repository.api.resolve_revision, repo, repo_type=KIND, revision=name
        )
    return Pinned(repo, name if name in refs.tags else None, resolved.resolved)


def _from_cache(repository: Repository, name: str) -> Pinned:
    """What a name was resolved to before. Raises what the client raises where it never was."""
    try:
        resolved = repository.api.resolve_revision(
            repository.name, repo_type=KIND, revision=name, local_files_only=True
        )
    except errors.RevisionResolutionError:
        raise HubError(
            f"dataset '{repository.name}' at {name} is not in the cache and the Hub cannot be "
            "reached: check the network and HF_ENDPOINT."
        ) from None
    is_version = _VERSION.fullmatch(name) is not None
    return Pinned(repository.name, name if is_version else None, resolved.resolved)


def _check(reference: Reference, refs: Refs, name: str, allow_moving: bool) -> None:
    """Raises HubError for a name that is not there, is ambiguous, or moves."""
    repo = reference.repo
    if name in refs.tags and name in refs.branches:
        raise HubError(
            f"'{name}' is both a tag and a branch of '{repo}'; name the commit "
            f"{refs.tags[name]} instead."
        )
    if name in refs.tags or (name in refs.branches and allow_moving):
        return
    versions = [own for own in refs.tags if _VERSION.fullmatch(own)]
    latest = max(versions, key=_numbers, default=None)
    if name in refs.branches:
        way_out = f"name a version ({latest})" if latest else "name the commit"
        raise HubError(
            f"'{name}' is a branch of '{repo}', which moves: {way_out}, or allow it "
            "(--allow-moving-revision; allow_moving_revision: true in a train recipe)."
        )
    known = f"the latest is {latest}" if latest else "it has no version yet"
    raise HubError(f"dataset '{repo}' has no {name}; {known}.")


def _numbers(tag: str) -> tuple[int, ...]:
    return tuple(int(part) for part in tag.removeprefix("v").split("."))
