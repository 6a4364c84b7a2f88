"""Sources and tokenizers from a Hub: the real client against a loopback server."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from chatdata import load_recipe
from chatdata.dataset import reader
from chatdata.hub import client
from chatdata.render import built_in
from chatdata.render.template_spec import STARCHAT
from tests.support.conversations import random_tree
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients, Done, environment
from tests.support.made_tokenizers import write
from tests.support.publishing import repository
from tests.support.templates import PLAIN

REVISION = "fdf72ae0827c1cda404aff25b6603abec9e3399b"


@pytest.fixture(scope="module", autouse=True)
def _content(served: tuple[Hub, Clients], tmp_path_factory: pytest.TempPathFactory) -> None:
    """A small OpenAssistant/oasst1 and a byte tokenizer of somebody's, on the Hub."""
    store = served[0].store
    rows = [row for seed in range(20) for row in random_tree(seed)]
    files = {"README.md": b"a card", "all.trees.jsonl": b"another form of the same trees"}
    for number, part in enumerate((rows[:50], rows[50:])):
        content = io.BytesIO()
        pl.DataFrame(part, infer_schema_length=None).write_parquet(content)
        files[f"data/{number}.parquet"] = content.getvalue()
    store.seed("dataset", "OpenAssistant/oasst1", files, REVISION)
    folder = tmp_path_factory.mktemp("model") / "bytes"
    built_in.load(None, "bytes", STARCHAT, None).save(folder)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.seed("model", "somebody/bytes", contents)


def build(client: Clients, tmp_path: Path, *arguments: str) -> Done:
    options = ["--set", "max_dropped=1", "--out", str(tmp_path / "out"), "--force"]
    return client.run("build", *arguments, *options)


@pytest.mark.slow
def test_a_source_and_a_tokenizer_by_name(hub: Hub, client: Clients, tmp_path: Path) -> None:
    whole = ["--set", "split=null"]  # so few rows may have no test split, which would be said
    done = build(client, tmp_path, "oasst1-en", "--set", "render.tokenizer=somebody/bytes", *whole)
    assert done.code == 0, done.stderr
    assert done.stderr == ""  # no bars where nobody looks
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [source["path"] for source in facts["sources"]] == ["data/0.parquet", "data/1.parquet"]
    assert {source["revision"] for source in facts["sources"]} == {REVISION}
    assert facts["render"]["tokenizer"]["name"] == "somebody/bytes"
    assert reader.scan(tmp_path / "out", "tokens").collect().height == sum(
        split["rows"] for split in facts["splits"].values()
    )
    assert hub.asked(".*/data/0.parquet")
    assert not hub.asked(".*README.md")


@pytest.mark.slow
def test_the_same_files_from_the_hub_and_from_the_disk(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    hashes = []
    tree = repository(hub, "OpenAssistant/oasst1").resolve(REVISION).tree
    local = tmp_path / "local"
    local.mkdir()
    for number in range(2):
        content = hub.store.read(tree[f"data/{number}.parquet"])
        (local / f"{number}.parquet").write_bytes(content)
    for options in ([], ["--input", str(local)]):
        assert build(client, tmp_path, "oasst1", *options).code == 0
        hashes.append(json.loads((tmp_path / "out" / "manifest.json").read_text())["content_hash"])
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_files_in_the_cache_that_were_not_asked_for_are_not_read(
    hub: Hub, client: Clients, tmp_path: Path
) -> None:
    everything = ["--set", "source.oasst.files=[]"]
    first = ["--set", "source.oasst.files=[data/0.parquet]"]
    read = []
    for options in (everything, first):
        assert build(client, tmp_path, "oasst1", *options).code == 0
        facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
        read.append([source["path"] for source in facts["sources"]])
    assert read == [["data/0.parquet", "data/1.parquet"], ["data/0.parquet"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["source.oasst.repo=nobody/nothing"], "does not exist, or is private"),
        (["source.oasst.revision=v9"], "has no such revision"),
        (["source.oasst.files=[none/*.parquet]"], "has no file that matches"),
        (["source.oasst.repo=a/b/c"], "does not have a valid name"),
        (["render.tokenizer=nobody/nothing"], "--set render.tokenizer=PATH"),
        (["render.tokenizer=somebody/bytes@v9"], "has no such revision"),
    ],
)
def test_what_the_hub_does_not_have(
    hub: Hub, client: Clients, tmp_path: Path, settings: list[str], words: str
) -> None:
    options = [text for setting in settings for text in ("--set", setting)]
    done = build(client, tmp_path, "oasst1", *options)
    assert done.code == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_no_network_is_a_named_error(tmp_path: Path) -> None:
    """By a tag: for a commit, the client itself tries for half a minute."""
    variables = environment("http://127.0.0.1:9", tmp_path)
    command = [sys.executable, "-m", "chatdata", "build", "oasst1"]
    command += ["--set", "source.oasst.revision=v1"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "check the network" in done.stderr
    assert "Traceback" not in done.stderr


def test_shipped_recipes_pin_their_revision() -> None:
    for name in ("oasst1", "oasst1-en", "sharegpt", "starchat-alpha"):
        for source in load_recipe(name).source.values():
            assert source.revision is not None
            assert re.fullmatch("[0-9a-f]{40}", source.revision)


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", "tokenizer"])
def test_a_tokenizer_by_name_is_that_of_transformers(
    template: str, hub: Hub, client: Clients, tmp_path: Path
) -> None:
    """All files that decide are fetched: here config.json, by which transformers picks a class."""
    transformers = pytest.importorskip("transformers")
    folder = write("byte level", tmp_path / "t", PLAIN)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (folder / "model.safetensors").write_bytes(b"not to be fetched")
    name = f"somebody/{template}"
    hub.store.seed("model", name, {path.name: path.read_bytes() for path in folder.iterdir()})
    settings = ["--set", f"render.template={template}", "--set", f"render.tokenizer={name}"]
    done = build(client, tmp_path, "oasst1-en", *settings)
    assert done.code == 0, done.stderr
    saved, expected = (
        transformers.AutoTokenizer.from_pretrained(each)
        for each in (tmp_path / "out" / "tokenizer", folder)
    )
    assert saved.encode("12345 + 67") == expected.encode("12345 + 67")
    assert not hub.asked(".*safetensors")
    (folder / "config.json").unlink()
    plain = transformers.AutoTokenizer.from_pretrained(folder)
    assert plain.encode("12345 + 67") != expected.encode("12345 + 67")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "/home/a/.cache"),
            "is stopped by the local file '/home/a/.cache': Permission denied, so set HF_HOME to a "
            "folder that may be written",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/x"),
            "is stopped by the local file '/x': Read-only file system, so set HF_HOME to a folder "
            "that may be written",
        ),
        (
            RuntimeError("Could not determine home directory."),
            "cannot be stored: this user has no home folder, so set HF_HOME to a folder",
        ),
        (
            OSError(errno.EISDIR, "Is a directory", "/x"),
            "is stopped by the local file '/x': Is a d",
        ),
    ],
)
def test_a_home_that_cannot_hold_what_is_fetched_has_a_way_out(
    error: Exception, words: str
) -> None:
    assert client.problem(error).startswith(words)
