"""Folders to publish, and `chatdata push` as a client of the Hub on loopback."""

from __future__ import annotations

from pathlib import Path

from chatdata import build_dataset, load_recipe
from tests.support.loopback import Hub, Repository
from tests.support.loopback.clients import Clients, Done

ADA, READER = "hf_adaMayWrite", "hf_eveMayRead"
SMALL = ["render=null", "split=null", "max_dropped=1"]  # two shards: of messages, of the ledger
FEWER = [
    "source={sharegpt: {files: ['chatdata:sample/sharegpt.json']}}",
    "drop=[empty, not_alternating, too_few_turns]",
]


def build(folder: Path, *settings: str) -> Path:
    """The sample, built with settings."""
    build_dataset(load_recipe("sample", settings), folder)
    return folder


def to_publish(folder: Path) -> list[Path]:
    """The files of a built folder that a push sends: all but the words of what was dropped."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.relative_to(folder).parts[0] != "dropped"]


def push(client: Clients, out: Path, repo: str, version: str, *more: str, token: str = ADA) -> Done:
    """What became of a push."""
    return client.run("push", out, repo, "--version", version, *more, token=token)


def pushed(client: Clients, out: Path, repo: str, version: str, *more: str) -> Done:
    """What became of a push that works."""
    done = push(client, out, repo, version, *more)
    assert done.code == 0, done.stderr
    return done


def repository(hub: Hub, name: str) -> Repository:
    """A dataset's repository on the Hub."""
    return hub.store.repository("dataset", name)
