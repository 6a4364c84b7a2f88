"""Files, as they are listed and read: trees with paging, and `resolve` with ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.responses import FileResponse, RedirectResponse, Response

from tests.support.loopback.store import Blob, Refused, Repository, commit_of, pointer
from tests.support.loopback.wire import Call, answer


def _size_of_pointer(blob: Blob) -> int:
    return len(pointer(blob.sha256, blob.size))


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": blob.size, "oid": blob.oid}
    if blob.is_lfs:
        lfs = {"oid": blob.sha256, "size": blob.size, "pointerSize": _size_of_pointer(blob)}
        entry["lfs"] = lfs
    return entry


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": commit_of(path)}


async def info(call: Call) -> Response:
    """GET /api/datasets/R and .../revision/{revision}."""
    repository = call.readable()
    commit = repository.resolve(call["revision"] or "main")
    blobs = call.request.query_params.get("blobs")
    siblings: list[dict[str, Any]] = []
    for path, blob in sorted(commit.tree.items()):
        siblings.append({"rfilename": path})
        if blobs:
            siblings[-1] |= {"size": blob.size, "blobId": blob.oid}
            if blob.is_lfs:
                large = {"sha256": blob.sha256, "size": blob.size}
                siblings[-1]["lfs"] = large | {"pointerSize": _size_of_pointer(blob)}
    return answer(
        {
            "id": repository.name,
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": commit.date,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "tags": [],
            "siblings": siblings,
        }
    )


async def tree(call: Call) -> Response:
    """GET /api/datasets/R/tree/{revision}/{path}, a page at a time."""
    repository = call.open()
    files = repository.resolve(call["revision"]).tree
    query = call.request.query_params
    recursive = query.get("recursive", "false").lower() == "true"
    entries = list(_below(dict(files), call["path"].strip("/"), recursive))
    start = int(query.get("cursor", 0))
    size = call.options.page_size
    page, headers = entries[start : start + size], {}
    if start + size < len(entries):
        rest = urlencode({**query, "cursor": start + size})
        raw = call.request.scope["raw_path"].decode()
        headers = {"Link": f'<{call.host}{raw}?{rest}>; rel="next"'}
    return answer(page, **headers)


def _below(files: dict[str, Blob], folder: str, recursive: bool) -> Iterator[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    inside = sorted(path for path in files if path.startswith(prefix))
    if folder and not inside:
        raise Refused(404, f"{folder} does not exist", "EntryNotFound")
    seen: set[str] = set()
    for path in inside:
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            above = prefix + "/".join(parts[:depth])
            if above not in seen:
                seen.add(above)
                yield _folder(above)
        if recursive or len(parts) == 1:
            yield _entry(path, files[path])


async def paths_info(call: Call) -> Response:
    """POST /api/datasets/R/paths-info/{revision}, form-encoded."""
    repository = call.open()
    files = repository.resolve(call["revision"]).tree
    form = parse_qs((await call.request.body()).decode())
    entries = []
    for path in form.get("paths", []):
        if path in files:
            entries.append(_entry(path, files[path]))
        elif any(repository.startswith(f"{path}/") for repository in files):
            entries.append(_folder(path))
    return answer(entries)


async def resolve(call: Call) -> Response:
    """HEAD and GET of a file. A large one is somewhere else, as on the Hub."""
    repository = call.open()
    commit = repository.resolve(call["revision"])
    blob = commit.tree.get(call["path"])
    if blob is None:
        raise Refused(404, "Entry not found", "EntryNotFound", commit=commit.oid)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.oid}"'}
    if not blob.is_lfs:
        return FileResponse(call.store.path(blob.sha256), headers=headers)
    headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
    if call.options.redirects:
        where = _elsewhere(call.request.headers["host"])
        return RedirectResponse(f"{where}/cdn/{blob.sha256}?sig=secret", 302, headers)
    return FileResponse(call.store.path(blob.sha256), headers=headers | {"ETag": f'"{blob.oid}"'})


def _elsewhere(host: str) -> str:
    """This very server under another name, so that the client sees another host."""
    name, _, port = host.partition(":")
    return f"http://localhost:{port}" if name == "127.0.0.1" else f"http://cdn.{host}"


async def large(call: Call) -> Response:
    """HEAD and GET of a large file, where it is. The token must not come here."""
    if "authorization" in call.request.headers:
        raise Refused(400, "Only one auth mechanism allowed")
    return FileResponse(call.store.path(call["sha256"]), headers={"ETag": f'"{call["sha256"]}"'})


def remote_oid(repository: Repository, revision: str, path: str) -> str | None:
    """What the client compares with its own hash, to leave out what has not changed."""
    blob = repository.resolve(revision).tree.get(path)
    if blob is None:
        return None
    return blob.sha256 if blob.is_lfs else blob.oid
