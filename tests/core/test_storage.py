"""Files in storage: the real library of the protocol against a server that has bad days."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fsspec.config import conf

from chatdata.core import protocols, storage
from chatdata.core.errors import StorageError
from tests.support.loopback import listen
from tests.support.loopback.faults import Message, Receive, Send
from tests.support.object_storage import BUSY, ObjectStorage

NAME = "files/some/large.bin"
LARGE = bytes(range(256)) * 2**13  # 2 MiB


@pytest.fixture(scope="module")
def object_storage(object_storage: ObjectStorage) -> ObjectStorage:
    """The storage of each kind, with a bucket of two files."""
    object_storage.client.create_bucket("files")
    object_storage.client.put("files", "some/large.bin", LARGE)
    object_storage.client.put("files", "some/[1]/a b.txt", b"words")
    return object_storage


def fetched(tmp_path: Path, url: str) -> bytes:
    place = storage.at(url)
    (file,) = place.matches()
    place.fetch({tmp_path / "copy": file})
    return (tmp_path / "copy").read_bytes()


def test_names_are_listed_as_they_are(any_storage: ObjectStorage) -> None:
    place = storage.at(any_storage.url("files/some"))
    assert [place.relative(file) for file in place.files()] == ["[1]/a b.txt", "large.bin"]
    (file,) = storage.at(any_storage.url("files/some/[1]/a b.txt")).matches()
    assert (file.size, place.url_of(file)) == (5, any_storage.url("files/some/[1]/a b.txt"))
    (file,) = storage.at(any_storage.url("files/some/*.bin")).matches()
    assert file.size == len(LARGE)
    assert storage.at(any_storage.url("files/nothing/*")).matches() == []


FAULTS = [
    {"status": 503, "body": BUSY},
    {"status": 500, "body": b""},
    {"drop": True, "times": 2},
    {"truncate": 1_000_000},
    {"truncate": 0, "times": 2},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_may_pass_is_tried_again(
    any_storage: ObjectStorage, tmp_path: Path, fault: dict
) -> None:
    any_storage.faults.add("GET /files/some/large", **fault)
    assert fetched(tmp_path, any_storage.url(NAME)) == LARGE
    assert len(any_storage.asked("GET /files/some/large")) > 1


def test_a_file_that_changes_while_it_comes_is_refused(
    any_storage: ObjectStorage, tmp_path: Path
) -> None:
    """After a connection that breaks, the rest comes of the new file, of the same size. gcsfs takes
    all of it again, so that the copy is whole, but that may be luck."""
    changed = bytes(reversed(LARGE))
    any_storage.faults.add("GET /files/some/large", truncate=1_000_000)
    replace = any_storage.faults.add("GET /files/some/large")
    replace.first = lambda: any_storage.client.put("files", "some/large.bin", changed)
    try:
        with pytest.raises(StorageError, match=r"large\.bin' changed while it was read"):
            fetched(tmp_path, any_storage.url(NAME))
        if any_storage.protocol == "s3":
            assert (tmp_path / "copy").read_bytes() not in (LARGE, changed)  # the guard was needed
    finally:
        any_storage.client.put("files", "some/large.bin", LARGE)


@pytest.mark.parametrize("object_storage", ["s3"], indirect=True)
def test_options_are_those_of_fsspec_and_no_range_is_lost(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of several blocks, without a login, of which every answer breaks off once."""
    any_storage.client.boto.put_object_acl(Bucket="files", Key="some/large.bin", ACL="public-read")
    monkeypatch.setitem(conf, "s3", {"anon": True, "default_block_size": 2**19})
    any_storage.faults.add("GET /files/some/large", truncate=200_000, times=3)
    assert fetched(tmp_path, any_storage.url(NAME)) == LARGE
    assert not any("authorization" in entry.headers for entry in any_storage.log)


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
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = storage.at(any_storage.url(NAME))

    def short(path: str, copy: str, **options: object) -> None:
        Path(copy).write_bytes(LARGE[:-1])

    monkeypatch.setattr(place.system, "get_file", short)
    with pytest.raises(StorageError, match=r"2,097,151 bytes came, and it has 2,097,152"):
        fetched(tmp_path, any_storage.url(NAME))


@pytest.mark.slow
def test_large_files_are_put_in_parts_and_parts_again(
    any_storage: ObjectStorage, tmp_path: Path
) -> None:
    content = LARGE * 17  # 34 MiB, in parts of 16
    (tmp_path / "file").write_bytes(content)
    any_storage.faults.add("PUT /files/put/file", status=503, body=BUSY)
    any_storage.faults.add("PUT /files/put/file", drop=True)
    storage.at(any_storage.url("files/put")).put({"file": tmp_path / "file"})
    assert any_storage.client.content("files", "put/file") == content
    assert len(any_storage.asked("PUT /files/put/file")) == 5


def test_a_refusal_names_the_url_and_the_way_out(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_storage.faults.add("(GET|HEAD) /files", status=403, body=b"", times=9)
    with pytest.raises(StorageError, match="may not be used with this login"):
        fetched(tmp_path, any_storage.url(NAME))
    any_storage.faults.clear()
    with pytest.raises(StorageError, match=r"s4://a/b.* nothing is known of s4://"):
        storage.at("s4://a/b")
    with pytest.raises(StorageError, match=r"'az://a/b' needs .* pip install adlfs\."):
        storage.at("az://a/b")
    missing = protocols.problem(ImportError("Please install gcsfs"), any_storage.protocol)
    assert re.search(r"pip install (s3fs|gcsfs) \(the extra `(s3|gcs)` of chatdata\)\.", missing)


def test_urls_are_shown_without_secrets() -> None:
    url = "https://ada:password@host/a/x.jsonl?X-Amz-Signature=secret"
    assert storage.shown(url) == "https://host/a/x.jsonl"
    assert storage.name_of(url) == "x.jsonl"
    assert storage.local_path("file:///a/b%20c") == "/a/b c"
    assert not storage.is_url("chatdata:sample/x.json")
    assert not storage.is_remote("file:///a")
