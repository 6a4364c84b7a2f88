"""Google's storage on loopback, by an emulator that speaks a part of its JSON API.

The emulator is not the service, and was not written by those who run it: rights, limits, busy days
and error texts are not in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from gcp_storage_emulator.server import create_server

from chatdata.core import protocols
from tests.support.loopback.faults import App, Message, Receive, Send, body_of

LOGIN = {
    "FSSPEC_GS": json.dumps({"token": "anon"}),
    "NO_GCE_CHECK": "true",
}
_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)(?:/o)?")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")
Answer = tuple[int, list[tuple[str, str]], bytes]


class Google:
    """A client that sees no faults."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def create_bucket(self, bucket: str) -> None:
        """Makes a bucket."""
        self._done("POST", "/storage/v1/b", json.dumps({"name": bucket}).encode())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Stores a file."""
        place = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, '')}"
        self._done("POST", place, content, {"Content-Type": "application/octet-stream"})

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The names of files, sorted."""
        content = self._done("GET", f"/storage/v1/b/{bucket}/o?prefix={quote(prefix, '')}")
        return sorted(item["name"] for item in json.loads(content)["items"])

    def content(self, bucket: str, key: str) -> bytes:
        """The content of a file."""
        return self._done("GET", f"/download/storage/v1/b/{bucket}/o/{quote(key, '')}?alt=media")

    def remove(self, bucket: str, key: str) -> None:
        """Removes a file."""
        self._done("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, '')}")

    def forward(self, scope: Message, body: bytes) -> Answer:
        """What the emulator answers to a request that `named_as_s3` named."""
        asked = scope["of_google"]
        path, query = asked["raw_path"].decode(), asked["query_string"].decode()
        headers = {key.decode(): value.decode() for key, value in asked["headers"]}
        return self.ask(asked["method"], f"{path}?{query}" if query else path, body, headers)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """What the emulator answers."""
        connection = HTTPConnection(*self._address)
        with contextlib.closing(connection):
            headers = headers or {"Content-Type": "application/json"}
            lengths = ("content-length", "transfer-encoding")  # `http.client` says how long it is
            headers = {key: value for key, value in headers.items() if key not in lengths}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def _done(self, *request: Any) -> bytes:
        status, _, content = self.ask(*request)
        assert status < 300, (request, status, content)
        return content


@contextlib.contextmanager
def serve() -> Iterator[Google]:
    """Serves storage, which is empty at first."""
    with create_server("127.0.0.1", 0, in_memory=True) as emulator:
        yield Google(*emulator._api._httpd.server_address)


def patch_client(patch: pytest.MonkeyPatch) -> None:
    """Gives fsspec the login, which it reads when it is imported, and gcsfs no patience between
    tries."""
    protocols.options("gs", {})  # sets what gcsfs reads when it is imported
    from fsspec.config import conf
    from gcsfs import retry

    patch.setitem(conf, "gs", json.loads(LOGIN["FSSPEC_GS"]))
    patch.setattr(retry, "asyncio", SimpleNamespace(sleep=lambda seconds: asyncio.sleep(0)))


def named_as_s3(app: App) -> App:
    """An app to which each request has the method and the path that S3 has for it. A request is
    read whole before."""

    async def called(scope: Message, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        if body is None:
            return  # nothing is stored of half a request
        method, path = _of_s3(scope, body)
        names = {"method": method, "raw_path": path.encode(), "of_google": scope}

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        await app({**scope, **names}, again, send)

    return called


def _of_s3(scope: Message, body: bytes) -> tuple[str, str]:
    """The method and the path that S3 has for a request to Google."""
    path, query = scope["raw_path"].decode(), parse_qs(scope["query_string"].decode())
    if matched := _OBJECT.fullmatch(path):
        is_content = path.startswith("/download") or scope["method"] != "GET"
        return scope["method"] if is_content else "HEAD", f"/{matched[1]}/{unquote(matched[2])}"
    if matched := _UPLOAD.fullmatch(path):
        name = query["name"][0] if "name" in query else _name_in(body)
        is_begin = query["uploadType"] == ["resumable"] and "upload_id" not in query
        return "POST" if is_begin else "PUT", f"/{matched[1]}/{name}"
    if matched := _BUCKET.fullmatch(path):
        return scope["method"], f"/{matched[1]}"
    return scope["method"], path


def _name_in(body: bytes) -> str:
    """The name in the first part of an upload."""
    facts = re.search(rb"\n\n(\{.*?\})\n--", body, re.DOTALL)
    assert facts is not None, body[:200]
    name: str = json.loads(facts[1])["name"]
    return name
