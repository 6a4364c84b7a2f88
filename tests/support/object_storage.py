"""Object storage on loopback: moto's model of S3 or an emulator of Google's, with a script of what
goes wrong before it.

The script and the log name a request as S3 has it (`PUT /bucket/key`), to whomever it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.support import google_storage
from tests.support.google_storage import Answer
from tests.support.loopback import listen
from tests.support.loopback.faults import App, Entry, Faults, Message, Receive, Send, body_of

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
LOGIN = {
    "AWS_ACCESS_KEY_ID": "AKIAofAda",
    "AWS_SECRET_ACCESS_KEY": "secretOfAda",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Client(Protocol):
    """A client that sees no faults."""

    def create_bucket(self, bucket: str) -> None: ...
    def put(self, bucket: str, key: str, content: bytes) -> None: ...
    def keys(self, bucket: str, prefix: str) -> list[str]: ...
    def content(self, bucket: str, key: str) -> bytes: ...
    def remove(self, bucket: str, key: str) -> None: ...


@dataclass
class ObjectStorage:
    """Storage that is being served, a client, and the script of faults."""

    protocol: str
    variables: dict[str, str]  # by which other clients come here
    faults: Faults
    client: Client

    @contextlib.contextmanager
    def reached(self, patch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
        """Lets URLs lead here, where nothing goes wrong at first, and nobody waits to try again."""
        for name, value in self.variables.items():
            patch.setenv(name, value)
        if self.protocol == "gs":
            google_storage.patch_client(patch)
        self.faults.clear()
        self.log.clear()
        yield self
        self.faults.clear()

    def url(self, path: str) -> str:
        """The URL of a bucket and a path in it."""
        return f"{self.protocol}://{path}"

    @property
    def log(self) -> list[Entry]:
        """What was asked, in order."""
        return self.faults.log

    def asked(self, pattern: str = "") -> list[str]:
        """The requests that begin as a pattern says."""
        return [entry.request for entry in self.log if re.match(pattern, entry.request)]


class S3:
    """A client of S3 that sees no faults."""

    def __init__(self, endpoint: str) -> None:
        names = ("aws_access_key_id", "aws_secret_access_key", "region_name")
        login = dict(zip(names, LOGIN.values(), strict=False))
        self.boto: Any = boto3.client("s3", endpoint_url=endpoint, **login)

    def create_bucket(self, bucket: str) -> None:
        """Makes a bucket."""
        self.boto.create_bucket(Bucket=bucket)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Stores a file."""
        self.boto.put_object(Bucket=bucket, Key=key, Body=content)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The names of files, sorted."""
        listing = self.boto.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(file["Key"] for file in listing.get("Contents", ()))

    def content(self, bucket: str, key: str) -> bytes:
        """The content of a file."""
        content: bytes = self.boto.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def remove(self, bucket: str, key: str) -> None:
        """Removes a file."""
        self.boto.delete_object(Bucket=bucket, Key=key)


@contextlib.contextmanager
def serve() -> Iterator[ObjectStorage]:
    """Serves storage that speaks S3, which is empty at first."""
    application = DomainDispatcherApplication(create_backend_app)
    model = _as_asgi(lambda scope, body: _answer(application, scope, body))
    faults = Faults(model, lambda header: None)
    with listen(faults) as endpoint, listen(model) as quiet:
        yield ObjectStorage("s3", {"AWS_ENDPOINT_URL": endpoint, **LOGIN}, faults, S3(quiet))


@contextlib.contextmanager
def serve_google() -> Iterator[ObjectStorage]:
    """Serves storage that speaks Google's protocol, which is empty at first."""
    with google_storage.serve() as client:
        faults = Faults(_as_asgi(client.forward), lambda header: None)
        with listen(google_storage.named_as_s3(faults)) as endpoint:
            variables = {"STORAGE_EMULATOR_HOST": endpoint, **google_storage.LOGIN}
            yield ObjectStorage("gs", variables, faults, client)


def _as_asgi(answer: Callable[[Message, bytes], Answer]) -> App:
    """An app that reads all of a request before it answers."""

    async def called(scope: Message, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        if body is None:
            return  # nothing is stored of half a request
        status, headers, content = await asyncio.to_thread(answer, scope, body)
        pairs = [(key.lower().encode(), value.encode()) for key, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    return called


def _answer(app: Any, scope: Message, body: bytes) -> Answer:
    query = scope["query_string"].decode()
    raw = scope["raw_path"].decode()
    builder = EnvironBuilder(
        method=scope["method"],
        path=raw,
        query_string=query,
        headers=[(key.decode(), value.decode()) for key, value in scope["headers"]],
        input_stream=io.BytesIO(body),
    )
    whole = f"{raw}?{query}" if query else raw
    environ = {**builder.get_environ(), "RAW_URI": whole, "REQUEST_URI": whole}
    content, status, headers = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0]), list(headers.items()), b"".join(content)
