"""Object storage on loopback: moto's model of S3, with a script of what goes wrong before it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.support.loopback import listen
from tests.support.loopback.faults import Entry, Faults, Message, Receive, Send

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
LOGIN = {
    "AWS_ACCESS_KEY_ID": "AKIAofAda",
    "AWS_SECRET_ACCESS_KEY": "secretOfAda",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class ObjectStorage:
    """Storage that is being served, a client that sees no faults, and their script."""

    endpoint: str
    faults: Faults
    client: Any

    @property
    def log(self) -> list[Entry]:
        """What was asked, in order."""
        return self.faults.log

    def variables(self) -> dict[str, str]:
        """The variables by which clients come here."""
        return {"AWS_ENDPOINT_URL": self.endpoint, **LOGIN}

    def asked(self, pattern: str = "") -> list[str]:
        """The requests that begin as a pattern says."""
        return [entry.request for entry in self.log if re.match(pattern, entry.request)]

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Stores a file."""
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of files, sorted."""
        listing = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(file["Key"] for file in listing.get("Contents", ()))

    def content(self, bucket: str, key: str) -> bytes:
        """The content of a file."""
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content


@contextlib.contextmanager
def serve() -> Iterator[ObjectStorage]:
    """Serves storage, which is empty at first."""
    model = _as_asgi(DomainDispatcherApplication(create_backend_app))
    faults = Faults(model, lambda header: None)
    with listen(faults) as endpoint, listen(model) as quiet:
        names = ("aws_access_key_id", "aws_secret_access_key", "region_name")
        login = dict(zip(names, LOGIN.values(), strict=False))
        yield ObjectStorage(endpoint, faults, boto3.client("s3", endpoint_url=quiet, **login))


def _as_asgi(app: Any) -> Callable[[Message, Receive, Send], Any]:
    """An app of WSGI, which reads all of a request before it answers."""

    async def called(scope: Message, receive: Receive, send: Send) -> None:
        body, is_whole = bytearray(), False
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # nothing is stored of half a request
            body += message.get("body", b"")
            is_whole = not message.get("more_body")
        content, status, headers = await asyncio.to_thread(_answer, app, scope, bytes(body))
        pairs = [(key.lower().encode(), value.encode()) for key, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    return called


def _answer(app: Any, scope: Message, body: bytes) -> tuple[bytes, int, list[tuple[str, str]]]:
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
    return b"".join(content), int(status.split()[0]), list(headers.items())
