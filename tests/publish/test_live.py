"""One story of a dataset on the Hub: on loopback always, on the real Hub where that is asked for.

    CHATDATA_LIVE_HUB=1 HF_TOKEN=... python -m pytest tests/publish/test_live.py

makes a private repository of the token's user there, and deletes it in the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatdata.dataset import manifest
from tests.support.loopback.clients import Clients, Done
from tests.support.publishing import ADA


@dataclass(frozen=True)
class Place:
    """A Hub: runs `chatdata` and Python as somebody who may write to the repository `name`."""

    name: str
    chatdata: Callable[..., Done]
    python: Callable[[str], Done]


def _live() -> Iterator[Place]:
    if os.environ.get("CHATDATA_LIVE_HUB") != "1":
        pytest.skip("CHATDATA_LIVE_HUB is not set: the real Hub is not asked")
    variables = {key: text for key, text in os.environ.items() if key != "HF_HUB_DISABLE_XET"}

    def run(*command: str) -> Done:
        done = subprocess.run(
            [sys.executable, *command], env=variables, capture_output=True, text=True, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def chatdata(*arguments: str | Path) -> Done:
        return run("-m", "chatdata", *map(str, arguments))

    user = chatdata("doctor", "--json").json()["user"]
    name = f"{user}/chatdata-test-{uuid.uuid4().hex[:8]}"
    try:
        yield Place(name, chatdata, lambda code: run("-c", code))
    finally:
        delete = f"HfApi().delete_repo({name!r}, repo_type='dataset', missing_ok=True)"
        run("-c", f"from huggingface_hub import HfApi; {delete}")


def _loopback(client: Clients) -> Iterator[Place]:
    yield Place(
        "ada/story",
        lambda *arguments: client.run(*arguments, token=ADA),
        lambda code: client.run(code=code, token=ADA),
    )


@pytest.fixture(params=["loopback", "live"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The Hub on loopback, then the real one."""
    on_loopback = request.param == "loopback"
    yield from _loopback(request.getfixturevalue("client")) if on_loopback else _live()


LOAD = """
from datasets import load_dataset
for streaming in (False, True):
    rows = load_dataset(
        {name!r}, "messages", split="train", revision="v1.0.0", streaming=streaming
    )
    print(sum(1 for _ in rows))
"""
LOOK = """
import json
from huggingface_hub import HfApi
api = HfApi()
refs = api.list_repo_refs({name!r}, repo_type="dataset")
commits = api.list_repo_commits({name!r}, repo_type="dataset", revision="main")
print(json.dumps([{{own.name: own.target_commit for own in refs.tags}},
                  [own.title for own in commits]]))
"""


@pytest.mark.slow
def test_the_story_of_a_dataset(
    place: Place, few_rows: Path, all_rows: Path, tmp_path: Path
) -> None:
    name = place.name

    def push(out: Path, version: str, *more: str) -> Done:
        return place.chatdata("push", out, name, "--version", version, *more)

    done = place.chatdata("doctor", name)
    assert done.code == 0, done.stdout
    planned = push(few_rows, "1.0.0", "--dry-run", "--json")
    assert planned.json()["creates_repository"], planned.stderr
    first = push(few_rows, "1.0.0", "--json")
    assert first.json()["state"] == "published", first.stderr
    assert push(few_rows, "1.0.0", "--json").json()["state"] == "nothing"
    assert "with other content" in push(all_rows, "1.0.0").stderr
    assert "which needs a new" in push(all_rows, "1.0.1").stderr
    second = push(all_rows, "2.0.0", "--json")
    assert second.json()["state"] == "published", second.stderr
    tags, titles = json.loads(place.python(LOOK.format(name=name)).stdout)
    assert tags == {"v1.0.0": first.json()["commit"], "v2.0.0": second.json()["commit"]}
    assert titles[:2] == ["sample 2.0.0", "sample 1.0.0"]
    assert len(titles) == 3  # the Hub makes the first
    rows = str(manifest.read(few_rows)["splits"]["train"]["rows"])
    loaded = place.python(LOAD.format(name=name))
    assert loaded.stdout.split() == [rows, rows], loaded.stderr
    for version, built in (("1.0.0", few_rows), ("2.0.0", all_rows)):
        out = tmp_path / version
        pulled = place.chatdata("pull", f"{name}@{version}", "--out", out)
        assert pulled.code == 0, pulled.stderr
        for path in manifest.hashes(manifest.read(built)):
            if path != "recipe.yaml":  # it says the version
                assert (out / path).read_bytes() == (built / path).read_bytes()
    assert "is a branch" in place.chatdata("pull", f"{name}@main", "--out", tmp_path / "m").stderr
