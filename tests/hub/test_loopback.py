"""The Hub of the tests itself: the real client's calls, and the refusals that the tests rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.loopback.store import is_ignored, is_large
from tests.support.publishing import ADA, READER

CALLS = """
import json
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors
api = HfApi()
name, said = "ada/calls", []

def say(value):
    said.append(value)

def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
        say("done")
    except errors.HfHubHTTPError as error:
        say([type(error).__name__, error.response.status_code])

def commit(*operations, **options):
    made = api.create_commit(
        name, list(operations), commit_message="m", repo_type="dataset", **options
    )
    return made.oid

own = dict(repo_type="dataset")
say(api.whoami()["auth"]["accessToken"]["role"])
api.create_repo(name, private=True, **own)
refused(api.create_repo, name, **own)
first = commit(CommitOperationAdd("d i/a.txt", b"a"), CommitOperationAdd("b.parquet", b"b"))
say(commit(CommitOperationAdd("d i/a.txt", b"a")) == first)  # nothing changes: no commit
refused(commit, CommitOperationAdd("c", b"c"), parent_commit="0" * 40)
refused(commit, CommitOperationDelete("none.txt"))
second = commit(CommitOperationDelete("d i/"), parent_commit=first)
say([entry.path for entry in api.list_repo_tree(name, recursive=True, **own)])
say([entry.path for entry in api.list_repo_tree(name, "d i", revision=first, **own)])
refused(lambda: list(api.list_repo_tree(name, "d i", **own)))
say(len(api.get_paths_info(name, ["d i", "b.parquet", "none"], revision=first, **own)))
api.create_tag(name, tag="v1", revision=first, **own)
refused(api.create_tag, name, tag="v1", **own)
refused(api.create_tag, name, tag="v2", revision="none", **own)
say(api.repo_info(name, revision="v1", **own).sha == first)
api.create_branch(name, branch="feat/a", revision="v1", **own)
say([own.title for own in api.list_repo_commits(name, revision="feat/a", **own)])
say(api.file_exists(name, "d i/a.txt", revision="feat/a", **own))
api.delete_branch(name, branch="feat/a", **own)
api.delete_tag(name, tag="v1", **own)
refused(api.delete_tag, name, tag="v1", **own)
api.update_repo_settings(name, private=False, **own)
say(api.repo_info(name, files_metadata=True, **own).siblings[-1].size)
api.delete_repo(name, **own)
refused(api.repo_info, name, **own)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_the_calls_of_the_client_are_answered_as_the_hub_does(hub: Hub, client: Clients) -> None:
    done = client.run(code=CALLS, token=ADA)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == [
        "write",
        ["HfHubHTTPError", 409],
        True,
        ["HfHubHTTPError", 412],
        ["RemoteEntryNotFoundError", 404],
        [".gitattributes", "b.parquet"],
        ["d i/a.txt"],
        ["RemoteEntryNotFoundError", 404],
        2,
        ["HfHubHTTPError", 409],
        ["RevisionNotFoundError", 404],
        True,
        ["m", "initial commit"],
        True,
        ["RevisionNotFoundError", 404],
        1,
        ["RepositoryNotFoundError", 404],
    ]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", ["RepositoryNotFoundError", 401]),
        ("hf_nobody", ["HfHubHTTPError", 401]),
        (READER, ["RepositoryNotFoundError", 404]),
    ],
)
def test_a_private_repository_is_hidden(
    hub: Hub, client: Clients, token: str, expected: list[object]
) -> None:
    hub.store.create("dataset", "ada/hidden", private=True)
    calls = CALLS[: CALLS.index("own = dict")] + (
        'refused(api.repo_info, "ada/hidden", repo_type="dataset")\nprint(json.dumps(said))'
    )
    assert client.run(code=calls, token=token).json() == [expected]


def test_content_that_was_never_sent_cannot_be_committed(hub: Hub, client: Clients) -> None:
    """The guard behind «killed and run again»: a commit of shards that are not there fails."""
    hub.store.create("dataset", "ada/empty")
    code = """
from huggingface_hub.utils import build_hf_headers, get_session
import json, os
lines = [
    {"key": "header", "value": {"summary": "m", "description": ""}},
    {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": "0" * 64, "size": 1}},
]
url = f"{os.environ['HF_ENDPOINT']}/api/datasets/ada/empty/commit/main"
content = "".join(json.dumps(line) + "\\n" for line in lines)
print(get_session().post(url, content=content, headers=build_hf_headers()).status_code)
"""
    assert client.run(code=code, token=ADA).stdout == "400\n"


def test_large_files_and_ignored_files_are_told_by_name_and_bytes() -> None:
    assert is_large("a.parquet", 1, b"x")
    assert is_large("a.txt", 11 * 2**20, b"x")
    assert is_large("a.txt", 9, b"\xff\xfe rest")
    assert not is_large("a.txt", 512, ("x" * 511 + "é").encode()[:512])
    assert is_ignored("data/x.parquet", "*.parquet\n")
    assert is_ignored("out/a/b", "# no\n/out/\n")
    assert not is_ignored("data/x.txt", "*.parquet\n\n")


def test_a_client_that_leaves_loopback_is_stopped(client: Clients, tmp_path: Path) -> None:
    done = client.run(code="import socket; socket.create_connection(('192.0.2.1', 80), 1)")
    assert done.code == 70
    assert "network access: ('192.0.2.1', 80)" in done.stderr
