"""What a token may write to, by the Hub's answer about it."""

from __future__ import annotations

from typing import Any

import pytest

from chatdata.hub import rights


def who(role: str = "write", **fine_grained: Any) -> dict[str, Any]:
    """The Hub's answer about `ada`, who writes for `lab` and reads for `press`."""
    orgs = [("lab", "write"), ("crew", "contributor"), ("press", "read"), ("club", "no_access")]
    return {
        "name": "ada",
        "orgs": [{"name": name, "roleInOrg": role} for name, role in orgs],
        "auth": {"accessToken": {"role": role, "fineGrained": fine_grained}},
    }


def scoped(kind: str, name: str, *permissions: str) -> dict[str, Any]:
    entity = {"type": kind, "name": name}
    return who("fineGrained", scoped=[{"entity": entity, "permissions": list(permissions)}])


@pytest.mark.parametrize(
    ("answer", "repo"),
    [
        (who(), "ada/x"),
        (who(), "lab/x"),
        (who(), "crew/x"),
        (who(), None),
        (scoped("dataset", "ada/x", "repo.content.read", "repo.write"), "ada/x"),
        (scoped("dataset", "ada/x", "repo.write"), None),
        (scoped("user", "ada", "repo.content.write"), "ada/x"),
        (scoped("org", "lab", "repo.write"), "lab/x"),
        (who("fineGrained", **{"global": ["repo.write"]}), "lab/x"),
        ({"name": "ada"}, "ada/x"),  # a mirror of the Hub that says nothing of its token
    ],
)
def test_what_may_be_written(answer: dict[str, Any], repo: str | None) -> None:
    assert list(rights.problems(answer, repo, "dataset")) == []


@pytest.mark.parametrize(
    ("answer", "repo", "words"),
    [
        (who("read"), "ada/x", "the token may only read"),
        (who("read"), None, "the token may only read"),
        (who(), "press/x", "'ada' may only read in 'press'"),
        (who(), "club/x", "publish to ada/... or lab/... or crew/..."),
        (who(), "bob/x", "'ada' is not 'bob' and not a member of it: publish to ada/..."),
        (scoped("dataset", "ada/x", "discussion.write"), "ada/x", "may not write to 'ada/x'"),
        (scoped("dataset", "ada/x", "discussion.write"), None, "may not write to any repository"),
        (scoped("dataset", "ada/y", "repo.write"), "ada/x", "may not write to 'ada/x'"),
        (scoped("model", "ada/x", "repo.write"), "ada/x", "may not write to 'ada/x'"),
        (scoped("org", "lab", "inference.endpoints.write"), "lab/x", "may not write to 'lab/x'"),
        (who("fineGrained"), None, "may not write to any repository"),
    ],
)
def test_what_may_not_be_written(answer: dict[str, Any], repo: str | None, words: str) -> None:
    (problem,) = rights.problems(answer, repo, "dataset")
    assert words in problem
    assert problem.endswith(".")
