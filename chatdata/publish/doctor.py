"""Whether publishing from this machine would work, and if not, what is wrong."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from chatdata.core.errors import HubError
from chatdata.hub import rights, settings
from chatdata.hub.rights import User
from chatdata.hub.secrets import redact
from chatdata.publish import references

_PACKAGES = ("chatdata", "huggingface_hub", "hf_xet", "datasets", "pyarrow", "httpx2", "httpx")


@dataclass(frozen=True)
class Report:
    """The settings for publishing, and the problems. Publishing would work without a problem."""

    endpoint: str
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yields the lines to print for people."""
        facts, token = self.facts, self.facts["token"]
        yield f"endpoint       {self.endpoint}{' (offline)' if facts['offline'] else ''}"
        also = f", of {', '.join(facts['organizations'])}" if facts["organizations"] else ""
        yield f"user           {facts['user'] or 'nobody'}{also}"
        role = f", role {token['role']}" if token["role"] else ""
        yield f"token          {'from ' + token['from'] if token['from'] else 'none'}{role}"
        yield f"Xet            {facts['xet']}"
        yield f"proxies        {', '.join(facts['proxies']) or 'none'}"
        yield f"versions       {', '.join(f'{k} {v}' for k, v in facts['versions'].items())}"
        for problem in self.problems:
            yield f"problem        {problem}"
        if not self.problems:
            where = f" to {facts['repository']}" if facts["repository"] else ""
            yield f"publishing{where} would work"


def examine(repo: str | None = None) -> Report:
    """A report on the settings, on the user whom the Hub sees, and on the right to write `repo`.

    Changes nothing. A token is never part of the report. Raises HubError where `repo` is not the
    name of a repository.
    """
    if repo is not None:
        references.checked(repo)
    user, problems = _ask_hub()
    if user is not None:
        problems += rights.problems(user, repo)
    facts = _facts(user or {}, repo)
    return Report(settings.endpoint(), facts, [*settings.problems(), *problems])


def _ask_hub() -> tuple[User | None, list[str]]:
    """The user whom the Hub sees, or None with the reason. Asks nothing while offline."""
    if settings.is_offline():
        return None, []
    try:
        return rights.user(), []
    except HubError as error:
        text = str(error)
        return None, [text[0].upper() + text[1:]]


def _facts(user: User, repo: str | None) -> dict[str, Any]:
    token = rights.token_of(user)
    return {
        "endpoint": settings.endpoint(),
        "user": user.get("name"),
        "organizations": rights.organizations(user),
        "token": {
            "from": settings.token_source(),
            "name": redact(token.get("displayName") or "") or None,
            "role": token.get("role"),
        },
        "xet": "on" if settings.uses_xet() else "off",
        "offline": settings.is_offline(),
        "proxies": settings.proxies(),
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "repository": repo,
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
