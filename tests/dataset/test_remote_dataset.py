"""A dataset in storage: a reader finds a complete one, or none."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatdata import build_dataset, load_recipe, read_manifest, remove_rendering
from chatdata.cli import main
from chatdata.core import cache_folder, storage
from chatdata.core.errors import ChatdataError, OutputError, SourceError, StorageError, VerifyError
from chatdata.dataset import remote_copy, remote_output
from chatdata.pipeline.cache import open_cache
from tests.support.builds import files
from tests.support.object_storage import BUSY, ObjectStorage
from tests.support.publishing import FEWER, SMALL
from trainer.data import published

BUCKET = "datasets"
# Of what does not touch the protocol, or is dear.
ONE_KIND = pytest.mark.parametrize("object_storage", ["s3"], indirect=True)


@pytest.fixture(scope="module")
def object_storage(object_storage: ObjectStorage) -> ObjectStorage:
    """The storage of each kind, with a bucket."""
    object_storage.client.create_bucket(BUCKET)
    return object_storage


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def url(request: pytest.FixtureRequest, any_storage: ObjectStorage) -> str:
    """A place of the test's."""
    return any_storage.url(f"{BUCKET}/{re.sub(r'[^a-z]', '-', request.node.originalname)}")


def key_of(url: str) -> str:
    """The name that a URL of the bucket has in the bucket."""
    return url.partition(f"://{BUCKET}/")[2]


def stored(server: ObjectStorage, url: str) -> dict[str, bytes]:
    prefix, client = key_of(url) + "/", server.client
    keys = client.keys(BUCKET, prefix)
    return {key.removeprefix(prefix): client.content(BUCKET, key) for key in keys}


def put(url: str, folder: Path, *left_out: str) -> None:
    """Puts a built folder at a URL, as a build does."""
    with remote_output.local(url) as new:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(folder, new, ignore=shutil.ignore_patterns(*left_out))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_a_build_in_storage_is_the_build_of_a_folder(
    any_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("sample", SMALL)
    key = f"/{BUCKET}/{key_of(url)}"
    any_storage.faults.add(f"PUT {key}/messages", status=503, body=BUSY)
    any_storage.faults.add(f"PUT {key}/ledger", drop=True)
    any_storage.faults.add(f"PUT {key}/README", drop=True, after=True)
    any_storage.faults.add(f"PUT {key}/manifest", delay=1)
    any_storage.faults.add("DELETE ", status=500, body=b"")
    facts = build_dataset(recipe, url)
    assert [fault.times for fault in any_storage.faults.script] == [0] * 5
    assert stored(any_storage, url) == files(all_rows)
    assert read_manifest(url).as_json() == facts.as_json()
    (last_put,) = any_storage.asked("PUT ")[-1:]
    assert last_put.startswith(f"PUT {key}/manifest.json")
    folder = remote_copy.fetch(url)
    assert files(folder) == files(all_rows)
    build_dataset(recipe, url)  # the same build gives way
    assert stored(any_storage, url) == files(all_rows)
    with pytest.raises(OutputError, match=f"'{url}' holds another build: .* --force replaces"):
        build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url)
    assert stored(any_storage, url) == files(all_rows)


def test_what_is_replaced_goes_and_what_is_of_users_stays(
    any_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    put(url, all_rows)
    key = key_of(url)
    any_storage.client.put(BUCKET, f"{key}/notes/mine.txt", b"of a user")
    any_storage.client.put(BUCKET, f"{key}/report.html", b"of the old rows")
    words = (
        any_storage.client.content(BUCKET, f"{key}/README.md") + b"\n## Notes of mine\n\nKept.\n"
    )
    any_storage.client.put(BUCKET, f"{key}/README.md", words)
    build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url, force=True)
    after = stored(any_storage, url)
    assert after.pop("notes/mine.txt") == b"of a user"
    assert b"## Notes of mine" in after["README.md"]
    assert {**after, "README.md": b""} == {**files(few_rows), "README.md": b""}


def test_what_is_not_of_chatdata_is_left_alone(
    any_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    key = key_of(url)
    any_storage.client.put(BUCKET, f"{key}/thesis.tex", b"of a user")
    refused = {
        url: "is a folder that chatdata did not build",
        f"{url}/thesis.tex": "is a file",
        any_storage.url(BUCKET): "is a whole bucket",
        "hf://datasets/ada/x": "publish it with `chatdata push`",
    }
    for place, words in refused.items():
        with pytest.raises(OutputError, match=words):
            put(place, all_rows)
    with pytest.raises(StorageError, match=r"no-such-bucket.*does not exist"):
        put(any_storage.url("no-such-bucket/x"), all_rows)
    any_storage.faults.add("PUT ", status=403, body=b"", times=9)
    refusal = pytest.raises(StorageError, match="may not be used with this login")
    with refusal, remote_output.local(f"{url}-2"):
        pytest.fail("a build began that cannot be written")
    assert stored(any_storage, url) == {"thesis.tex": b"of a user"}


def test_no_input_lies_in_what_is_replaced(
    any_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    put(url, all_rows)
    recipe = load_recipe("sample", [*SMALL, *FEWER])
    with pytest.raises(SourceError, match=r"/messages/.* lies in .*, which the build replaces"):
        build_dataset(recipe, url, inputs=[f"{url}/messages"])
    assert stored(any_storage, url) == files(all_rows)


@pytest.mark.slow
def test_an_upload_that_breaks_off_anywhere_leaves_a_complete_dataset_or_none(
    any_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    """At each request that changes anything, the storage fails for good; then a build is tried
    again."""
    complete = [files(all_rows), files(few_rows)]
    put(url, all_rows)
    outcomes = set()
    for number in range(0, 99, 1 if any_storage.protocol == "s3" else 4):
        any_storage.faults.add("(PUT|DELETE|POST) ", skip=number, times=10**6, status=403, body=b"")
        try:
            put(url, few_rows)
        except ChatdataError:
            is_over = False
        else:
            is_over = True
        any_storage.faults.clear()
        outcomes.add(_seen(url, complete))
        put(url, all_rows)
        assert stored(any_storage, url) == files(all_rows)
        if is_over:
            break
    assert number > 6
    assert outcomes == {"none", 0, 1}


def _seen(url: str, complete: list[dict[str, bytes]]) -> object:
    """Which of the complete datasets a reader gets; a reader gets no mixture."""
    if storage.at(url).read("manifest.json") is None:
        with pytest.raises(OutputError, match="is not a finished build"):
            remote_copy.fetch(url)
        return "none"
    return complete.index(files(remote_copy.fetch(url)))


@pytest.mark.slow
@ONE_KIND
def test_a_build_that_is_killed_in_its_upload(
    any_storage: ObjectStorage, url: str, few_rows: Path
) -> None:
    command = [sys.executable, "-m", "chatdata", "build", "sample", "--out", url, "--workers", "1"]
    settings = [word for setting in [*SMALL, *FEWER] for word in ("--set", setting)]
    key = f"/{BUCKET}/{key_of(url)}"
    held = any_storage.faults.add(f"PUT {key}/messages", delay=600)
    with subprocess.Popen([*command, *settings]) as process:
        while held.times and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    any_storage.faults.clear()
    assert remote_output.MARKER in stored(any_storage, url)
    assert _seen(url, []) == "none"
    build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url)
    assert stored(any_storage, url) == files(few_rows)


def test_two_that_write_to_one_place_make_no_mixture(
    any_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    """The second begins while the first uploads; the first sees so and writes no manifest."""
    key = f"/{BUCKET}/{key_of(url)}"
    second = any_storage.faults.add(f"PUT {key}/README.md")
    second.first = lambda: any_storage.client.put(
        BUCKET, f"{key_of(url)}/{remote_output.MARKER}", b'{"files": []}'
    )
    with pytest.raises(OutputError, match="another process writes to"):
        put(url, all_rows)
    assert _seen(url, []) == "none"
    put(url, few_rows)
    assert _seen(url, [files(few_rows)]) == 0


def test_damage_is_found_and_named(
    any_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    put(url, all_rows)
    folder = remote_copy.fetch(url)
    (shard,) = [name for name in files(all_rows) if name.startswith("messages/")]
    (folder / shard).write_bytes(b"a full disk")  # of the copy: it is fetched again
    assert files(remote_copy.fetch(url))[shard] == files(all_rows)[shard]
    key = key_of(url)
    content = bytearray(files(all_rows)[shard])
    content[100] ^= 1
    any_storage.client.put(BUCKET, f"{key}/{shard}", bytes(content))  # the copy is still right
    with pytest.raises(VerifyError, match=f"{shard} of '{url}' has not the SHA-256"):
        remote_copy.fetch(url)
    done = run("verify", url)
    assert done.exit_code == 1
    assert shard in done.output
    assert f"'{url}' fails its verification" in done.output
    any_storage.client.remove(BUCKET, f"{key}/{shard}")
    with pytest.raises(VerifyError, match=f"{shard} of '{url}' is missing"):
        remote_copy.fetch(url)


@ONE_KIND
def test_what_is_whole_is_not_fetched_again(
    any_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    put(url, all_rows)
    remote_copy.fetch(url)
    any_storage.log.clear()
    remote_copy.fetch(url)
    key = f"/{BUCKET}/{key_of(url)}"
    asked = [line.partition("?")[0] for line in any_storage.asked(f"GET {key}/")]
    assert asked == [f"GET {key}/manifest.json"]
    any_storage.client.put(BUCKET, f"{key_of(url)}/README.md", b"words of a user")
    assert files(remote_copy.fetch(url))["README.md"] == b"words of a user"
    (states,) = remote_copy.cache().glob("*/states.json")
    for text in ("[]", "{", '{"README.md": {"colour": 1}}'):
        states.write_text(text)  # of a later chatdata, or of a full disk
        assert files(remote_copy.fetch(url))["README.md"] == b"words of a user"


@ONE_KIND
def test_the_cache_of_builds_leaves_copies_until_it_is_cleared(
    any_storage: ObjectStorage, url: str, all_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, all_rows)
    folder = remote_copy.fetch(url)
    for path in folder.parent.rglob("*"):
        os.utime(path, (0, 0))
    build_cache = open_cache()
    assert build_cache is not None
    build_cache.tidy()
    assert files(folder) == files(all_rows)
    any_storage.log.clear()
    remote_copy.fetch(url)
    assert len(any_storage.asked("GET .*/messages/")) == 0
    build_cache.clear()
    assert not folder.exists()
    monkeypatch.setenv(cache_folder.VARIABLE, "off")
    folder = remote_copy.fetch(url)
    assert files(folder) == files(all_rows)
    assert folder.is_relative_to(tempfile.gettempdir())


def test_a_manifest_of_a_stranger_leads_out_of_no_folder(
    any_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    for name in ("../../stolen.parquet", "setup.py"):
        facts = json.loads((all_rows / "manifest.json").read_text())
        facts["files"][0]["path"] = name
        key = key_of(url)
        any_storage.client.put(BUCKET, f"{key}/manifest.json", json.dumps(facts).encode())
        with pytest.raises((VerifyError, StorageError), match=r"no folder can hold|no part of a d"):
            remote_copy.fetch(url)
    assert not list(tmp_path.rglob("*stolen*"))


@pytest.mark.slow
@pytest.mark.parametrize("object_storage", ["gs"], indirect=True)  # of S3 the docs show them
def test_commands_take_a_url_for_a_folder(
    any_storage: ObjectStorage, url: str, sample: Path, few_rows: Path, tmp_path: Path
) -> None:
    put(url, sample)
    for command in (["show", url, "-n", "1"], ["stats", url], ["verify", url]):
        local = [str(sample) if word == url else word for word in command]
        assert run(*command).output == run(*local).output, command
    done = run("show", url, "--dropped")
    assert (done.exit_code, done.output) == (0, run("show", sample, "--dropped").output)
    assert run("diff", url, few_rows).output == run("diff", sample, few_rows).output
    assert run("audit", url).output == run("audit", sample).output
    done = run("report", url)
    assert done.output == f"{url}/report.html\n"
    assert stored(any_storage, url)["report.html"].startswith(b"<!DOCTYPE html>")
    done = run("pull", url, "--out", tmp_path / "pulled")
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "pulled") == files(sample)
    for words in (["pack", url, "--max-tokens", "100"], ["render", url, "--remove", "x"]):
        done = run(*words)
        assert (done.exit_code, "is in storage" in done.output) == (2, True), done.output
    chatml = ["--tokenizer", "bytes", "--template", "chatml", "--workers", "1"]
    done = run("render", url, *chatml, "--out", f"{url}-chatml")
    assert done.exit_code == 0, done.output
    assert read_manifest(f"{url}-chatml").rendering.template.name == "chatml"
    done = run("render", url, *chatml, "--add", "--name", "two", "--out", f"{url}-two")
    assert done.exit_code == 0, done.output
    assert list(read_manifest(f"{url}-two").renders) == ["two"]
    remove_rendering(f"{url}-two", "two", f"{url}-one")
    assert stored(any_storage, f"{url}-one") == files(sample)
    with pytest.raises(OutputError, match="is in storage; name a folder for a copy"):
        remove_rendering(f"{url}-two", "two")


@ONE_KIND
def test_the_trainer_takes_a_url(
    any_storage: ObjectStorage, url: str, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, sample)
    located = published.locate(url)
    assert files(located.folder) == files(sample)
    assert located.provenance is None  # no bucket in what a model says of its data
    with pytest.raises(OutputError, match="write org/name@VERSION for a dataset there"):
        published.locate("hf://datasets/ada/x")


@ONE_KIND
def test_files_of_anybody_in_storage_are_audited(
    any_storage: ObjectStorage, url: str, tmp_path: Path
) -> None:
    record = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    (tmp_path / "data").mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        any_storage.client.put(BUCKET, f"{key_of(url)}/data/{name}", record)
        (tmp_path / "data" / name).write_bytes(record)
    assert run("audit", f"{url}/data").output == run("audit", tmp_path / "data").output


def test_no_command_writes_to_its_memory() -> None:
    done = run("build", "sample", "--out", "memory://x/sample")
    assert (done.exit_code, "'memory://x/sample' ends with this process" in done.output) == (
        2,
        True,
    )


def test_a_place_is_named_without_secrets() -> None:
    with pytest.raises(StorageError) as raised:
        storage.at("s4://ada:secret@host/x")
    assert "secret" not in str(raised.value)
