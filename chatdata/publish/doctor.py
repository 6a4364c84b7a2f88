"""Whether publishing from this machine would work, and if not, what is wrong."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants, get_token

from chatdata.core.errors import HubError
from chatdata.hub import client, rights
from chatdata.hub.client import FAILURES
from chatdata.hub.repository import KIND, checked_name
from chatdata.hub.secrets import redact

_PACKAGES = ("chatdata", "huggingface_hub", "hf_xet", "datasets", "pyarrow", "httpx2", "httpx")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass
class Report:
    """What was found. Publishing would work where there are no problems."""

    endpoint: str
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """It, for people."""
        own, token = self.facts, self.facts["token"]
        yield f"endpoint       {self.endpoint}{' (offline)' if own['offline'] else ''}"
        also = f", of {', '.join(own['organizations'])}" if own["organizations"] else ""
        yield f"user           {own['user'] or 'nobody'}{also}"
        role = f", role {token['role']}" if token["role"] else ""
        yield f"token          {'from ' + token['from'] if token['from'] else 'none'}{role}"
        yield f"Xet            {own['xet']}"
        yield f"proxies        {', '.join(own['proxies']) or 'none'}"
        yield f"versions       {', '.join(f'{k} {v}' for k, v in own['versions'].items())}"
        for problem in self.problems:
            yield f"problem        {problem}"
        if not self.problems:
            where = f" to {own['repository']}" if own["repository"] else ""
            yield f"publishing{where} would work"


def examine(repo: str | None = None) -> Report:
    """Looks at the settings, asks the Hub who this is, and whether it may write to `repo`.

    Changes nothing. A token is never part of the report. Raises HubError where `repo` does not
    read as org/name.
    """
    if repo is not None:
        checked_name(repo)
    report = Report(client.endpoint())
    report.problems += _settings()
    who = _whoami(report.problems)
    token = rights.access_token(who or {})
    report.facts = {
        "endpoint": report.endpoint,
        "user": who and who.get("name"),
        "organizations": [own["name"] for own in (who or {}).get("orgs", [])],
        "token": {
            "from": token_source(),
            "name": redact(token.get("displayName") or "") or None,
            "role": token.get("role"),
        },
        "xet": "on" if client.uses_xet() else "off",
        "offline": constants.HF_HUB_OFFLINE,
        "proxies": [name for name in _PROXIES if _variable(name)],
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "repository": repo,
    }
    if who is not None:
        report.problems += map(_sentence, rights.problems(who, repo, KIND))
    return report


def _sentence(problem: str) -> str:
    return f"{problem[0].upper()}{problem[1:]}"


def token_source() -> str | None:
    """Where the client takes the token from, or None where there is none."""
    if os.environ.get("HF_OIDC_RESOURCE"):
        return "HF_OIDC_RESOURCE"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    if os.path.isfile(constants.HF_TOKEN_PATH) and os.path.getsize(constants.HF_TOKEN_PATH):
        return constants.HF_TOKEN_PATH
    return None


def _variable(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.lower())


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _settings() -> Iterator[str]:
    """What is wrong before anything is asked."""
    if constants.HF_HUB_OFFLINE:
        yield "HF_HUB_OFFLINE is set, so nothing is asked of the Hub: unset it."
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        yield "HF_HUB_DISABLE_IMPLICIT_TOKEN is set, so no token is sent: unset it."
    address = urlsplit(constants.ENDPOINT)
    if address.scheme not in ("http", "https") or not address.hostname:
        yield f"HF_ENDPOINT is '{client.endpoint()}', which is no address; write https://host."
    elif address.scheme == "http" and not _is_here(address.hostname):
        yield f"HF_ENDPOINT is '{client.endpoint()}', so the token is not encrypted; use https."


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _whoami(problems: list[str]) -> dict[str, Any] | None:
    """What the Hub says of the token's user, or None, with what is wrong added to the problems."""
    if constants.HF_HUB_OFFLINE:
        return None
    try:
        api = client.api()
        if get_token() is None:
            problems.append("There is no token: set HF_TOKEN, or log in with `hf auth login`.")
            return None
        who: dict[str, Any] = client.retrying(lambda text: None)(api.whoami)
    except HubError as error:
        problems.append(_sentence(str(error)))
        return None
    except FAILURES as error:
        problems.append(f"The Hub at {client.endpoint()} {client.problem(error)}.")
        return None
    return who
