"""Publishes a finished folder as a version: one commit, then one tag that never moves.

Files that are uploaded ahead are invisible until the commit, and the commit is made on the head
that was looked at, or not at all. So whatever ends a push (a kill, a lost answer, another
publisher), the version is published or not, and the same command again reaches the same end. A
push trusts what the repository holds, not the answers of the Hub: an answer may be lost, and a
commit that changes nothing is answered with a head that may be another publisher's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chatdata.core.errors import HubError
from chatdata.dataset import card, remote_copy
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import File, Refs, Repository, checked_name
from chatdata.pipeline.progress import Progress, silent
from chatdata.publish import plan, versions
from chatdata.publish import release as releases
from chatdata.publish.context import PushContext, RepoState
from chatdata.publish.journal import Journal
from chatdata.publish.plan import Plan

LARGE = ".parquet"  # files that go to large storage, whatever their size


def push(
    folder: str | Path,
    repo: str,
    version: str,
    *,
    private: bool | None = None,
    dry_run: bool = False,
    allow_version: bool = False,
    progress: Progress = silent,
    note: Note = client.quiet,
) -> Plan:
    """Publishes the folder as `version` in the dataset's repository `repo`. Returns what was done.

    A repository that does not exist is created, private unless `private` is False. Nothing is
    done where the version exists with the same content. `dry_run` changes nothing.
    `allow_version` publishes under a version that is too small a step for the change of the rows.
    Raises a ChatdataError where the push fails; then no part of the version is visible.
    """
    folder = remote_copy.folder(folder)
    wanted, repository = versions.parse(version), Repository.named(checked_name(repo))
    client.check_reach(f"dataset '{repo}'")
    release = releases.prepare(folder, wanted)
    journal = Journal.beside(folder, repository.api.endpoint, repo)
    context = PushContext(release, repository, journal, progress, note)
    with client.reaching(f"dataset '{repo}'"):
        refs, creates = _refs(context, private, dry_run)
        latest = client.retrying(note)(context.latest_version, refs)
        context = context.following(latest)
        planned, state = client.retrying(note)(plan.make, context, refs, latest, allow_version)
        planned = replace(planned, creates=creates, private=private is not False)
        if dry_run:
            return planned
        if planned.state == "nothing":
            journal.forget()
            return planned
        with repository.transfer(note):
            _upload(context, state)
            commit = _commit(context, state)
        commit = _tag(context, commit)
    journal.forget()
    return replace(planned, state="published", commit=commit)


def _refs(context: PushContext, private: bool | None, dry_run: bool) -> tuple[Refs, bool]:
    """The refs of the repository, and whether it is new. Creates a new one unless on a dry run."""
    retry = client.retrying(context.note)
    repository = context.repository
    refs = retry(repository.refs_if_there)
    if refs is None:
        if dry_run:
            return Refs({}, {}), True
        retry(repository.create, private is not False)
        return retry(repository.refs), True
    if private is not None and retry(repository.is_private) is not private:
        kept = "public" if private else "private"
        context.note(
            f"'{repository.name}' stays {kept}: to change who sees a repository, use its settings "
            "on the Hub"
        )
    return refs, False


def _upload(context: PushContext, state: RepoState) -> None:
    """Uploads the missing shards, one by one, ahead of the commit."""
    missing = context.release.missing_at(state.tree)
    shards = [file for file in missing if file.path.endswith(LARGE)]
    total, done = sum(file.size for file in shards), 0
    for file in shards:
        if file.sha256 not in context.journal.done:
            context.repository.upload(file)
            context.journal.add(file.sha256)
        done += file.size
        context.progress("uploading", done, total)


# --------------------------------------------------------------------------------- the commit


def _commit(context: PushContext, first: RepoState) -> str:
    """Makes the commit, once. Returns a commit that holds the release.

    Each try looks at the head first, because an earlier try may have succeeded without an answer.
    """
    release, repository = context.release, context.repository

    def attempt() -> str:
        head = repository.refs().head
        state = first if head == first.commit else context.state_at(head)
        if state.commit is not None and state.holds(release):
            return state.commit
        _check_untouched(context, first, state)
        files, deletions = _operations(context, state)
        return repository.commit(state.commit, files, deletions, _title(context), context.note)

    commit = client.retrying(context.note, _may_pass)(attempt)
    made = client.retrying(context.note, _may_appear)(context.state_at, commit)
    if not made.holds(release):
        raise HubError(
            f"commit {commit[:12]} of '{repository.name}' does not hold what was pushed "
            f"({_difference(context, made)}); nothing was tagged, so push again."
        )
    return commit


def _operations(context: PushContext, state: RepoState) -> tuple[list[File], list[str]]:
    """The files to add, and the paths to delete."""
    release = context.release
    page = File.of(card.PAGE, release.card_over(context.card_at(state.commit)))
    pages = [] if page.is_at(state.tree.get(card.PAGE)) else [page]
    return [*release.missing_at(state.tree), *pages], state.stale(release)


def _may_pass(error: BaseException) -> bool:
    """Whether to look and try again: also when locked (409), or when the head has moved (412)."""
    has_moved = client.status_of(error) in (409, 412)
    return has_moved or client.is_passing(error) or client.is_lost(error)


def _may_appear(error: BaseException) -> bool:
    """Whether a commit that was made a moment ago may still become visible."""
    return _may_pass(error) or client.is_unknown_revision(error)


def _check_untouched(context: PushContext, first: RepoState, state: RepoState) -> None:
    """Raises HubError where another publisher was faster. Files outside the dataset may change."""
    if state.commit == first.commit:
        return
    before, after = first.managed(context.release), state.managed(context.release)
    if any(before.get(path) != after.get(path) for path in {*before, *after}):
        version = state.manifest.version if state.manifest else "no version"
        raise HubError(
            f"somebody published to '{context.repository.name}' meanwhile (commit "
            f"{str(state.commit)[:12]} holds {version}); nothing of this push was committed: look "
            "at that version, then push as the next version."
        )


def _difference(context: PushContext, state: RepoState) -> str:
    """A file that the state lacks, or should not have."""
    missing = [file.path for file in context.release.missing_at(state.tree)]
    if missing:
        return f"{missing[0]} is missing"
    return f"{state.stale(context.release)[0]} is still there"


def _title(context: PushContext) -> str:
    return f"{context.release.manifest.name} {context.release.version}"


# ------------------------------------------------------------------------------------ the tag


def _tag(context: PushContext, commit: str) -> str:
    """Makes the tag, once. Returns its commit: `commit`, or another with the same dataset."""
    release, repository = context.release, context.repository
    tag = release.version.tag

    def attempt() -> str:
        tagged = repository.refs().tags.get(tag)
        if tagged is None:
            repository.tag(tag, commit)
            return commit
        published = context.manifest_at(tagged)
        if tagged == commit or (
            published is not None and releases.is_same_dataset(published, release.manifest)
        ):
            return tagged
        raise HubError(
            f"somebody gave '{repository.name}' the tag {tag} meanwhile, at another commit "
            f"({tagged[:12]}); this push is commit {commit[:12]}: publish it as the next version."
        )

    return str(client.retrying(context.note, _may_appear)(attempt))
