"""Fetching versions: by tag and commit, from the cache, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chatdata.dataset import manifest
from chatdata.publish.pull import folder
from tests.support.builds import files
from tests.support.disks import small_disk
from tests.support.loopback import Hub, Repository
from tests.support.loopback.clients import Clients, Done
from tests.support.publishing import ADA, pushed, repository, to_publish


def pull(client: Clients, reference: str, out: Path, *more: str, token: str = ADA) -> Done:
    return client.run("pull", reference, "--out", out, *more, token=token)


def published_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in to_publish(folder)}


@pytest.fixture(scope="module")
def published(
    served: tuple[Hub, Clients],
    few_rows: Path,
    all_rows: Path,
) -> Repository:
    """Two versions of a dataset; the head is of the second."""
    hub, client = served
    pushed(client, few_rows, "ada/pulled", "1.0.0")
    pushed(client, all_rows, "ada/pulled", "2.0.0")
    published = repository(hub, "ada/pulled")
    published.branches["work"] = published.branches["main"]
    hub.log.clear()
    return published


# ------------------------------------------------------------------------------- what comes


@pytest.mark.slow
def test_a_version_that_comes_again_is_as_published_with_what_users_added(
    client: Clients, published: Repository, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    assert pull(client, "ada/pulled@2.0.0", out).code == 0
    first = files(out)
    assert pull(client, "ada/pulled@2.0.0", out).code == 0
    assert files(out) == first
    (out / "notes.txt").write_text("mine")
    with (out / "README.md").open("a") as card:
        card.write("\nOur words.\n")
    assert pull(client, "ada/pulled@2.0.0", out).code == 0
    added = {"notes.txt": b"mine", "README.md": first["README.md"] + b"\nOur words.\n"}
    assert files(out) == first | added
    done = pull(client, "ada/pulled@1.0.0", out)
    assert done.code == 1
    assert "--force replaces that build" in done.stderr
    assert files(out) == first | added
    assert pull(client, "ada/pulled@1.0.0", out, "--force").code == 0
    assert pull(client, "ada/pulled@1.0.0", tmp_path / "new").code == 0
    assert files(out) == files(tmp_path / "new") | {"notes.txt": b"mine"}


@pytest.mark.slow
def test_a_version_comes_as_it_was_built(
    client: Clients,
    published: Repository,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    for number, revision in enumerate(("1.0.0", "v1.0.0", published.tags["v1.0.0"])):
        out = tmp_path / str(number)
        done = pull(client, f"ada/pulled@{revision}", out, "--json")
        assert done.code == 0, done.stderr
        assert files(out) == published_files(few_rows)
        assert done.json() == {
            "repo": "ada/pulled",
            "tag": None if number == 2 else "v1.0.0",
            "commit": published.tags["v1.0.0"],
            "version": "1.0.0",
            "content_hash": manifest.read(few_rows)["content_hash"],
        }


def test_a_tag_is_resolved_once_and_all_files_are_of_that_commit(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path
) -> None:
    commit = published.tags["v2.0.0"]
    shutil.rmtree(client.folder / "home" / "hub" / "datasets--ada--pulled", ignore_errors=True)
    done = pull(client, "ada/pulled@2.0.0", tmp_path / "o")
    assert done.code == 0, done.stderr
    assert f"ada/pulled v2.0.0 commit {commit}" in done.stdout
    by_name = hub.asked(".*v2.0.0")
    assert by_name == ["GET /api/datasets/ada/pulled/revision/v2.0.0"]
    assert all(commit in request for request in hub.asked(".*(resolve|tree)"))


@pytest.mark.parametrize("revision", ["main", "work"])
def test_a_branch_is_refused_unless_it_is_allowed(
    client: Clients, published: Repository, tmp_path: Path, revision: str
) -> None:
    refused = pull(client, f"ada/pulled@{revision}", tmp_path / "o")
    assert refused.code == 1
    assert f"'{revision}' is a branch of 'ada/pulled', which may move" in refused.stderr
    assert "name a version (v2.0.0)" in refused.stderr
    assert not (tmp_path / "o").exists()
    done = pull(client, f"ada/pulled@{revision}", tmp_path / "o", "--allow-moving-revision")
    assert done.code == 0, done.stderr
    assert manifest.read(tmp_path / "o")["version"] == "2.0.0"


def test_a_branch_that_is_named_like_a_version_is_a_branch(
    client: Clients, published: Repository, tmp_path: Path
) -> None:
    published.branches |= {"v5.0.0": published.branches["main"], "v1.0.0": "x"}
    try:
        done = pull(client, "ada/pulled@5.0.0", tmp_path / "o")
        assert "'v5.0.0' is a branch of 'ada/pulled', which may move" in done.stderr
        both = pull(client, "ada/pulled@1.0.0", tmp_path / "o")
        assert f"name the commit {published.tags['v1.0.0']}" in both.stderr
    finally:
        del published.branches["v5.0.0"], published.branches["v1.0.0"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("ada/pulled", "'ada/pulled' names no version; write ada/pulled@1.0.0"),
        ("ada/pulled@", "names no version"),
        ("ada@1.0.0", "'ada' is not the name of a repository"),
        ("ada/pulled@3.0.0", "dataset 'ada/pulled' has no v3.0.0; the latest is v2.0.0."),
        ("ada/pulled@nothing", "dataset 'ada/pulled' has no nothing; the latest is v2.0.0."),
        ("ada/none@1.0.0", "dataset 'ada/none' does not exist, or is private"),
        ("ada/pulled@" + "0" * 40, "does not exist: the repository has no such revision"),
    ],
)
def test_what_is_not_there_is_named(
    client: Clients, published: Repository, tmp_path: Path, reference: str, words: str
) -> None:
    done = pull(client, reference, tmp_path / "o")
    assert done.code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("token", ["", "hf_wrong", "hf_bobReads"])
def test_a_private_dataset_needs_a_token_that_sees_it(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path, token: str
) -> None:
    hub.store.add_user("bob", token="hf_bobReads", role="read")
    done = pull(client, "ada/pulled@1.0.0", tmp_path / "o", token=token)
    assert done.code == 1
    wrong = "does not accept this token" if token == "hf_wrong" else "is private: check the name"
    assert wrong in done.stderr


def test_a_dataset_that_chatdata_did_not_publish_is_named(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    seeded = hub.store.seed("dataset", "ada/plain", {"data.csv": b"a,b"})
    seeded.tags["v1.0.0"] = seeded.branches["main"]
    done = pull(client, "ada/plain@1.0.0", tmp_path / "o")
    assert done.code == 1
    assert "has no manifest.json; it was not published by `chatdata push`" in done.stderr


def test_a_folder_or_a_version_by_its_name(
    client: Clients, published: Repository, few_rows: Path
) -> None:
    assert folder(str(few_rows)) == few_rows
    code = "from chatdata.publish.pull import folder\nprint(folder('ada/pulled@1.0.0'))"
    fetched = Path(client.run(code=code, token=ADA).stdout.strip())
    assert files(fetched) == published_files(few_rows)


def test_a_tag_of_another_version_is_refused(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path
) -> None:
    copied = hub.store.copy(published, "ada/mistagged")
    copied.tags["v7.0.0"] = copied.tags["v1.0.0"]
    done = pull(client, "ada/mistagged@7.0.0", tmp_path / "o")
    assert done.code == 1
    assert "the tag v7.0.0 of 'ada/mistagged' holds version 1.0.0" in done.stderr
    assert pull(client, f"ada/mistagged@{copied.tags['v7.0.0']}", tmp_path / "o").code == 0


# ----------------------------------------------------------------------- what is not right


def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path
) -> None:
    copied = hub.store.copy(published, "ada/forged")
    path = next(path for path in copied.resolve("main").tree if path.startswith("messages/"))
    blob = hub.store.put(b"PAR1 of somebody else", is_lfs=True)
    copied.tags["patched"] = hub.store.commit(copied, {path: blob}, title="t", author="x").oid
    done = pull(client, "ada/forged@patched", tmp_path / "o")
    assert done.code == 1
    assert (
        f"{path} of dataset 'ada/forged' at patched does not have the SHA-256 of its manifest"
        in done.stderr
    )
    without = hub.store.commit(copied, {}, [path], title="t", author="x")
    copied.tags["lacking"] = without.oid
    done = pull(client, "ada/forged@lacking", tmp_path / "o")
    assert f"has no {path}" in done.stderr
    assert not list(tmp_path.iterdir())


OUTSIDE = ["../../../evil", "/etc/evil", "messages/../../evil", "a\\b"]
OF_OTHERS = [  # what version control, Python and test runners obey
    ".git/hooks/pre-commit",
    ".gitattributes",
    "conftest.py",
    "messages/conftest.py",
    "messages/.train.parquet",
    "messages/more/train.parquet",
    "plots/plot.svg",
    "tokenizer/tokenization.py",
    "other/train.parquet",
    "dropped/dropped-00000-of-00001.parquet",
]


@pytest.mark.parametrize("path", OUTSIDE + OF_OTHERS)
def test_a_manifest_cannot_name_files_that_no_dataset_has(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path, path: str
) -> None:
    copied = hub.store.copy(published, "ada/outside")
    facts = json.loads(hub.store.text(copied, "manifest.json"))
    facts["extras"].append({"path": path, "sha256": "0" * 64})
    blob = hub.store.put(json.dumps(facts).encode())
    copied.tags["outside"] = hub.store.commit(
        copied, {"manifest.json": blob}, title="t", author="x"
    ).oid
    done = pull(client, "ada/outside@outside", tmp_path / "o")
    assert done.code == 1
    why = "outside of its folder" if path in OUTSIDE else "no part of a dataset"
    assert f"lists the file {json.dumps(path)}, which is {why}" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_that_the_cache_has_spoilt_is_fetched_again(
    client: Clients,
    published: Repository,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    assert pull(client, "ada/pulled@1.0.0", tmp_path / "a").code == 0
    cache = client.folder / "home" / "hub" / "datasets--ada--pulled" / "snapshots"
    shard = next((cache / published.tags["v1.0.0"]).glob("messages/*.parquet"))
    shard.resolve().write_bytes(b"spoilt")
    assert pull(client, "ada/pulled@1.0.0", tmp_path / "b").code == 0
    assert files(tmp_path / "b") == published_files(few_rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("GET /cdn/", {"truncate": 100}),
        ("GET /cdn/", {"status": 503}),
        ("GET .*/refs", {"status": 503}),
        ("GET .*/revision/", {"drop": True}),
        ("GET .*/tree/", {"status": 429, "headers": {"Retry-After": "1"}}),
    ],
)
def test_what_passes_is_waited_for(
    hub: Hub,
    client: Clients,
    published: Repository,
    few_rows: Path,
    tmp_path: Path,
    where: str,
    options: dict[str, object],
) -> None:
    shutil.rmtree(client.folder / "home" / "hub", ignore_errors=True)
    hub.faults.add(where, **options)
    done = pull(client, "ada/pulled@1.0.0", tmp_path / "o")
    assert done.code == 0, done.stderr
    assert files(tmp_path / "o") == published_files(few_rows)
    assert not any(fault.times for fault in hub.faults.script)


PULL_WITH = """
from chatdata.publish import snapshot
from huggingface_hub import constants
{change}
from chatdata.cli import main
main(["pull", "ada/pulled@2.0.0", "--out", {out!r}])
"""


def downloads(hub: Hub) -> list[str]:
    """The files that the Hub was asked for."""
    return [line for line in map(str, hub.log) if "/resolve/" in line]


def test_a_manifest_of_any_size_is_not_fetched(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path
) -> None:
    shutil.rmtree(client.folder / "home" / "hub", ignore_errors=True)
    change = "snapshot._MOST_OF_A_MANIFEST = 100"
    code = PULL_WITH.format(change=change, out=str(tmp_path / "o"))
    done = client.run(code=code, token=ADA)
    assert done.code == 1
    assert "bytes, and no more than 100 are read; do not use this version." in done.stderr
    assert not downloads(hub)
    assert not list(tmp_path.iterdir())


def test_files_for_which_the_cache_has_no_room_are_not_fetched(
    hub: Hub, client: Clients, published: Repository, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 48 * 1024) as disk:
        change = f"constants.HF_HUB_CACHE = {str(disk)!r}"
        code = PULL_WITH.format(change=change, out=str(tmp_path / "o"))
        done = client.run(code=code, token=ADA)
        assert done.code == 1
        assert f"the disk of '{disk}' has room for " in done.stderr
        assert "make room, or set HF_HOME to another disk" in done.stderr
        assert downloads(hub)
        assert all("manifest.json" in line for line in downloads(hub))
        assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_nothing(
    client: Clients, published: Repository, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a full disk: of the cache, then of the folder."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from chatdata.cli import main
main(["pull", "ada/pulled@2.0.0", "--out", {out!r}])
"""
    for before in (shutil.rmtree, lambda folder, ignore_errors: None):
        before(client.folder / "home" / "hub", ignore_errors=True)
        done = client.run(code=code.format(out=str(tmp_path / "o")), token=ADA)
        assert done.code == 1
        assert "Traceback" not in done.stderr, done.stderr
        assert "disk is full" in done.stderr or "cannot write to" in done.stderr, done.stderr
        assert not list(tmp_path.iterdir())
        assert pull(client, "ada/pulled@2.0.0", tmp_path / "o").code == 0
        shutil.rmtree(tmp_path / "o")


@pytest.mark.slow
def test_ten_thousand_files_are_listed_page_by_page(
    hub: Hub,
    client: Clients,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    created = hub.store.create("dataset", "ada/large")
    blob = hub.store.put(b"x")
    names = {f"others/{number // 1000}/{number:05}.txt": blob for number in range(10_000)}
    hub.store.commit(created, names, title="many", author="bob")
    pushed(client, few_rows, "ada/large", "1.0.0")
    assert len(created.resolve("v1.0.0").tree) > 10_000
    pages = len(hub.asked("GET .*/tree/"))
    assert pages == 2 * 11  # before and after the commit; folders count too
    done = pull(client, "ada/large@1.0.0", tmp_path / "o")
    assert done.code == 0, done.stderr
    assert files(tmp_path / "o") == published_files(few_rows)
    assert not hub.asked(".*/resolve/.*others")


# -------------------------------------------------------------------- without a network

ELSEWHERE = """
from huggingface_hub import constants
constants.ENDPOINT = "http://127.0.0.1:9"
constants.HF_HUB_OFFLINE = {offline}
from chatdata.cli import main
main({arguments!r})
"""


@pytest.mark.slow
def test_what_was_pulled_comes_from_the_cache_without_a_network(
    client: Clients, published: Repository, tmp_path: Path
) -> None:
    def elsewhere(*arguments: str | Path, offline: bool = False) -> Done:
        texts = [str(text) for text in arguments]
        return client.run(code=ELSEWHERE.format(arguments=texts, offline=offline), token=ADA)

    assert pull(client, "ada/pulled@2.0.0", tmp_path / "a").code == 0
    for offline in (False, True):
        done = elsewhere("pull", "ada/pulled@2.0.0", "--out", tmp_path / "b", offline=offline)
        assert done.code == 0, done.stderr
        assert files(tmp_path / "b") == files(tmp_path / "a")
    done = elsewhere("pull", "ada/pulled@9.0.0", "--out", tmp_path / "c")
    assert "is not in the cache and the Hub cannot be reached" in done.stderr
    done = elsewhere("push", tmp_path / "a", "ada/new", "--version", "1.0.0")
    assert done.code == 1
    assert "(nobody answers at 127.0.0.1:9): check the network and HF_ENDPOINT" in done.stderr
    done = elsewhere("push", tmp_path / "a", "ada/new", "--version", "1.0.0", offline=True)
    assert "cannot be requested while HF_HUB_OFFLINE is set: unset it" in done.stderr
