"""What all answers share: who asks, what may be seen, how an answer or a refusal looks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from tests.support.loopback.store import Refused, Repository, Store, User


@dataclass
class Options:
    """How this Hub behaves."""

    page_size: int = 1000  # entries of a tree in one answer
    multipart_above: int | None = None  # bytes; larger content is put in parts of this size
    xet_folder: str | None = None  # where Xet clients put chunks; None: a Hub without Xet
    commit_seconds: float = 0  # how long a commit takes, during which the repository is locked
    redirects: bool = True  # large files are served by another host, as on the Hub


@dataclass
class Call:
    """A request with what was found out about it."""

    request: Request
    store: Store
    options: Options
    groups: dict[str, str]

    def __getitem__(self, key: str) -> str:
        return unquote(self.groups[key] or "")

    @property
    def host(self) -> str:
        """Where the client believes this Hub to be."""
        return f"http://{self.request.headers['host']}"

    @property
    def user(self) -> User | None:
        """Who asks, or None for anybody. A token that nobody has is refused."""
        given = self.request.headers.get("authorization", "").removeprefix("Bearer ")
        if not given or given.startswith("Basic "):
            return None
        if given not in self.store.users:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.store.users[given]

    def readable(self) -> Repository:
        """The repository, if the user may see it; else it is not there."""
        user = self.user
        repository = self.store.repository(_kind(self.groups.get("kind")), self["name"])
        owner = repository.name.split("/")[0]
        if repository.private and (user is None or owner not in (user.name, *user.orgs)):
            raise Refused(401 if user is None else 404, "Repository not found", "RepoNotFound")
        return repository

    def open(self) -> Repository:
        """The repository, if the user may read its files."""
        repository, user = self.readable(), self.user
        if repository.gated and (user is None or not user.may_write(repository.name)):
            raise Refused(403, f"Access to dataset {repository.name} is restricted", "GatedRepo")
        return repository

    def writable(self) -> Repository:
        """The repository, if the user may write to it."""
        repository = self.readable()
        if self.user is None:
            raise Refused(401, "Unauthorized")
        if not self.user.may_write(repository.name):
            raise Refused(403, "you must use a write token to push to this repository")
        return repository

    async def json(self) -> Any:
        """What was sent, as JSON."""
        return json.loads(await self.request.body())


def _kind(prefix: str | None) -> str:
    return (prefix or "models").rstrip("/").removesuffix("s")


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """An answer in JSON."""
    named = {key.replace("_", "-"): text for key, text in headers.items()}
    return Response(json.dumps(value), status, named, media_type="application/json")


def refusal(refused: Refused) -> Response:
    """An answer that the client makes an error of."""
    headers = {"X-Error-Message": refused.message}
    headers |= {"X-Error-Code": refused.code} if refused.code else {}
    commit = refused.body.pop("commit", None)
    headers |= {"X-Repo-Commit": commit} if commit else {}
    return Response(
        json.dumps({"error": refused.message, **refused.body}),
        refused.status,
        headers,
        media_type="application/json",
    )
