"""Repositories as they change: created, committed to, tagged."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from starlette.responses import Response

from tests.support.loopback.files import remote_oid
from tests.support.loopback.store import Blob, Refused, Repository, is_ignored, is_large, lfs_blob
from tests.support.loopback.wire import Call, answer

STALE = "The branch was updated since you opened this page. Please refresh and try again."
LOCKED = "Another commit operation is in progress for this repository. Please try again later."


async def whoami(call: Call) -> Response:
    """GET /api/whoami-v2."""
    user = call.user
    if user is None:
        raise Refused(401, "Unauthorized")
    token: dict[str, Any] = {"displayName": "a token", "role": user.role}
    if user.role == "fineGrained":
        scoped = [
            {"entity": {"type": user.kind, "name": name}, "permissions": [*user.permissions]}
            for name in user.writes
        ]
        token["fineGrained"] = {"global": [], "scoped": scoped}
    roles = {**dict.fromkeys(user.orgs, "write"), **dict.fromkeys(user.read_only_orgs, "read")}
    return answer(
        {
            "type": "user",
            "name": user.name,
            "fullname": user.name.title(),
            "orgs": [
                {"type": "org", "name": name, "roleInOrg": role} for name, role in roles.items()
            ],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


async def create(call: Call) -> Response:
    """POST /api/repos/create."""
    asked, user = await call.json(), call.user
    if user is None:
        raise Refused(401, "Unauthorized")
    kind = asked.get("type") or "model"
    owner = asked.get("organization") or user.name
    name = f"{owner}/{asked['name']}"
    url = f"{call.host}/{kind}s/{name}"
    if (kind, name) in call.store.repositories:
        raise Refused(409, f"You already created this {kind} repo", url=url)
    if not user.may_write(name):
        raise Refused(
            403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"'
        )
    call.store.create(kind, name, private=asked.get("visibility") == "private")
    return answer({"url": url, "name": name, "id": name})


async def delete(call: Call) -> Response:
    """DELETE /api/repos/delete."""
    asked = await call.json()
    name = f"{asked.get('organization') or (call.user and call.user.name)}/{asked['name']}"
    call.groups |= {"kind": f"{asked.get('type') or 'model'}s", "name": name}
    repository = call.writable()
    del call.store.repositories[repository.kind, repository.name]
    return answer({})


async def settings(call: Call) -> Response:
    """PUT /api/datasets/R/settings."""
    repository, asked = call.writable(), await call.json()
    repository.private = (
        asked.get("visibility", "private" if repository.private else "public") == "private"
    )
    repository.gated = bool(asked.get("gated", repository.gated))
    return answer({"private": repository.private, "gated": repository.gated})


async def auth_check(call: Call) -> Response:
    """GET /api/datasets/R/auth-check."""
    call.open()
    return answer({})


async def refs(call: Call) -> Response:
    """GET /api/datasets/R/refs."""
    repository = call.readable()
    return answer(
        {
            "branches": _refs(repository.branches, "heads"),
            "converts": [],
            "tags": _refs(repository.tags, "tags"),
            "pullRequests": [],
        }
    )


def _refs(names: dict[str, str], kind: str) -> list[dict[str, str]]:
    return [
        {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid}
        for name, oid in names.items()
    ]


async def history(call: Call) -> Response:
    """GET /api/datasets/R/commits/{revision}."""
    commits = call.open().history(call["revision"])
    return answer(
        [
            {
                "id": listed.oid,
                "title": listed.title,
                "message": "",
                "date": listed.date,
                "authors": [{"user": listed.author}],
            }
            for listed in commits
        ]
    )


async def branch(call: Call) -> Response:
    """POST and DELETE /api/datasets/R/branch/{name}."""
    repository, name = call.writable(), call["branch"]
    if call.request.method == "DELETE":
        if repository.branches.pop(name, None) is None:
            raise Refused(404, "No such branch", "RevisionNotFound")
    else:
        if name in repository.branches:
            raise Refused(409, "Reference already exists")
        asked = await call.json() if await call.request.body() else {}
        repository.branches[name] = repository.resolve(asked.get("startingPoint") or "main").oid
    return answer({})


async def tag(call: Call) -> Response:
    """POST /api/datasets/R/tag/{revision}, and DELETE .../tag/{tag}."""
    repository, name = call.writable(), call["revision"]
    if call.request.method == "DELETE":
        if repository.tags.pop(name, None) is None:
            raise Refused(404, "No such tag", "RevisionNotFound")
        return answer({})
    asked = await call.json()
    if asked["tag"] in repository.tags:
        raise Refused(409, f"Tag reference exists already: refs/tags/{asked['tag']}")
    repository.tags[asked["tag"]] = repository.resolve(name).oid
    return answer({})


async def validate_yaml(call: Call) -> Response:
    """POST /api/validate-yaml."""
    problem, values = _metadata((await call.json())["content"])
    if problem:
        return answer({"errors": [{"message": problem}], "warnings": []}, 400)
    warnings = [] if values else [{"message": "empty or missing yaml metadata in repo card"}]
    return answer({"errors": [], "warnings": warnings})


def _metadata(card: str) -> tuple[str, dict[str, Any]]:
    """What is wrong with the YAML of a card, and what it says."""
    parts = card.split("---\n")
    if not card.startswith("---\n") or len(parts) < 3:
        return "", {}
    try:
        values = YAML(typ="safe", pure=True).load(parts[1]) or {}
    except YAMLError as error:
        return f"bad YAML: {str(error).splitlines()[0]}", {}
    if not isinstance(values, dict):
        return "the metadata is no mapping", {}
    if not isinstance(values.get("license", ""), str | list):
        return '"license" must be a string', {}
    return "", values


async def preupload(call: Call) -> Response:
    """POST /api/datasets/R/preupload/{revision}: how each file is to be sent."""
    repository, asked, revision = call.writable(), await call.json(), call["revision"]
    if len(asked["files"]) > 256:
        raise Refused(400, "at most 256 files")
    blob = repository.resolve(revision).tree.get(".gitignore")
    ignore = asked.get("gitIgnore") or (call.store.read(blob).decode() if blob else "")
    files = []
    for file in asked["files"]:
        path, sample = file["path"], base64.b64decode(file["sample"])
        large = is_large(path, file["size"], sample)
        entry = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": is_ignored(path, ignore),
        }
        oid = remote_oid(repository, revision, path)
        files.append(entry | ({"oid": oid} if oid else {}))
    return answer({"files": files, "commitOid": repository.resolve(revision).oid})


async def commit(call: Call) -> Response:
    """POST /api/datasets/R/commit/{branch}, one line an operation."""
    repository, name = call.writable(), call["revision"]
    lines = [json.loads(line) for line in (await call.request.body()).splitlines() if line]
    if repository.is_locked:
        raise Refused(409, LOCKED)
    if name not in repository.branches:
        raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
    repository.is_locked = True
    try:
        await asyncio.sleep(call.options.commit_seconds)
        return _apply(call, repository, name, lines)
    finally:
        repository.is_locked = False


def _apply(call: Call, repository: Repository, name: str, lines: list[dict[str, Any]]) -> Response:
    header = lines[0]["value"]
    parent = header.get("parentCommit")
    if parent and not repository.branches[name].startswith(parent):
        raise Refused(412, STALE)
    tree = repository.resolve(name).tree
    add: dict[str, Blob] = {}
    removed: list[str] = []
    for line in lines[1:]:
        kind, value = line["key"], line["value"]
        if kind == "file":
            add[value["path"]] = call.store.put(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            add[value["path"]] = _large(call, repository, value["oid"], value["size"])
        else:
            removed += _deleted(tree, kind, value["path"])
    user = call.user
    assert user is not None
    made = call.store.commit(
        repository, add, removed, title=header["summary"], author=user.name, branch=name
    )
    url = f"{call.host}/{repository.kind}s/{repository.name}/commit/{made.oid}"
    return answer({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _large(call: Call, repository: Repository, oid: str, size: int) -> Blob:
    """A large file of a commit: it must have been sent, or have gone to Xet."""
    if call.options.xet_folder is None and oid not in repository.objects:
        raise Refused(400, f"lfs pointer {oid} points to an object that is not there")
    return lfs_blob(oid, size)


def _deleted(tree: Any, kind: str, path: str) -> list[str]:
    paths = [path] if path in tree else []
    if kind == "deletedFolder":
        paths = [name for name in tree if name.startswith(path.rstrip("/") + "/")]
    if not paths:
        raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
    return paths


async def xet_token(call: Call) -> Response:
    """GET /api/datasets/R/xet-write-token/{revision}, where this Hub has Xet."""
    if call.options.xet_folder is None:
        raise Refused(404, "Not Found")
    repository = call.writable() if call["access"] == "write" else call.open()
    where = f"local://{call.options.xet_folder}"
    exp = int(time.time()) + 3600
    headers = {
        "X_Xet_Cas_Url": where,
        "X_Xet_Token_Expiration": str(exp),
        "X_Xet_Access_Token": f"xet_{repository.name}",
    }
    return answer({"casUrl": where, "exp": exp, "accessToken": f"xet_{repository.name}"}, **headers)
