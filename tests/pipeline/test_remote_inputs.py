"""Input in storage gives the bytes that the same input gives on a disk."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import fsspec
import pytest

from chatdata import build_dataset, load_recipe, preview_dataset
from chatdata.core import cache_folder
from chatdata.core.errors import ConfigError, SourceError, StorageError
from chatdata.pipeline.cache import open_cache
from tests.support.builds import files
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients
from tests.support.object_storage import ObjectStorage

RECIPE = """
name: r
version: 1.0.0
source: {sharegpt: {files: [PLACE/dump]}}
drop: [empty, {contaminated: {against: [PLACE/tests/math.jsonl], min_words: 4, ngram: 4}}]
forget: [PLACE/ids.txt]
max_dropped: 1
"""


def talk(id: str, words: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"what is {words}"}, {"from": "gpt", "value": "it is so"}]
    return {"id": id, "conversations": turns}


FILES = {
    "dump/a/1.json": json.dumps([talk("a", "the first of all things"), talk("b", "a second")]),
    "dump/b/2.jsonl": json.dumps(talk("c", "seven times eight and a half")) + "\n",
    "dump/b/3.jsonl": json.dumps(talk("d", "forgotten")) + "\n",
    "dump/README.md": "no data",
    "tests/math.jsonl": json.dumps({"question": "what is seven times eight and a half"}) + "\n",
    "ids.txt": "sharegpt/d\n",
}


@pytest.fixture(scope="module")
def object_storage(object_storage: ObjectStorage) -> ObjectStorage:
    """The storage of each kind, with the files."""
    object_storage.client.create_bucket("input-of-ada")
    for name, text in FILES.items():
        object_storage.client.put("input-of-ada", f"raw/{name}", text.encode())
    return object_storage


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "raw"


def built(folder: Path, place: str, *inputs: str) -> dict[str, bytes]:
    (folder / "r.yaml").write_text(RECIPE.replace("PLACE", place))
    build_dataset(load_recipe(folder / "r.yaml"), folder / "out", inputs=inputs, force=True)
    return files(folder / "out")


def test_a_recipe_of_urls_gives_the_bytes_of_its_files(
    any_storage: ObjectStorage, tmp_path: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    of_disk = built(tmp_path, str(local))
    assert built(tmp_path, any_storage.url("input-of-ada/raw")) == of_disk
    assert built(tmp_path, local.as_uri()) == of_disk
    counts = json.loads(of_disk["manifest.json"])["counts"]["conversations"]
    assert counts["dropped"] == {"contaminated": 1, "forgotten": 1}
    words = b"".join(of_disk.values())
    assert not [word for word in (b"input-of-ada", b"127.0.0.1", b"secretOfAda") if word in words]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("object_storage", ["s3"], indirect=True)
def test_a_pattern_and_files_may_be_named(
    any_storage: ObjectStorage, tmp_path: Path, local: Path
) -> None:
    of_disk = built(tmp_path, str(local), f"{local}/dump/**/*.jsonl", f"{local}/dump/a/1.json")
    url = any_storage.url("input-of-ada/raw")
    assert built(tmp_path, url, f"{url}/dump/**/*.jsonl", f"{url}/dump/a/1.json") == of_disk


@pytest.mark.slow
def test_a_server_with_a_bad_day_changes_no_byte(
    any_storage: ObjectStorage, tmp_path: Path, local: Path
) -> None:
    of_disk = built(tmp_path, str(local))
    for file in ("1.json", "2.jsonl", "math.jsonl", "ids.txt"):
        any_storage.faults.add(f"GET /input-of-ada/raw/.*{file}", truncate=9)
    any_storage.faults.add("GET /input-of-ada/raw/.*3.jsonl", drop=True)
    any_storage.faults.add("GET /input-of-ada/?$", status=500, body=b"")
    any_storage.faults.add("HEAD ", delay=0.2, times=3)
    assert built(tmp_path, any_storage.url("input-of-ada/raw")) == of_disk
    assert [fault.times for fault in any_storage.faults.script] == [0] * 7


@pytest.mark.slow
def test_a_server_that_is_gone_ends_the_build(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_storage.faults.add("GET /input-of-ada/raw/dump/b/2", truncate=9, times=99)
    with pytest.raises(StorageError, match=r"input-of-ada/raw/dump/b/2\.jsonl' cannot be reached"):
        built(tmp_path, any_storage.url("input-of-ada/raw"))
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_named_by_its_url(
    any_storage: ObjectStorage, tmp_path: Path
) -> None:
    bucket = any_storage.url("input-of-ada")
    refused = {
        f"{bucket}/raw/nothing": f"there is no file '{bucket}/raw/nothing'",
        f"{bucket}/raw/*.zip": f"there is no file '{bucket}/raw/\\*.zip'",
        f"{bucket}/raw/tests/": f"none of the 1 records in '{bucket}/raw/tests/math.jsonl'",
        any_storage.url("no-such-bucket/x"): r"there is no file '\w+://no-such-bucket/x'",
    }
    for url, words in refused.items():
        with pytest.raises(SourceError, match=words):
            built(tmp_path, f"{bucket}/raw", url)
    with pytest.raises(SourceError, match=f"has local files and '{bucket}/raw/dump'"):
        built(tmp_path, f"{bucket}/raw", f"{bucket}/raw/dump", str(tmp_path / "r.yaml"))
    fsspec.filesystem("memory").pipe_file("/elsewhere/x.json", b"[]")
    with pytest.raises(SourceError, match="lie in several buckets"):
        built(tmp_path, f"{bucket}/raw", f"{bucket}/raw/dump", "memory://elsewhere/x.json")
    with pytest.raises(ConfigError, match="is a URL; copy the recipe here first"):
        load_recipe(f"{bucket}/r.yaml")


@pytest.mark.slow
def test_memory_and_the_hub(hub: Hub, client: Clients, tmp_path: Path) -> None:
    of_recipe = FILES["dump/a/1.json"].encode()
    fsspec.filesystem("memory").pipe_file("/input/1.json", of_recipe)
    revision = "c" * 40
    hub.store.seed("dataset", "ada/input", {"data/1.json": of_recipe}, revision)
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nversion: 1.0.0\nsource: {sharegpt: {}}\nmax_dropped: 1\n")
    of_memory = preview_dataset(recipe, inputs=["memory://input"])
    assert of_memory["sources"][0]["path"] == "1.json"
    url = f"hf://datasets/ada/input@{revision}/data"
    of_hub = client.run("check", str(recipe), "--input", url, "--json").json()
    assert of_hub["counts"] == of_memory["counts"]
    (source,) = of_hub["sources"]
    assert (source["repo"], source["revision"]) == ("ada/input", revision)
    with pytest.raises(SourceError, match="names no revision, and a branch moves"):
        preview_dataset(recipe, inputs=["hf://datasets/ada/input/data"])


@pytest.mark.slow
@pytest.mark.parametrize("object_storage", ["s3"], indirect=True)
def test_what_a_cache_keeps_of_input_in_storage_is_used(
    any_storage: ObjectStorage, tmp_path: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of a file stand at another path in each build."""
    of_disk = built(tmp_path, str(local))
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    for _ in range(2):
        assert built(tmp_path, any_storage.url("input-of-ada/raw")) == of_disk
    kept = open_cache()
    assert kept is not None
    entries = {entry.path for entry in kept.entries()}
    assert entries
    assert built(tmp_path, any_storage.url("input-of-ada/raw")) == of_disk
    assert {entry.path for entry in kept.entries()} == entries
