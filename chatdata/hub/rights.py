"""What the user of a token may write to on the Hub: one rule for datasets and for models.

The rule reads the Hub's answer to `whoami-v2`: the user's name, the user's role in each
organization, and what the token itself was given. The Hub has more rights than this answer names
(those of resource groups, and which repositories a contributor has made), so a rule that finds no
problem does not promise that a push works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from chatdata.hub import settings

Who = Mapping[str, Any]  # the answer to `whoami-v2`

# What lets a fine-grained token write files. `discussion.write` and the like do not.
_WRITING = frozenset({"repo.write", "repo.content.write"})
# The roles of an organization's members who write to none of its repositories.
_READ_ONLY_ROLES = frozenset({"read", "no_access"})


def access_token(who: Who) -> Mapping[str, Any]:
    """What the Hub tells of the token: its name, its role, and what it was given."""
    token: Mapping[str, Any] = who.get("auth", {}).get("accessToken", {})
    return token


def namespaces(who: Who) -> list[str]:
    """The user and the organizations that the user may write for, by name."""
    organizations = [org for org in who.get("orgs", []) if not _is_read_only(org)]
    return [who["name"], *(org["name"] for org in organizations)]


def problems(who: Who, repo: str | None, kind: Literal["dataset", "model"]) -> Iterator[str]:
    """Yields what keeps the user from writing to the repository `org/name` with this token.

    Each problem is a sentence with the way out. For None the question is whether the token may
    write to any repository.
    """
    token = access_token(who)
    if token.get("role") == "read":
        yield f"the token may only read: make one that may write, at {settings.token_page()}."
    elif token.get("role") == "fineGrained" and not _is_granted(token, repo, kind):
        where = f"to '{repo}'" if repo else "to any repository"
        yield f"the token may not write {where}: add that right at {settings.token_page()}."
    if repo is not None and repo.partition("/")[0] not in namespaces(who):
        yield _not_in_namespace(who, repo.partition("/")[0])


def _is_read_only(organization: Mapping[str, Any]) -> bool:
    return organization.get("roleInOrg") in _READ_ONLY_ROLES


def _is_granted(token: Mapping[str, Any], repo: str | None, kind: str) -> bool:
    """Whether a fine-grained token may write to a repository of this kind, or to any for None."""
    fine_grained = token.get("fineGrained") or {}
    if _WRITING & set(fine_grained.get("global") or []):
        return True
    entities = [
        scope.get("entity", {})
        for scope in fine_grained.get("scoped") or []
        if _WRITING & set(scope.get("permissions") or [])
    ]
    if repo is None:
        return bool(entities)
    return any(_covers(entity, repo, kind) for entity in entities)


def _covers(entity: Mapping[str, Any], repo: str, kind: str) -> bool:
    """Whether what a token was given is this repository, or its owner."""
    name = entity.get("name")
    return name == repo.partition("/")[0] or (name == repo and entity.get("type", kind) == kind)


def _not_in_namespace(who: Who, owner: str) -> str:
    where = " or ".join(f"{name}/..." for name in namespaces(who))
    if owner in [org["name"] for org in who.get("orgs", [])]:
        return (
            f"'{who['name']}' may only read in '{owner}': ask its administrators for a role that "
            f"may write, or publish to {where}."
        )
    return f"'{who['name']}' is not '{owner}' and not a member of it: publish to {where}."
