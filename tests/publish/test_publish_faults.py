"""Publishing when things go wrong: killed at every request, raced, refused, not answered.

The end is always the same: the version is there whole, one commit and one tag, or it is not.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from chatdata.core.constants import RECIPE_FILE
from chatdata.dataset import card, manifest
from chatdata.publish import release
from tests.support.loopback import Hub, Repository
from tests.support.loopback.clients import Clients, Done
from tests.support.publishing import ADA, pushed, repository


def variant(folder: Path, out: Path, about: str) -> Path:
    """The same rows as another dataset: its recipe says something else of it."""
    shutil.copytree(folder, out)
    facts = manifest.read(out).as_json()
    facts |= {"about": about, "recipe": {**facts["recipe"], "about": about}}
    stamped, recipe = release.stamp(manifest.parsed(facts), facts["version"])
    (out / RECIPE_FILE).write_text(recipe)
    for name, text in card.pages(stamped).items():
        (out / name).write_text(text)
    manifest.write(out, stamped)
    return out


def tree(published: Repository, revision: str) -> dict[str, str]:
    return {path: blob.sha256 for path, blob in published.resolve(revision).tree.items()}


def start(client: Clients, out: Path, name: str, version: str) -> Any:
    return client.start("push", out, name, "--version", version, token=ADA)


# ------------------------------------------------------------------------------ killed


def writes(request: str) -> bool:
    return request.split()[0] not in ("GET", "HEAD")


def state(hub: Hub, name: str, out: Path) -> object:
    """All that a push leaves: on the Hub, and beside the folder."""
    published = hub.store.repositories.get(("dataset", name))
    journal = out.parent / f".{out.name}.push.jsonl"
    # Commits are named by their place: their ids say in which order the tests made them.
    oids = [commit.oid for commit in published.history()][::-1] if published else []
    refs = (
        {ref: oids.index(oid) for ref, oid in (published.branches | published.tags).items()}
        if published
        else {}
    )
    objects = sorted(published.objects) if published else []
    lines = journal.read_text().splitlines() if journal.exists() else []
    uploaded = [json.loads(line)["sha256"] for line in lines]
    return json.dumps([published is not None, refs, objects, uploaded])


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["the first version", "the next one"])
def test_killed_at_any_request_and_run_again_comes_to_the_same_end(
    hub: Hub, client: Clients, few_rows: Path, all_rows: Path, is_first: bool
) -> None:
    """The client ends as by a loss of power, when a request is done and not yet answered.

    It is run again from each state that this leaves, which is the same for many requests. A
    request that reads leaves something new only behind one that writes: what the client noted.
    """
    base, out, version = "ada/base", few_rows, "1.0.0"
    if not is_first:
        pushed(client, few_rows, base, "1.0.0")
        out, version = all_rows, "2.0.0"

    def new(number: int) -> str:
        name = f"ada/{'first' if is_first else 'next'}-{number}"
        if not is_first:
            hub.store.copy(repository(hub, base), name)
        return name

    hub.log.clear()
    pushed(client, out, new(0), version)
    requests = [exchange.request for exchange in hub.log]
    expected = repository(hub, new(0) if is_first else "ada/next-0")
    states = set()
    for number, request in enumerate(requests, 1):
        if not any(map(writes, requests[max(0, number - 2) : number])):
            continue
        name = new(number)
        held = hub.faults.hold(number)
        running = start(client, out, name, version)
        assert held.reached.wait(60), request
        running.kill()
        assert running.wait().code == -9
        held.release()
        if (left := state(hub, name, out)) in states:
            forget(out)
            continue
        states.add(left)
        pushed(client, out, name, version)
        published = repository(hub, name)
        titles = [commit.title for commit in published.history()]
        assert titles == [f"sample {version}", *([] if is_first else ["sample 1.0.0"]), INITIAL]
        assert published.tags[f"v{version}"] == published.branches["main"]
        assert tree(published, "main") == tree(expected, "main"), request
        assert not list(out.parent.glob(".*.push.jsonl"))
    assert len(requests) > 20
    # The guard, that kills were where it matters: nothing there, a repository, each shard sent,
    # each in the journal, the commit, the tag.
    assert len(states) >= (8 if is_first else 7)


INITIAL = "initial commit"


def forget(out: Path) -> None:
    """Removes the journal of a push that is not run again."""
    (out.parent / f".{out.name}.push.jsonl").unlink(missing_ok=True)


@pytest.mark.slow
def test_what_was_uploaded_before_a_kill_is_not_uploaded_again(
    hub: Hub, client: Clients, sample: Path
) -> None:
    held = hub.faults.add("POST .*/verify", delay=60, skip=2)
    running = start(client, sample, "ada/resumed", "1.0.0")
    while held.times:
        time.sleep(0.001)
    running.kill()
    running.wait()
    sent = hub.asked("PUT ")
    assert len(sent) == 3
    assert list(sample.parent.glob(f".{sample.name}.push.jsonl"))
    hub.faults.clear()
    pushed(client, sample, "ada/resumed", "1.0.0")
    again = hub.asked("PUT ")[len(sent) :]
    assert len(again) >= len(manifest.read(sample)["files"]) - len(sent)
    assert not set(again) & set(sent)


# ------------------------------------------------------------------------------ raced


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["the first version", "the next one"])
def test_of_four_publishers_one_wins_and_the_others_say_so(
    hub: Hub,
    client: Clients,
    few_rows: Path,
    tmp_path: Path,
    is_first: bool,
) -> None:
    name, version = ("ada/race", "1.0.0") if is_first else ("ada/race-on", "1.0.1")
    if not is_first:
        pushed(client, few_rows, name, "1.0.0")
    outs = [variant(few_rows, tmp_path / str(number), f"by {number}") for number in range(4)]
    hub.options.commit_seconds = 0.05
    racing = [start(client, out, name, version) for out in outs]
    done: list[Done] = [running.wait() for running in racing]
    winners = [number for number, outcome in enumerate(done) if outcome.code == 0]
    assert len(winners) == 1, [outcome.stderr for outcome in done]
    for outcome in done:
        if outcome.code:
            assert outcome.code == 1
            line = outcome.stderr.splitlines()[-1]
            assert "somebody published to" in line or "with other content" in line, outcome.stderr
    published = repository(hub, name)
    assert len(published.history()) == (2 if is_first else 3)
    assert published.tags[f"v{version}"] == published.branches["main"]
    facts = json.loads(hub.store.text(published, "manifest.json", f"v{version}"))
    assert facts["about"] == f"by {winners[0]}"


def test_publishers_who_do_not_look_at_the_head_all_win(hub: Hub, client: Clients) -> None:
    """The guard: without a parent, as `upload_folder` and `push_to_hub` commit, the second of two
    who looked at the same head hides what the first has published."""
    hub.store.create("dataset", "ada/careless")
    code = """
from huggingface_hub import CommitOperationAdd, HfApi
add = [CommitOperationAdd("manifest.json", b"{number}")]
HfApi().create_commit("ada/careless", add, commit_message="m", repo_type="dataset")
"""
    for number in range(2):
        assert client.run(code=code.format(number=number), token=ADA).code == 0
    assert len(repository(hub, "ada/careless").history()) == 3


@pytest.mark.slow
def test_two_who_publish_the_same_both_succeed_with_one_commit(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    hub.options.commit_seconds = 0.05
    both = [start(client, few_rows, "ada/twins", "1.0.0") for _ in range(2)]
    assert [running.wait().code for running in both] == [0, 0]
    assert len(repository(hub, "ada/twins").history()) == 2


# ------------------------------------------------------------------------------ the script

COMMIT, TAG, LFS = "POST .*/{}/commit/", "POST .*/{}/tag/", ".*/{}.git/info"
HTML = b"<html>Service Unavailable</html>"
# What goes wrong, and the requests beside those of a push without it, by METHOD.
SCRIPT: dict[str, dict[str, Any]] = {
    "commit locked": {"where": COMMIT, "status": 409, "times": 2},
    "commit stale, though it is not": {"where": COMMIT, "status": 412},
    "commit too often": {"where": COMMIT, "status": 429, "headers": {"Retry-After": "1"}},
    "commit limited": {
        "where": COMMIT,
        "status": 429,
        "headers": {"ratelimit": '"api";r=0;t=1', "ratelimit-policy": '"fixed";"api";q=5;w=3'},
    },
    "commit failed": {"where": COMMIT, "status": 500},
    "commit unavailable": {"where": COMMIT, "status": 503, "body": HTML},
    "commit done, said to have failed": {"where": COMMIT, "status": 500, "after": True},
    "commit done, said to be locked": {"where": COMMIT, "status": 409, "after": True},
    "commit done, gateway gave up": {"where": COMMIT, "status": 504, "after": True},
    "commit not answered": {"where": COMMIT, "drop": True},
    "commit done, not answered": {"where": COMMIT, "drop": True, "after": True},
    "commit slow": {"where": COMMIT, "delay": 0.5},
    "commit answered in part": {"where": COMMIT, "truncate": 10},
    "tag failed": {"where": TAG, "status": 500},
    "tag done, said to have failed": {"where": TAG, "status": 500, "after": True},
    "tag done, not answered": {"where": TAG, "drop": True, "after": True},
    "tag not answered": {"where": TAG, "drop": True},
    "tag too often": {"where": TAG, "status": 429, "headers": {"Retry-After": "1"}},
    "refs unavailable": {"where": "GET .*/{}/refs", "status": 503, "times": 2},
    "refs not answered, later": {"where": "GET .*/{}/refs", "drop": True, "skip": 1},
    "refs answered in part": {"where": "GET .*/{}/refs", "truncate": 20, "skip": 1},
    "tree answered in part": {"where": "GET .*/{}/tree/", "truncate": 50},
    "tree unavailable": {"where": "GET .*/{}/tree/", "status": 502},
    "manifest answered in part": {"where": "GET .*/{}/resolve/.*manifest", "truncate": 5},
    "preupload unavailable": {"where": "POST .*/{}/preupload/", "status": 503},
    "batch unavailable": {"where": f"POST {LFS}", "status": 503},
    "upload unavailable": {"where": "PUT .*/{}/", "status": 503},
    "upload not answered": {"where": "PUT .*/{}/", "drop": True},
    "upload done, not answered": {"where": "PUT .*/{}/", "drop": True, "after": True},
    "upload slow": {"where": "PUT .*/{}/", "delay": 0.5},
    "verify unavailable": {"where": "POST .*/{}/.*/verify", "status": 503},
    "everything too often, for a while": {
        "where": ".*/{}/",
        "status": 429,
        "headers": {"Retry-After": "1"},
        "times": 3,
    },
}


@pytest.mark.slow
def test_every_fault_of_the_script_comes_to_the_same_end(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    """All at once, each in a repository of its own: they mostly wait."""
    running = {}
    for number, (fault, options) in enumerate(SCRIPT.items()):
        name = f"ada/fault-{number}"
        where = options["where"].format(name)
        hub.faults.add(where, **{key: value for key, value in options.items() if key != "where"})
        running[fault] = name, start(client, few_rows, name, "1.0.0")
    expected = None
    for fault, (name, pushing) in running.items():
        done = pushing.wait()
        assert done.code == 0, f"{fault}: {done.stderr}"
        published = repository(hub, name)
        assert len(published.history()) == 2, fault
        assert published.tags == {"v1.0.0": published.branches["main"]}, fault
        expected = expected or tree(published, "v1.0.0")
        assert tree(published, "v1.0.0") == expected, fault
    assert not any(fault.times for fault in hub.faults.script), "a fault that never came"


@pytest.mark.slow
def test_the_repository_is_made_once_whatever_the_answer(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    create = "POST /api/repos/create"
    for number, (where, options) in enumerate(
        (
            (create, {"status": 503}),
            (create, {"status": 500, "after": True}),
            (create, {"drop": True, "after": True}),
            ("POST /api/validate-yaml", {"status": 503, "body": HTML}),
        )
    ):
        fault = hub.faults.add(where, **options)
        pushed(client, few_rows, f"ada/made-{number}", "1.0.0")
        assert fault.times == 0, "a fault that never came"
        published = repository(hub, f"ada/made-{number}")
        assert len(published.history()) == 2
        assert published.tags == {"v1.0.0": published.branches["main"]}


@pytest.mark.slow
def test_it_waits_as_long_as_the_hub_asks(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    hub.faults.add("POST .*/commit/", status=429, headers={"Retry-After": "2"})
    done = pushed(client, few_rows, "ada/waits", "1.0.0")
    first, second = (exchange.time for exchange in hub.log if "/commit/" in exchange.request)
    assert second - first >= 2
    assert "the Hub answers 429; trying again in 2 s" in done.stderr


IMPATIENT = """
import chatdata.hub.client as client
client.TRIES, client.FIRST_WAIT = 2, 0.01
from chatdata.cli import main
main({arguments!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "options", "words"),
    [
        ("POST .*/commit/", {"status": 503}, "is not available now: the Hub answers 503"),
        ("POST .*/commit/", {"status": 409}, "is busy with another change"),
        ("POST .*/commit/", {"status": 429}, "is requested too often"),
        ("POST .*/commit/", {"status": 413}, "is too large for one request"),
        ("POST .*/commit/", {"status": 400}, 'the Hub answers 400 ("a fault of the script")'),
        ("POST .*/commit/", {"drop": True}, "cannot be reached (RemoteProtocolError)"),
        ("POST .*/tag/", {"status": 500}, "is not available now: the Hub answers 500"),
        ("GET .*/refs", {"status": 500}, "is not available now: the Hub answers 500"),
        ("GET .*/refs", {"status": 429, "headers": {"Retry-After": "9999"}}, "requested too often"),
        ("POST .*/preupload/", {"status": 507}, "is full: this account has no space left"),
        ("POST .*/objects/batch", {"status": 402}, "it needs a paid plan"),
        ("PUT ", {"status": 403}, "may not be written with this token"),
    ],
)
def test_what_does_not_pass_is_named_and_can_be_taken_up_again(
    hub: Hub,
    client: Clients,
    few_rows: Path,
    where: str,
    options: dict[str, Any],
    words: str,
) -> None:
    name = f"ada/never-{len(hub.store.repositories)}"
    hub.faults.add(where, times=99, **options)
    code = IMPATIENT.format(arguments=["push", str(few_rows), name, "--version", "1.0.0"])
    done = client.run(code=code, token=ADA)
    assert done.code == 1
    assert words in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: dataset 'ada/never")
    assert "Traceback" not in done.stderr
    hub.faults.clear()
    pushed(client, few_rows, name, "1.0.0")
    assert len(repository(hub, name).history()) == 2


@pytest.mark.slow
def test_an_answer_that_never_comes_is_not_waited_for_for_ever(
    hub: Hub, client: Clients, few_rows: Path
) -> None:
    hub.faults.add("POST .*/commit/", delay=60)
    code = IMPATIENT.replace("2, 0.01", "2, 0.01\nclient.SILENCE = client.httpx.Timeout(0.5)")
    arguments = ["push", str(few_rows), "ada/silent", "--version", "1.0.0"]
    done = client.run(code=code.format(arguments=arguments), token=ADA)
    assert done.code == 0, done.stderr
    assert "no answer (ReadTimeout); trying again" in done.stderr
    assert len(repository(hub, "ada/silent").history()) == 2


# ------------------------------------------------------------------------ others at work


@pytest.mark.slow
def test_files_of_others_do_not_stop_a_push(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    """The head has moved (412), by a file that is none of ours and by words on the card."""
    seeded = hub.store.seed("dataset", "ada/busy", {"a.txt": b"a"})

    def commit_file(path: str, content: bytes) -> None:
        hub.store.commit(seeded, {path: hub.store.put(content)}, title="other", author="bob")

    page = b"---\nlicense: mit\n---\n# Mine\n\n## Thanks\n\nBob.\n"
    hub.faults.add("POST .*/commit/", first=lambda: commit_file("b.txt", b"b"))
    hub.faults.add("POST .*/commit/", first=lambda: commit_file("README.md", page))
    pushed(client, few_rows, "ada/busy", "1.0.0")
    assert [commit.title for commit in seeded.history()][:3] == ["sample 1.0.0", "other", "other"]
    assert {"a.txt", "b.txt"} <= set(seeded.resolve("v1.0.0").tree)
    assert "## Thanks\n\nBob.\n" in hub.store.text(seeded, "README.md")
    assert [exchange.status for exchange in hub.log if "/commit/" in exchange.request] == [
        412,
        412,
        200,
    ]


@pytest.mark.slow
def test_a_shard_that_another_changed_stops_a_push(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    seeded = hub.store.seed("dataset", "ada/touched", {"a.txt": b"a"})
    blob = hub.store.put(b"PAR1", is_lfs=True)
    path = "messages/train-00000-of-00001.parquet"
    hub.faults.add(
        "POST .*/commit/",
        first=lambda: hub.store.commit(seeded, {path: blob}, title="other", author="bob"),
    )
    done = start(client, few_rows, "ada/touched", "1.0.0").wait()
    assert done.code == 1
    assert "somebody published to 'ada/touched' meanwhile" in done.stderr
    assert not seeded.tags
    assert seeded.resolve("main").title == "other"


@pytest.mark.slow
def test_a_version_that_another_push_has_begun_is_taken(
    hub: Hub,
    client: Clients,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    hub.faults.add("POST .*/tag/", status=400)
    assert start(client, few_rows, "ada/begun", "1.0.0").wait().code == 1
    reworded = variant(few_rows, tmp_path / "other", "by another")
    done = start(client, reworded, "ada/begun", "1.0.0").wait()
    assert done.code == 1
    assert "holds 1.0.0 with other content" in done.stderr
    assert "not tagged yet" in done.stderr
    pushed(client, few_rows, "ada/begun", "1.0.0")
    assert len(repository(hub, "ada/begun").history()) == 2


@pytest.mark.slow
def test_a_tag_that_another_made_meanwhile_is_not_moved(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    seeded = hub.store.seed("dataset", "ada/tagged-by-bob", {"a.txt": b"a"})
    before = seeded.branches["main"]
    hub.faults.add("POST .*/tag/", first=lambda: seeded.tags.update({"v1.0.0": before}))
    done = start(client, few_rows, "ada/tagged-by-bob", "1.0.0").wait()
    assert done.code == 1
    assert "the tag v1.0.0 meanwhile" in done.stderr
    assert seeded.tags["v1.0.0"] == before


def test_a_journal_that_cannot_be_written_or_read_does_not_matter(
    hub: Hub,
    client: Clients,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "o"
    shutil.copytree(few_rows, out)
    journal = tmp_path / ".o.push.jsonl"
    journal.mkdir()
    pushed(client, out, "ada/journal-1", "1.0.0")
    journal.rmdir()
    journal.write_bytes(b'{"target": "sha256:0"}\n[]\n{"targ\xff')
    pushed(client, out, "ada/journal-2", "1.0.0")
    assert not journal.exists()


@pytest.mark.slow
def test_a_journal_that_lies_does_no_harm(
    hub: Hub,
    client: Clients,
    few_rows: Path,
) -> None:
    """The repository was deleted and made anew: what the journal calls uploaded is not there."""
    hub.faults.add("POST .*/commit/", status=400)
    start(client, few_rows, "ada/anew", "1.0.0").wait()
    assert list(few_rows.parent.glob(".*.push.jsonl"))
    del hub.store.repositories["dataset", "ada/anew"]
    pushed(client, few_rows, "ada/anew", "1.0.0")
    assert len(repository(hub, "ada/anew").history()) == 2
