"""Who the Hub says the user is, and which repositories this user may write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatdata.core.errors import HubError
from chatdata.hub import client, settings

User = Mapping[str, Any]  # as the Hub answers to `whoami`

_WRITE = frozenset({"repo.write", "repo.content.write"})  # permissions of a fine-grained token


def user() -> User:
    """The user whose token this machine has. Raises HubError where the Hub does not say."""
    with client.reaching(f"the Hub at {settings.endpoint()}"):
        api = client.api()
        if not settings.has_token():
            raise HubError("there is no token: set HF_TOKEN, or log in with `hf auth login`.")
        found: User = client.retrying(lambda text: None)(api.whoami)
    return found


def token_of(user: User) -> Mapping[str, Any]:
    """What the Hub says about the token: its name, role and permissions."""
    token: Mapping[str, Any] = user.get("auth", {}).get("accessToken", {})
    return token


def organizations(user: User) -> list[str]:
    """The organizations of which the user is a member."""
    return [organization["name"] for organization in _orgs(user)]


def problems(user: User, repo: str | None) -> Iterator[str]:
    """Yields a sentence for each reason for which the user may not write.

    `repo` is the repository to write; None asks about any repository.
    """
    token = token_of(user)
    if token.get("role") == "read":
        yield f"The token may only read: make one that may write, at {settings.token_page()}."
    elif token.get("role") == "fineGrained" and not _grants_writing(token, repo):
        where = f"to '{repo}'" if repo else "to any repository"
        yield f"The token may not write {where}: add that right at {settings.token_page()}."
    if repo is not None and (problem := _owner_problem(user, repo)):
        yield problem


def _owner_problem(user: User, repo: str) -> str:
    """Why the user may not write to the owner of the repository, or nothing."""
    owner, name = repo.partition("/")[0], user.get("name")
    roles = {organization["name"]: organization.get("roleInOrg") for organization in _orgs(user)}
    if owner == name or (owner in roles and roles[owner] != "read"):
        return ""
    writable = [str(name), *(org for org, role in roles.items() if role != "read")]
    places = " or ".join(f"{place}/..." for place in writable)
    if owner in roles:
        return f"'{name}' may only read the repositories of '{owner}': publish to {places}."
    return f"'{name}' is not '{owner}' and not a member of '{owner}': publish to {places}."


def _orgs(user: User) -> list[Mapping[str, Any]]:
    return list(user.get("orgs", []))


def _grants_writing(token: Mapping[str, Any], repo: str | None) -> bool:
    """Whether a fine-grained token may write the repository, all of its owner's, or any at all."""
    granted = token.get("fineGrained") or {}
    if _WRITE & set(granted.get("global") or []):
        return True
    scopes = [scope for scope in granted.get("scoped") or [] if _WRITE & set(scope["permissions"])]
    places = {scope.get("entity", {}).get("name") for scope in scopes}
    return bool(places) if repo is None else bool(places & {repo, repo.partition("/")[0]})
