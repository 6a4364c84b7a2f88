"""Large files on their way in: Git LFS, in one piece or in parts."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.responses import Response

from tests.support.loopback.store import Refused, Repository
from tests.support.loopback.wire import Call, answer

LFS = {"Content_Type": "application/vnd.git-lfs+json"}


async def batch(call: Call) -> Response:
    """POST .../info/lfs/objects/batch: where each object goes, if it is not there."""
    repository, asked = call.writable(), await call.json()
    objects = [_object(call, repository, each["oid"], each["size"]) for each in asked["objects"]]
    headers = [each.get("actions", {}).get("upload", {}).get("header", {}) for each in objects]
    transfer = "multipart" if any("chunk_size" in header for header in headers) else "basic"
    return answer({"transfer": transfer, "objects": objects}, **LFS)


def _object(call: Call, repository: Repository, oid: str, size: int) -> dict[str, Any]:
    described: dict[str, Any] = {"oid": oid, "size": size}
    if oid in repository.objects:
        return described
    where = f"{call.host}/lfs/{repository.kind}s/{repository.name}/{oid}"
    upload: dict[str, Any] = {"href": f"{where}?sig=secret"}
    part = call.options.multipart_above
    if part is not None and size > part:
        numbers = range(1, -(-size // part) + 1)
        header = {str(number): f"{where}/part/{number}?sig=secret" for number in numbers}
        upload = {"href": f"{where}/complete", "header": {"chunk_size": str(part), **header}}
    return described | {"actions": {"upload": upload, "verify": {"href": f"{where}/verify"}}}


async def put(call: Call) -> Response:
    """PUT of an object. Storage knows no tokens, but the signature of an address."""
    path = _storage(call)
    if await _receive(call.request.stream(), path.with_suffix(".new")) != call["oid"]:
        raise Refused(400, "BadDigest")
    _keep(call, path.with_suffix(".new"))
    return Response(headers={"ETag": f'"{call["oid"]}"'})


async def put_part(call: Call) -> Response:
    """PUT of a part of an object."""
    path = _storage(call).with_suffix(f".{call['number']}")
    digest = await _receive(call.request.stream(), path)
    return Response(headers={"ETag": f'"{digest}"'})


async def complete(call: Call) -> Response:
    """POST when all parts are there: puts them together."""
    asked = await call.json()
    total, path = hashlib.sha256(), call.store.path(call["oid"])
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        for part in asked["parts"]:
            content = path.with_suffix(f".{part['partNumber']}").read_bytes()
            if part["etag"].strip('"') != hashlib.sha256(content).hexdigest():
                raise Refused(400, "InvalidPart")
            total.update(content)
            file.write(content)
    if total.hexdigest() != call["oid"]:
        raise Refused(400, "BadDigest")
    _keep(call, new)
    return answer({}, **LFS)


async def verify(call: Call) -> Response:
    """POST when the client believes that an object is there."""
    asked, repository = await call.json(), call.writable()
    path = call.store.path(asked["oid"])
    if asked["oid"] not in repository.objects or path.stat().st_size != asked["size"]:
        raise Refused(404, "Object does not exist")
    return answer({})


def _storage(call: Call) -> Path:
    if "authorization" in call.request.headers or "sig" not in call.request.query_params:
        raise Refused(400, "Only one auth mechanism allowed")
    return call.store.path(call["oid"])


def _keep(call: Call, new: Path) -> None:
    new.rename(call.store.path(call["oid"]))
    repository = call.store.repository(call["kind"].rstrip("s"), call["name"])
    repository.objects.add(call["oid"])


async def _receive(stream: AsyncIterator[bytes], path: Path) -> str:
    """Writes what comes. Returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        async for chunk in stream:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
