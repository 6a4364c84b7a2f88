"""What publishing a release will do to its repository, or why it must not be published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from chatdata.core.errors import HubError
from chatdata.dataset import card
from chatdata.hub.repository import Refs
from chatdata.publish import published_diff, references, versions
from chatdata.publish import release as releases
from chatdata.publish.context import LatestVersion, PushContext, RepoState

State = Literal["planned", "published", "nothing"]
_SHOWN = 5  # files to delete; `as_json` names all


@dataclass(frozen=True)
class Plan:
    """What is published where, and the step from the latest version."""

    repo: str
    version: str
    content_hash: str
    state: State = "planned"
    creates: bool = False  # whether the repository is new
    private: bool = True  # of a new repository
    previous: str | None = None  # the tag of the latest version
    step: str | None = None  # the least step from the latest version
    reason: str | None = None  # for the step
    upload: tuple[tuple[str, int], ...] = ()  # path, bytes
    unchanged: int = 0  # files
    delete: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def tag(self) -> str:
        """The tag of the version."""
        return references.tag_of(self.version)

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values, for machines."""
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
        """Yields the lines to print for people."""
        where = f"{self.repo} {self.tag}"
        if self.state == "nothing":
            yield f"nothing to publish: {self.repo} {self.previous} has the same content"
            if self.previous != self.tag:
                yield f"  to publish it as {self.tag} too, pass --allow-version"
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
        yield f"  upload {len(self.upload)} files, {_bytes(size)}; {self.unchanged} are unchanged"
        for path in self.delete[:_SHOWN]:
            yield f"  delete {path}, a file of an earlier version"
        if len(self.delete) > _SHOWN:
            yield f"  delete {len(self.delete) - _SHOWN} more"
        yield f"  {self.content_hash}"


def _bytes(size: float) -> str:
    """A size with its unit, such as `1.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def make(
    context: PushContext, refs: Refs, latest: LatestVersion | None, allow_version: bool
) -> tuple[Plan, RepoState]:
    """The plan of a push, and the state of the repository at `refs`, on which the plan rests.

    `latest` is the latest version there. Raises HubError for a version that is taken, or whose
    step from `latest` is too small for the change of the rows.
    """
    release = context.release
    state = context.state_at(refs.head)
    plan = Plan(context.repository.name, str(release.version), release.manifest.content_hash)
    if release.version.tag in refs.tags:
        return _repeated(context, plan, refs.tags[release.version.tag]), state
    _refuse_unfinished(context, state)
    if latest is not None:
        plan = _following(context, plan, latest, allow_version)
    if plan.state != "nothing":
        plan = _with_files(context, plan, state)
    return plan, state


def _with_files(context: PushContext, plan: Plan, state: RepoState) -> Plan:
    """The plan with the files to upload and to delete."""
    release = context.release
    missing = release.missing_at(state.tree)
    published = context.card_at(state.commit)
    page = release.card_over(published)
    upload = [(file.path, file.size) for file in missing]
    if page != published:
        upload.append((card.PAGE, len(page.encode())))
    if release.ignores_edits(published):
        context.note(
            f"both '{release.folder / card.PAGE}' and the published card were edited; the text of "
            "the published card is kept, so edit that card on the Hub"
        )
    unchanged = len(release.files) - len(missing)
    delete = tuple(state.stale(release))
    return replace(plan, upload=tuple(upload), unchanged=unchanged, delete=delete)


def _repeated(context: PushContext, plan: Plan, commit: str) -> Plan:
    """The plan for a version that exists: nothing to do.

    Raises HubError where the version has other content.
    """
    release, published = context.release, context.manifest_at(commit)
    if published is None or not releases.is_same_dataset(published, release.manifest):
        raise HubError(
            f"'{plan.repo}' has {release.version.tag} with other content (commit {commit[:12]}), "
            "and a version is never replaced; publish under the next version."
        )
    return replace(plan, state="nothing", previous=release.version.tag, commit=commit)


def _refuse_unfinished(context: PushContext, state: RepoState) -> None:
    """Raises HubError where another push of this version has made its commit, but not its tag."""
    release, published = context.release, state.manifest
    if published is None or published.version != str(release.version):
        return
    if not releases.is_same_dataset(published, release.manifest):
        raise HubError(
            f"'{context.repository.name}' holds {release.version} with other content (commit "
            f"{str(state.commit)[:12]}), not tagged yet; publish under the next version, or push "
            "that folder again to finish its push."
        )


def _following(
    context: PushContext, plan: Plan, latest: LatestVersion, allow_version: bool
) -> Plan:
    """The plan with the step from the latest version. Raises HubError for too small a step."""
    release = context.release
    if allow_version:
        return replace(plan, previous=latest.version.tag)
    if _changes_nothing(context, latest):
        previous = latest.version.tag
        return replace(plan, state="nothing", previous=previous, commit=latest.commit)
    change = published_diff.since(
        context.repository, latest.commit, latest.manifest, release.folder, release.manifest
    )
    versions.check(latest.version, release.version, change)
    return replace(plan, previous=latest.version.tag, step=change.step, reason=change.reason)


def _changes_nothing(context: PushContext, latest: LatestVersion) -> bool:
    """Whether the latest version has the same dataset and card, but for the version's number."""
    release = context.release
    if not releases.is_same_dataset(latest.manifest, release.manifest):
        return False
    published = context.card_at(latest.commit)
    return release.with_card_of(latest.version).card_over(published) == published
