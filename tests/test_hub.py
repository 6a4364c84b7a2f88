"""Sources and tokenizers from a Hub: the real client against a loopback server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from chatdata import dataset, load_recipe, tokenizer
from chatdata.templates import STARCHAT
from tests.conversations import random_tree
from tests.hub import commit_of, serve

REVISION = "fdf72ae0827c1cda404aff25b6603abec9e3399b"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A Hub with a small OpenAssistant/oasst1 and a byte tokenizer of somebody's."""
    data = tmp_path / "hub" / "datasets" / "OpenAssistant" / "oasst1" / REVISION
    (data / "data").mkdir(parents=True)
    rows = [row for seed in range(20) for row in random_tree(seed)]
    for number, part in enumerate((rows[:50], rows[50:])):
        frame = pl.DataFrame(part, infer_schema_length=None)
        frame.write_parquet(data / "data" / f"{number}.parquet")
    (data / "README.md").write_text("a card")
    (data / "all.trees.jsonl").write_text("another form of the same trees")
    model = tmp_path / "hub" / "models" / "somebody" / "bytes" / "main"
    model.parent.mkdir(parents=True)
    tokenizer.load(None, "bytes", STARCHAT, None).save(model)
    with serve(tmp_path / "hub") as served:
        yield served


def build(endpoint: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
    own = ["--set", "max_dropped=1", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "chatdata", "build", *arguments, *own]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_source_and_a_tokenizer_by_name(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, log = hub
    done = build(endpoint, tmp_path, "oasst1-en", "--set", "render.tokenizer=somebody/bytes")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bars where nobody looks
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in facts["sources"]] == ["data/0.parquet", "data/1.parquet"]
    assert {source["revision"] for source in facts["sources"]} == {REVISION}
    assert facts["render"]["tokenizer"]["name"] == "somebody/bytes"
    assert dataset.scan(tmp_path / "out", "tokens").collect().height == sum(
        own["rows"] for own in facts["splits"].values()
    )
    asked = "\n".join(log)
    assert "/data/0.parquet" in asked
    assert "README.md" not in asked.replace("api", "")


def test_the_same_files_from_the_hub_and_from_the_disk(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, _ = hub
    hashes = []
    local = tmp_path / "hub" / "datasets" / "OpenAssistant" / "oasst1" / REVISION / "data"
    for own in ([], ["--input", str(local)]):
        assert build(endpoint, tmp_path, "oasst1", *own).returncode == 0
        hashes.append(json.loads((tmp_path / "out" / "manifest.json").read_text())["content_hash"])
    assert hashes[0] == hashes[1]


def test_files_in_the_cache_that_were_not_asked_for_are_not_read(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, _ = hub
    everything = ["--set", "source.oasst.files=[]"]
    one = ["--set", "source.oasst.files=[data/0.parquet]"]
    read = []
    for own in (everything, one):
        assert build(endpoint, tmp_path, "oasst1", *own).returncode == 0
        facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
        read.append([source["path"] for source in facts["sources"]])
    assert read == [["data/0.parquet", "data/1.parquet"], ["data/0.parquet"]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["source.oasst.repo=nobody/nothing"], "is not there, or is private"),
        (["source.oasst.revision=v9"], "has no such revision"),
        (["source.oasst.files=[none/*.parquet]"], "has no file that matches"),
        (["source.oasst.repo=a/b/c"], "has no valid name"),
        (["render.tokenizer=nobody/nothing"], "--set render.tokenizer=PATH"),
        (["render.tokenizer=somebody/bytes@v9"], "has no such revision"),
    ],
)
def test_what_the_hub_does_not_have(
    hub: tuple[str, list[str]], tmp_path: Path, settings: list[str], words: str
) -> None:
    own = [text for setting in settings for text in ("--set", setting)]
    done = build(hub[0], tmp_path, "oasst1", *own)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_network_is_a_named_error(tmp_path: Path) -> None:
    done = build("http://127.0.0.1:9", tmp_path, "oasst1")
    assert done.returncode == 1
    assert "check the network" in done.stderr
    assert "Traceback" not in done.stderr


def test_shipped_recipes_pin_their_revision() -> None:
    for name in ("oasst1", "oasst1-en", "sharegpt", "starchat-alpha"):
        (source,) = load_recipe(name).source.values()
        assert source.revision is not None
        assert len(source.revision) == len(commit_of("x"))
