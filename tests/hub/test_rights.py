"""Who may write where: pure, on what the Hub answers to `whoami`."""

from __future__ import annotations

from typing import Any

import pytest

from chatdata.hub import rights


def user(role: str = "write", orgs: dict[str, str] | None = None, **granted: Any) -> rights.User:
    """The answer of the Hub for `ada`, with a token of this role and these permissions."""
    return {
        "name": "ada",
        "orgs": [{"name": name, "roleInOrg": place} for name, place in (orgs or {}).items()],
        "auth": {"accessToken": {"role": role, "fineGrained": granted}},
    }


def scoped(name: str, *permissions: str) -> dict[str, Any]:
    return {"entity": {"name": name}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    ("answer", "repo"),
    [
        (user(), None),
        (user(), "ada/data"),
        (user(orgs={"lab": "write"}), "lab/data"),
        (user(orgs={"lab": "admin"}), "lab/data"),
        (user("fineGrained", **{"global": ["repo.write"]}), "ada/data"),
        (user("fineGrained", scoped=[scoped("ada", "repo.write")]), "ada/data"),
        (user("fineGrained", scoped=[scoped("ada/data", "repo.content.write")]), "ada/data"),
        (user("fineGrained", scoped=[scoped("ada/data", "repo.write")]), None),
    ],
)
def test_who_may_write_has_no_problem(answer: rights.User, repo: str | None) -> None:
    assert list(rights.problems(answer, repo)) == []


@pytest.mark.parametrize(
    ("answer", "repo", "words"),
    [
        (user("read"), None, "The token may only read: make one that may write, at http"),
        (user(), "bob/data", "'ada' is not 'bob' and not a member of 'bob': publish to ada/..."),
        (
            user(orgs={"lab": "read", "club": "write"}),
            "lab/data",
            "'ada' may only read the repositories of 'lab': publish to ada/... or club/....",
        ),
        (
            user("fineGrained", scoped=[scoped("ada/data", "discussion.write")]),
            "ada/data",
            "The token may not write to 'ada/data': add that right at http",
        ),
        (
            user("fineGrained", scoped=[scoped("ada/data", "repo.write")]),
            "ada/else",
            "The token may not write to 'ada/else'",
        ),
        (user("fineGrained"), None, "The token may not write to any repository"),
    ],
)
def test_who_may_not_write_is_told_why(answer: rights.User, repo: str | None, words: str) -> None:
    (problem,) = rights.problems(answer, repo)
    assert problem.startswith(words)
