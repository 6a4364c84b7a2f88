"""The files around the code say what the code and `.ci/run` do."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"))


def _project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_workflow_runs_what_must_hold_and_nothing_else() -> None:
    job = _yaml(".github/workflows/ci.yml")["jobs"]["run"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["container"]["image"].startswith("python:3.11-")  # `.ci/run` calls python3.11
    assert "python3.11 -m venv" in (ROOT / ".ci" / "run").read_text()


def test_a_citation_names_the_last_release() -> None:
    citation = _yaml("CITATION.cff")
    releases = re.findall(r"^## \[(\d.*?)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert (citation["version"], str(citation["date-released"])) == releases[0]
    assert citation["license"] == _project()["license"]


def test_hooks_are_checks_of_ci() -> None:
    (local,) = _yaml(".pre-commit-config.yaml")["repos"]
    checks = (ROOT / ".ci" / "run").read_text()
    assert len(local["hooks"]) == 3
    assert all(hook["entry"] in checks for hook in local["hooks"])


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_what_is_needed(form: Path) -> None:
    parts = yaml.safe_load(form.read_text())["body"]
    assert len({part["id"] for part in parts}) == len(parts)
    assert any(part.get("validations", {}).get("required") for part in parts)


def test_containers_install_extras_that_there_are() -> None:
    extras = set(_project()["optional-dependencies"])
    docker = (ROOT / "trainer" / "Dockerfile").read_text()
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    for text in (docker, container["postCreateCommand"]):
        (named,) = re.findall(r"\.\[([a-z,]+)\]", text)
        assert set(named.split(",")) <= extras
    for line in re.findall(r"^COPY (.+) \S+$", docker, re.M):
        assert all((ROOT / name).exists() for name in line.split())
