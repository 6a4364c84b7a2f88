"""What chatdata sets for gcsfs: who logs in, how long a server may be silent, what is compared."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fsspec.config import conf

from chatdata.core import protocols, storage
from chatdata.core.errors import StorageError
from tests.support.loopback import listen
from tests.support.loopback.faults import Message, Receive, Send
from tests.support.object_storage import ObjectStorage

pytestmark = pytest.mark.slow
ONLY_GOOGLE = pytest.mark.parametrize("object_storage", ["gs"], indirect=True)
PLACE = "gs://of-google/x"


@pytest.fixture(scope="module")
def object_storage(object_storage: ObjectStorage) -> ObjectStorage:
    object_storage.client.create_bucket("of-google")
    object_storage.client.put("of-google", "x/file", b"words")
    return object_storage


def test_who_has_no_login_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(StorageError, match=r"'gs://of-google/x' needs a login: run `gcloud auth"):
        storage.at(PLACE)
    assert logging.getLogger("gcsfs").handlers  # or it prints its tracebacks
    assert protocols.options("gs", {"token": "anon", "requests_timeout": 9}) == {}
    assert "token" not in protocols.options("gs", {"endpoint_url": "http://127.0.0.1:1"})
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(
        StorageError, match=r"needs a login \(File .*none\.json was not found\): run"
    ):
        storage.at(PLACE)


@ONLY_GOOGLE
def test_a_login_that_is_not_accepted(any_storage: ObjectStorage) -> None:
    body = json.dumps({"error": {"code": 401, "message": "Anonymous caller has no access"}})
    any_storage.faults.add("GET ", status=401, body=body.encode(), times=9)
    with pytest.raises(StorageError, match=r"needs a login: run `gcloud auth"):
        storage.at(PLACE).files()


@ONLY_GOOGLE
def test_a_service_account_logs_in(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tokens(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        answer = {"access_token": "token-of-ada", "expires_in": 3600, "token_type": "Bearer"}
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {"type": "service_account", "client_email": "ada@x", "private_key": key.decode()}
    monkeypatch.setitem(conf, "gs", {})
    with listen(tokens) as endpoint:
        (tmp_path / "ada.json").write_text(json.dumps({**account, "token_uri": endpoint}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "ada.json"))
        assert storage.at(PLACE).read("file") == b"words"
    assert any_storage.log[-1].headers["authorization"] == "Bearer token-of-ada"


@ONLY_GOOGLE
def test_a_server_that_says_nothing_is_asked_again(
    any_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "_SILENCE", 0.1)
    any_storage.faults.add("GET /of-google/x/file", delay=0.5)
    assert storage.at(PLACE).read("file") == b"words"
    assert len(any_storage.asked("GET /of-google/x/file")) == 2


@ONLY_GOOGLE
def test_what_is_stored_is_compared(any_storage: ObjectStorage, tmp_path: Path) -> None:
    """A small file that ends with a carriage return loses it on its way."""
    (tmp_path / "file").write_bytes(b"words\r")
    with pytest.raises(StorageError, match=r"'gs://of-google/x/cut' was not stored as it was sent"):
        storage.at(PLACE).put({"cut": tmp_path / "file"})
    assert any_storage.client.content("of-google", "x/cut") == b"words"  # the guard was needed


@ONLY_GOOGLE
def test_what_is_unpacked_on_the_way_is_refused(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator does not say so in its answers, as Google does."""
    content = gzip.compress(b"words " * 99)

    async def packed(scope: Message, receive: Receive, send: Send) -> None:
        facts = {"name": "x", "size": str(len(content)), "etag": "1", "contentEncoding": "gzip"}
        is_content = scope["path"].startswith("/download")
        headers = [(b"content-encoding", b"gzip")] if is_content else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = content if is_content else json.dumps(facts).encode()
        await send({"type": "http.response.body", "body": body})

    with listen(packed) as endpoint:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        (file,) = storage.at(f"{PLACE}/x.json").matches()
        with pytest.raises(StorageError, match="store it without Content-Encoding 'gzip'"):
            storage.at(f"{PLACE}/x.json").fetch({tmp_path / "copy": file})


@ONLY_GOOGLE
def test_a_large_file_comes_in_ranges_of_one_generation(
    any_storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(system: object, bucket: str) -> int:
        return 0

    place, large = storage.at(f"{PLACE}/large"), bytes(range(256)) * 2**13
    any_storage.client.put("of-google", "x/large", large)
    monkeypatch.setattr(protocols, "_IN_RANGES", 0)
    monkeypatch.setattr(type(place.system), "_get_threshold_for_disk_reads", none)
    monkeypatch.setattr(place.system, "MIN_CHUNK_SIZE_FOR_CONCURRENCY", 2**19)
    any_storage.faults.add("GET /of-google/x/large", truncate=2**18, times=2)
    place.fetch({tmp_path / "copy": place.matches()[0]})
    assert (tmp_path / "copy").read_bytes() == large
    gets = [
        entry for entry in any_storage.log if entry.request.startswith("GET /of-google/x/large")
    ]
    assert len(gets) > 3
    assert all("range" in get.headers and "generation=" in get.request for get in gets)
