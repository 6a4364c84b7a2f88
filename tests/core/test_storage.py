"""Files in storage: the real library of the protocol against a server that has bad days."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.config import conf

from chatdata.core import storage
from chatdata.core.errors import StorageError
from tests.support.loopback import listen
from tests.support.loopback.faults import Message, Receive, Send
from tests.support.object_storage import BUSY, ObjectStorage

LARGE = bytes(range(256)) * 2**13  # 2 MiB


@pytest.fixture(scope="module", autouse=True)
def _bucket(object_storage: ObjectStorage) -> None:
    object_storage.client.create_bucket(Bucket="files")
    object_storage.put("files", "some/large.bin", LARGE)
    object_storage.put("files", "some/[1]/a b.txt", b"words")


def fetched(tmp_path: Path, url: str = "s3://files/some/large.bin") -> bytes:
    place = storage.at(url)
    (file,) = place.matches()
    place.fetch({tmp_path / "copy": file})
    return (tmp_path / "copy").read_bytes()


def test_names_are_listed_as_they_are(s3_storage: ObjectStorage) -> None:
    place = storage.at("s3://files/some")
    assert [place.relative(file) for file in place.files()] == ["[1]/a b.txt", "large.bin"]
    (file,) = storage.at("s3://files/some/[1]/a b.txt").matches()
    assert (file.size, place.url_of(file)) == (5, "s3://files/some/[1]/a b.txt")
    (file,) = storage.at("s3://files/some/*.bin").matches()
    assert file.size == len(LARGE)
    assert storage.at("s3://files/nothing/*").matches() == []


FAULTS = [
    {"status": 503, "body": BUSY},
    {"status": 500, "body": b""},
    {"drop": True, "times": 2},
    {"truncate": 1_000_000},
    {"truncate": 0, "times": 2},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_may_pass_is_tried_again(
    s3_storage: ObjectStorage, tmp_path: Path, fault: dict
) -> None:
    s3_storage.faults.add("GET /files/some/large", **fault)
    assert fetched(tmp_path) == LARGE
    assert len(s3_storage.asked("GET /files/some/large")) > 1


def test_a_file_that_changes_while_it_comes_is_refused(
    s3_storage: ObjectStorage, tmp_path: Path
) -> None:
    """After a connection that breaks, the rest comes of the new file, of the same size."""
    changed = bytes(reversed(LARGE))
    s3_storage.faults.add("GET /files/some/large", truncate=1_000_000)
    replace = s3_storage.faults.add("GET /files/some/large")
    replace.first = lambda: s3_storage.put("files", "some/large.bin", changed)
    try:
        with pytest.raises(StorageError, match=r"large\.bin' changed while it was read"):
            fetched(tmp_path)
        assert (tmp_path / "copy").read_bytes() not in (LARGE, changed)  # the guard was needed
    finally:
        s3_storage.put("files", "some/large.bin", LARGE)


def test_options_are_those_of_fsspec_and_no_range_is_lost(
    s3_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of several blocks, without a login, of which every answer breaks off once."""
    s3_storage.client.put_object_acl(Bucket="files", Key="some/large.bin", ACL="public-read")
    monkeypatch.setitem(conf, "s3", {"anon": True, "default_block_size": 2**19})
    s3_storage.faults.add("GET /files/some/large", truncate=200_000, times=3)
    assert fetched(tmp_path) == LARGE
    assert not any("authorization" in entry.headers for entry in s3_storage.log)


def test_a_page_is_a_file_and_its_signature_is_a_secret(tmp_path: Path) -> None:
    asked = []

    async def page(scope: Message, receive: Receive, send: Send) -> None:
        asked.append(scope["method"])
        length = (b"content-length", str(len(LARGE)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        body = b"" if scope["method"] == "HEAD" else LARGE
        await send({"type": "http.response.body", "body": body})

    with listen(page) as endpoint:
        url = f"{endpoint}/data/large.bin?sig=secret"
        assert not storage.at(url).is_folder()
        (file,) = storage.at(url).matches()
        assert "GET" not in asked  # nor was the page read, to look for links
        assert storage.at(url).url_of(file) == f"{endpoint}/data/large.bin"
        assert fetched(tmp_path, url) == LARGE


def test_a_file_of_which_not_all_comes_is_refused(
    s3_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = storage.at("s3://files/some/large.bin")

    def short(path: str, copy: str, **options: object) -> None:
        Path(copy).write_bytes(LARGE[:-1])

    monkeypatch.setattr(place.system, "get_file", short)
    with pytest.raises(StorageError, match=r"2,097,151 bytes came, and it has 2,097,152"):
        fetched(tmp_path)


@pytest.mark.slow
def test_large_files_are_put_in_parts_and_parts_again(
    s3_storage: ObjectStorage, tmp_path: Path
) -> None:
    content = LARGE * 17  # 34 MiB, in parts of 16
    (tmp_path / "file").write_bytes(content)
    s3_storage.faults.add("PUT /files/put/file", status=503, body=BUSY)
    s3_storage.faults.add("PUT /files/put/file", drop=True)
    storage.at("s3://files/put").put({"file": tmp_path / "file"})
    assert s3_storage.content("files", "put/file") == content
    assert len([line for line in s3_storage.asked("PUT ") if "partNumber=" in line]) == 5


def test_a_refusal_names_the_url_and_the_way_out(
    s3_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_storage.faults.add("(GET|HEAD) /files", status=403, body=b"", times=9)
    with pytest.raises(StorageError, match="may not be used with this login"):
        fetched(tmp_path)
    s3_storage.faults.clear()
    with pytest.raises(StorageError, match=r"s4://a/b.* nothing is known of s4://"):
        storage.at("s4://a/b")
    with pytest.raises(StorageError, match="pip install gcsfs"):
        storage.at("gs://a/b")


def test_urls_are_shown_without_secrets() -> None:
    url = "https://ada:password@host/a/x.jsonl?X-Amz-Signature=secret"
    assert storage.shown(url) == "https://host/a/x.jsonl"
    assert storage.name_of(url) == "x.jsonl"
    assert storage.local_path("file:///a/b%20c") == "/a/b c"
    assert not storage.is_url("chatdata:sample/x.json")
    assert not storage.is_remote("file:///a")
