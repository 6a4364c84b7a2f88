"""The commands that talk to the Hub: push, pull, doctor."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import note, print_json, say


@click.command()
@options.built_folder
@click.argument("repo")
@click.option("--version", required=True, metavar="X.Y.Z", help="The version to publish.")
@click.option(
    "--public/--private",
    "public",
    default=None,
    help="Who sees a new repository; an existing repository stays as it is. [private]",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--allow-version", is_flag=True, help="Allow any version, however the rows changed.")
@options.as_json
@options.loudness
def push(
    out: Path,
    repo: str,
    version: str,
    public: bool | None,
    dry_run: bool,
    allow_version: bool,
    as_json: bool,
) -> None:
    """Publish a built folder as a version of a dataset on the Hub.

    REPO is the dataset (`org/name`). All files go into one commit, then the tag vX.Y.Z names that
    commit and never moves. If a push is interrupted, the same command again finishes it. Removed or
    changed rows, and changed columns, need a new major version; added rows a minor version; a new
    card a patch version.

    \b
    chatdata push out/sample-1.0.0 org/sample --version 1.0.0 --dry-run
    """
    from chatdata.hub import reach, settings

    reach.begin()
    from chatdata.publish.push import push as run

    with progress.bar() as shown:
        plan = run(
            out,
            repo,
            version,
            private=None if public is None else not public,
            dry_run=dry_run,
            allow_version=allow_version,
            progress=shown,
            note=note,
        )
    page = f"{settings.endpoint()}/datasets/{repo}/tree/{plan.tag}"
    is_there = plan.state == "published" or plan.previous == plan.tag
    if as_json:
        print_json({**plan.as_json(), "url": page if is_there else None})
    else:
        say("\n".join([*plan.lines(), *([page] if is_there else [])]))


@click.command()
@click.argument("reference", metavar="REPO@VERSION|URL")
@click.option("--out", type=options.PLACE, required=True, help="The folder to write.")
@click.option("--allow-moving-revision", is_flag=True, help="Allow a branch, which may move.")
@options.force
@options.as_json
@options.loudness
def pull(
    reference: str, out: str | Path, allow_moving_revision: bool, force: bool, as_json: bool
) -> None:
    """Fetch a published version into a folder, every hash checked.

    The version (`1.0.0`, a tag, or a commit) is resolved to a commit once, and all files come from
    that commit. Files in the client's cache are not fetched again.

    \b
    chatdata pull org/sample@1.0.0 --out out/sample
    """
    from chatdata.hub import reach

    reach.begin()
    from chatdata.publish.pull import pull as run

    with progress.bar() as shown:
        origin = run(
            reference,
            out,
            allow_moving=allow_moving_revision,
            force=force,
            progress=shown,
            note=note,
        )
    if as_json:
        print_json(origin)
    else:
        if "repo" in origin:
            say(f"{origin['repo']} {origin['tag'] or ''} commit {origin['commit']}")
        say(f"{origin['content_hash']}\n{out}")


@click.command()
@click.argument("repo", required=False)
@options.as_json
def doctor(repo: str | None, as_json: bool) -> None:
    """Say whether publishing from here would work, or what is wrong.

    Publishing to REPO, if that is given. Asks the Hub who you are, and changes nothing. Ends with
    status 1 where publishing would fail.
    """
    from chatdata.hub import reach

    reach.begin()
    from chatdata.publish.doctor import examine

    report = examine(repo)
    if as_json:
        print_json({**report.facts, "problems": report.problems})
    else:
        say("\n".join(report.lines()))
    if report.problems:
        raise SystemExit(1)
