"""Whether publishing from this machine would work, and if not, what is wrong."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from chatdata import __version__
from chatdata.core.errors import HubError
from chatdata.hub import client, rights, settings
from chatdata.hub.repository import KIND, checked_name
from chatdata.hub.rights import Who
from chatdata.hub.secrets import redact

_PACKAGES = ("huggingface_hub", "hf_xet", "datasets", "pyarrow", "httpx2", "httpx")


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
        checked_name(repo)
    problems = list(settings.problems())
    try:
        who = None if settings.is_offline() else _whoami()
        problems += map(_sentence, rights.problems(who, repo, KIND) if who else [])
    except HubError as error:
        who = None
        problems.append(_sentence(str(error)))
    return Report(settings.endpoint(), _facts(who or {}, repo), problems)


def _whoami() -> Who:
    """The Hub's answer about the user and the token. Raises HubError without an answer."""
    with client.reaching(f"the Hub at {settings.endpoint()}"):
        api = client.api()
        if not settings.has_token():
            raise HubError("there is no token: set HF_TOKEN, or log in with `hf auth login`.")
        who: Who = client.retrying(client.quiet)(api.whoami)
    return who


def _sentence(problem: str) -> str:
    return problem[0].upper() + problem[1:]


def _facts(who: Who, repo: str | None) -> dict[str, Any]:
    token = rights.access_token(who)
    return {
        "endpoint": settings.endpoint(),
        "user": who.get("name"),
        "organizations": [organization["name"] for organization in who.get("orgs", [])],
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
    yield "chatdata", __version__
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
