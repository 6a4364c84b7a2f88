"""Publishes a finished folder as a version: one commit, then one tag that never moves.

What is uploaded ahead shows nowhere until the commit, and the commit is made upon the head that
was looked at, or not at all. So whatever ends a push (a kill, a lost answer, another publisher),
the version is there or it is not, and the same command again comes to the same end. It goes by
what the repository holds, never by what it was told: an answer may be lost, and a commit that
changes nothing answers with a head that may be anybody's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chatdata.core.errors import HubError
from chatdata.dataset import card
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.repository import File, Refs, Repository, checked_name
from chatdata.publish import plan, release, versions
from chatdata.publish.journal import Journal
from chatdata.publish.plan import Plan, Progress, Push, Standing

LARGE = ".parquet"  # what goes to large storage, whatever its size


def push(
    folder: str | Path,
    repo: str,
    version: str,
    *,
    private: bool | None = None,
    dry_run: bool = False,
    allow_version: bool = False,
    progress: Progress = lambda step, done, total: None,
    note: Note = lambda text: None,
) -> Plan:
    """Publishes the folder as `version` in the dataset's repository `repo`. Returns what was done.

    A repository that is not there is created, private unless `private` is False. Where the
    version is there with the same content, nothing is done. `dry_run` only looks.
    `allow_version` publishes under a version that the change of the rows does not allow.
    Raises a ChatdataError where it fails; then no part of the version is to be seen.
    """
    prepared = release.prepare(Path(folder), versions.parse(version))
    repository = Repository.named(checked_name(repo))
    journal = Journal.beside(Path(folder), repository.api.endpoint, repo)
    own = Push(prepared, repository, journal, progress, note)
    with client.reaching(f"dataset '{repo}'"):
        refs, creates = _refs(own, private, dry_run)
        last = client.retrying(note)(own.last, refs)
        own = own.after(last)
        found, first = client.retrying(note)(plan.make, own, refs, last, allow_version)
        found = replace(found, creates=creates, private=private is not False)
        if dry_run:
            return found
        if found.state == "nothing":
            journal.forget()
            return found
        with repository.transfer(note):
            _upload(own, first)
            commit = _commit(own, first)
        commit = _tag(own, commit)
    journal.forget()
    return replace(found, state="published", commit=commit)


def _refs(own: Push, private: bool | None, dry_run: bool) -> tuple[Refs, bool]:
    """The repository's refs, and whether it is a new one, which is made unless on a dry run."""
    again = client.retrying(own.note)
    refs = again(own.repository.refs_if_there)
    if refs is None:
        if dry_run:
            return Refs({}, {}), True
        again(own.repository.create, private is not False)
        return again(own.repository.refs), True
    if private is not None and again(own.repository.is_private) is not private:
        stays = "public" if private else "private"
        own.note(f"'{own.repository.name}' stays {stays}: what is there is changed on its own page")
    return refs, False


def _upload(own: Push, first: Standing) -> None:
    """Uploads the shards that are not there, one by one, ahead of the commit."""
    missing = own.release.missing_at(first.tree)
    shards = [file for file in missing if file.path.endswith(LARGE)]
    total, done = sum(file.size for file in shards), 0
    for file in shards:
        if file.sha256 not in own.journal.done:
            own.repository.upload(file)
            own.journal.add(file.sha256)
        done += file.size
        own.progress("uploading", done, total)


# --------------------------------------------------------------------------------- the commit


def _commit(own: Push, first: Standing) -> str:
    """Makes the commit, once. Returns a commit that holds the release.

    Before each try it looks at the head: an earlier try may have got there without an answer.
    """

    def attempt() -> str:
        head = own.repository.refs().head
        now = first if head == first.head else own.standing_at(head)
        if now.head is not None and now.holds(own.release):
            return now.head
        _check_untouched(own, first, now)
        return own.repository.commit(now.head, *_operations(own, now), _title(own), own.note)

    commit = client.retrying(own.note, _may_pass)(attempt)
    made = client.retrying(own.note, _may_come)(own.standing_at, commit)
    if not made.holds(own.release):
        raise HubError(
            f"commit {commit[:12]} of '{own.repository.name}' does not hold what was pushed "
            f"({_lacking(own, made)}); nothing was tagged, so push again."
        )
    return commit


def _operations(own: Push, now: Standing) -> tuple[list[File], list[str]]:
    """What to add and what to delete."""
    published = own.card_at(now.head)
    page = File.of(card.PAGE, own.release.card_over(published))
    missing = own.release.missing_at(now.tree)
    pages = [] if page.is_at(now.tree.get(card.PAGE)) else [page]
    return [*missing, *pages], now.stale(own.release)


def _may_pass(error: BaseException) -> bool:
    """Whether to look and try again: also when locked (409), or when the head has moved (412)."""
    has_moved = client.status_of(error) in (409, 412)
    return has_moved or client.is_passing(error) or client.is_lost(error)


def _may_come(error: BaseException) -> bool:
    """Whether a commit that was made a moment ago may yet be seen."""
    return _may_pass(error) or client.is_unknown_revision(error)


def _check_untouched(own: Push, first: Standing, now: Standing) -> None:
    """Raises HubError where another publisher was faster. Other people's files do not matter."""
    if now.head == first.head:
        return
    before, after = first.managed(own.release), now.managed(own.release)
    touched = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    if touched:
        version = now.facts.version if now.facts else "no version"
        raise HubError(
            f"'{own.repository.name}' was published to meanwhile (commit {str(now.head)[:12]} "
            f"holds {version}); nothing of this push was committed: look at it, then push as the "
            "next version."
        )


def _lacking(own: Push, made: Standing) -> str:
    missing = [file.path for file in own.release.missing_at(made.tree)]
    return f"{missing[0]} is missing" if missing else f"{made.stale(own.release)[0]} is left"


def _title(own: Push) -> str:
    return f"{own.release.facts.name} {own.release.version}"


# ------------------------------------------------------------------------------------ the tag


def _tag(own: Push, commit: str) -> str:
    """Makes the tag, once. Returns the commit that it names: this one, or one with the same."""
    tag = own.release.version.tag

    def attempt() -> str:
        there = own.repository.refs().tags.get(tag)
        if there is None:
            own.repository.tag(tag, commit)
            return commit
        facts = own.published(there)
        if there != commit and not (facts and release.same(facts, own.release.facts)):
            raise HubError(
                f"'{own.repository.name}' was given the tag {tag} meanwhile, at another commit "
                f"({there[:12]}); this push is commit {commit[:12]}, so publish it as the next."
            )
        return there

    return str(client.retrying(own.note, _may_come)(attempt))
