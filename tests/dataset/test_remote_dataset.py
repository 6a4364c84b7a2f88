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


@pytest.fixture(scope="module", autouse=True)
def _bucket(object_storage: ObjectStorage) -> None:
    object_storage.client.create_bucket(Bucket=BUCKET)


@pytest.fixture(autouse=True)
def _cache(s3_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A place of the test's."""
    return f"s3://{BUCKET}/{re.sub(r'[^a-z]', '-', request.node.name)}"


def stored(server: ObjectStorage, url: str) -> dict[str, bytes]:
    prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
    keys = server.keys(BUCKET, prefix)
    return {key.removeprefix(prefix): server.content(BUCKET, key) for key in keys}


def put(url: str, folder: Path, *left_out: str) -> None:
    """Puts a built folder at a URL, as a build does."""
    with remote_output.local(url) as new:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(folder, new, ignore=shutil.ignore_patterns(*left_out))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_a_build_in_storage_is_the_build_of_a_folder(
    s3_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("sample", SMALL)
    key = url.removeprefix("s3:/")
    s3_storage.faults.add(f"PUT {key}/messages", status=503, body=BUSY)
    s3_storage.faults.add(f"PUT {key}/ledger", drop=True)
    s3_storage.faults.add(f"PUT {key}/README", drop=True, after=True)
    s3_storage.faults.add(f"PUT {key}/manifest", delay=1)
    s3_storage.faults.add("DELETE ", status=500, body=b"")
    facts = build_dataset(recipe, url)
    assert [fault.times for fault in s3_storage.faults.script] == [0] * 5
    assert stored(s3_storage, url) == files(all_rows)
    assert read_manifest(url).as_json() == facts.as_json()
    (last_put,) = s3_storage.asked("PUT ")[-1:]
    assert last_put.startswith(f"PUT {url.removeprefix('s3:/')}/manifest.json")
    folder = remote_copy.fetch(url)
    assert files(folder) == files(all_rows)
    build_dataset(recipe, url)  # the same build gives way
    assert stored(s3_storage, url) == files(all_rows)
    with pytest.raises(OutputError, match=f"'{url}' holds another build: .* --force replaces"):
        build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url)
    assert stored(s3_storage, url) == files(all_rows)


def test_what_is_replaced_goes_and_what_is_of_users_stays(
    s3_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    put(url, all_rows)
    key = url.removeprefix(f"s3://{BUCKET}/")
    s3_storage.put(BUCKET, f"{key}/notes/mine.txt", b"of a user")
    s3_storage.put(BUCKET, f"{key}/report.html", b"of the old rows")
    words = s3_storage.content(BUCKET, f"{key}/README.md") + b"\n## Notes of mine\n\nKept.\n"
    s3_storage.put(BUCKET, f"{key}/README.md", words)
    build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url, force=True)
    after = stored(s3_storage, url)
    assert after.pop("notes/mine.txt") == b"of a user"
    assert b"## Notes of mine" in after["README.md"]
    assert {**after, "README.md": b""} == {**files(few_rows), "README.md": b""}


def test_what_is_not_of_chatdata_is_left_alone(
    s3_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    key = url.removeprefix(f"s3://{BUCKET}/")
    s3_storage.put(BUCKET, f"{key}/thesis.tex", b"of a user")
    refused = {
        url: "is a folder that chatdata did not build",
        f"{url}/thesis.tex": "is a file",
        f"s3://{BUCKET}": "is a whole bucket",
        "hf://datasets/ada/x": "publish it with `chatdata push`",
    }
    for place, words in refused.items():
        with pytest.raises(OutputError, match=words):
            put(place, all_rows)
    with pytest.raises(StorageError, match=r"no-such-bucket.*does not exist"):
        put("s3://no-such-bucket/x", all_rows)
    s3_storage.faults.add("PUT ", status=403, body=b"", times=9)
    refusal = pytest.raises(StorageError, match="may not be used with this login")
    with refusal, remote_output.local(f"{url}-2"):
        pytest.fail("a build began that cannot be written")
    assert stored(s3_storage, url) == {"thesis.tex": b"of a user"}


def test_no_input_lies_in_what_is_replaced(
    s3_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    put(url, all_rows)
    recipe = load_recipe("sample", [*SMALL, *FEWER])
    with pytest.raises(SourceError, match=r"/messages/.* lies in .*, which the build replaces"):
        build_dataset(recipe, url, inputs=[f"{url}/messages"])
    assert stored(s3_storage, url) == files(all_rows)


@pytest.mark.slow
def test_an_upload_that_breaks_off_anywhere_leaves_a_complete_dataset_or_none(
    s3_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    """At each request that changes anything, the storage fails for good; then a build is tried
    again."""
    complete = [files(all_rows), files(few_rows)]
    put(url, all_rows)
    outcomes = set()
    for number in range(99):
        s3_storage.faults.add("(PUT|DELETE|POST) ", skip=number, times=10**6, status=403, body=b"")
        try:
            put(url, few_rows)
        except ChatdataError:
            is_over = False
        else:
            is_over = True
        s3_storage.faults.clear()
        outcomes.add(_seen(url, complete))
        put(url, all_rows)
        assert stored(s3_storage, url) == files(all_rows)
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
def test_a_build_that_is_killed_in_its_upload(
    s3_storage: ObjectStorage, url: str, few_rows: Path
) -> None:
    command = [sys.executable, "-m", "chatdata", "build", "sample", "--out", url, "--workers", "1"]
    settings = [word for setting in [*SMALL, *FEWER] for word in ("--set", setting)]
    key = url.removeprefix("s3:/")
    held = s3_storage.faults.add(f"PUT {key}/messages", delay=600)
    with subprocess.Popen([*command, *settings]) as process:
        while held.times and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    s3_storage.faults.clear()
    assert remote_output.MARKER in stored(s3_storage, url)
    assert _seen(url, []) == "none"
    build_dataset(load_recipe("sample", [*SMALL, *FEWER]), url)
    assert stored(s3_storage, url) == files(few_rows)


def test_two_that_write_to_one_place_make_no_mixture(
    s3_storage: ObjectStorage, url: str, all_rows: Path, few_rows: Path
) -> None:
    """The second begins while the first uploads; the first sees so and writes no manifest."""
    key = url.removeprefix("s3:/")
    second = s3_storage.faults.add(f"PUT {key}/README.md")
    second.first = lambda: s3_storage.put(
        BUCKET, f"{key[len(BUCKET) + 2 :]}/{remote_output.MARKER}", b'{"files": []}'
    )
    with pytest.raises(OutputError, match="another process writes to"):
        put(url, all_rows)
    assert _seen(url, []) == "none"
    put(url, few_rows)
    assert _seen(url, [files(few_rows)]) == 0


def test_damage_is_found_and_named(
    s3_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    put(url, all_rows)
    folder = remote_copy.fetch(url)
    (shard,) = [name for name in files(all_rows) if name.startswith("messages/")]
    (folder / shard).write_bytes(b"a full disk")  # of the copy: it is fetched again
    assert files(remote_copy.fetch(url))[shard] == files(all_rows)[shard]
    key = url.removeprefix(f"s3://{BUCKET}/")
    content = bytearray(files(all_rows)[shard])
    content[100] ^= 1
    s3_storage.put(BUCKET, f"{key}/{shard}", bytes(content))  # the copy is still right
    with pytest.raises(VerifyError, match=f"{shard} of '{url}' has not the SHA-256"):
        remote_copy.fetch(url)
    done = run("verify", url)
    assert done.exit_code == 1
    assert shard in done.output
    assert f"'{url}' fails its verification" in done.output
    s3_storage.client.delete_object(Bucket=BUCKET, Key=f"{key}/{shard}")
    with pytest.raises(VerifyError, match=f"{shard} of '{url}' is missing"):
        remote_copy.fetch(url)


def test_what_is_whole_is_not_fetched_again(
    s3_storage: ObjectStorage, url: str, all_rows: Path
) -> None:
    put(url, all_rows)
    remote_copy.fetch(url)
    s3_storage.log.clear()
    remote_copy.fetch(url)
    key = url.removeprefix("s3:/")
    assert s3_storage.asked(f"GET {key}/") == [f"GET {key}/manifest.json"]
    s3_storage.put(BUCKET, f"{key[len(BUCKET) + 2 :]}/README.md", b"words of a user")
    assert files(remote_copy.fetch(url))["README.md"] == b"words of a user"
    (states,) = remote_copy.cache().glob("*/states.json")
    for text in ("[]", "{", '{"README.md": {"colour": 1}}'):
        states.write_text(text)  # of a later chatdata, or of a full disk
        assert files(remote_copy.fetch(url))["README.md"] == b"words of a user"


def test_the_cache_of_builds_leaves_copies_until_it_is_cleared(
    s3_storage: ObjectStorage, url: str, all_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, all_rows)
    folder = remote_copy.fetch(url)
    for path in folder.parent.rglob("*"):
        os.utime(path, (0, 0))
    build_cache = open_cache()
    assert build_cache is not None
    build_cache.tidy()
    assert files(folder) == files(all_rows)
    s3_storage.log.clear()
    remote_copy.fetch(url)
    assert len(s3_storage.asked("GET .*/messages/")) == 0
    build_cache.clear()
    assert not folder.exists()
    monkeypatch.setenv(cache_folder.VARIABLE, "off")
    folder = remote_copy.fetch(url)
    assert files(folder) == files(all_rows)
    assert folder.is_relative_to(tempfile.gettempdir())


def test_a_manifest_of_a_stranger_leads_out_of_no_folder(
    s3_storage: ObjectStorage, url: str, all_rows: Path, tmp_path: Path
) -> None:
    for name in ("../../stolen.parquet", "setup.py"):
        facts = json.loads((all_rows / "manifest.json").read_text())
        facts["files"][0]["path"] = name
        key = url.removeprefix(f"s3://{BUCKET}/")
        s3_storage.put(BUCKET, f"{key}/manifest.json", json.dumps(facts).encode())
        with pytest.raises((VerifyError, StorageError), match=r"no folder can hold|no part of a d"):
            remote_copy.fetch(url)
    assert not list(tmp_path.rglob("*stolen*"))


@pytest.mark.slow
def test_commands_take_a_url_for_a_folder(
    s3_storage: ObjectStorage, url: str, sample: Path, few_rows: Path, tmp_path: Path
) -> None:
    done = run("build", "sample", "--out", url, "--workers", "1")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == url
    assert stored(s3_storage, url) == files(sample)
    for command in (["show", url, "-n", "1"], ["stats", url], ["verify", url]):
        local = [str(sample) if word == url else word for word in command]
        assert run(*command).output == run(*local).output, command
    done = run("show", url, "--dropped")
    assert (done.exit_code, done.output) == (0, run("show", sample, "--dropped").output)
    assert run("diff", url, few_rows).output == run("diff", sample, few_rows).output
    assert run("audit", url).output == run("audit", sample).output
    done = run("report", url)
    assert done.output == f"{url}/report.html\n"
    assert stored(s3_storage, url)["report.html"].startswith(b"<!DOCTYPE html>")
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
    assert stored(s3_storage, f"{url}-one") == files(sample)
    with pytest.raises(OutputError, match="is in storage; name a folder for a copy"):
        remove_rendering(f"{url}-two", "two")


def test_the_trainer_takes_a_url(
    s3_storage: ObjectStorage, url: str, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, sample)
    located = published.locate(url)
    assert files(located.folder) == files(sample)
    assert located.provenance is None  # no bucket in what a model says of its data
    with pytest.raises(OutputError, match="write org/name@VERSION for a dataset there"):
        published.locate("hf://datasets/ada/x")


def test_files_of_anybody_in_storage_are_audited(
    s3_storage: ObjectStorage, url: str, tmp_path: Path
) -> None:
    record = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    (tmp_path / "data").mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        s3_storage.put(BUCKET, f"{url.removeprefix(f's3://{BUCKET}/')}/data/{name}", record)
        (tmp_path / "data" / name).write_bytes(record)
    assert run("audit", f"{url}/data").output == run("audit", tmp_path / "data").output


def test_a_place_is_named_without_secrets() -> None:
    with pytest.raises(StorageError) as raised:
        storage.at("s4://ada:secret@host/x")
    assert "secret" not in str(raised.value)
