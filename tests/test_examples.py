"""The folders in `docs/examples/` say what the how-to guide does, which `test_pages.py` follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.pipeline.find import load
from tests.support.walkthrough import blocks

ROOT = Path(__file__).parents[1]
REPOSITORY, SPACE = (
    ROOT / "docs" / "examples" / "dataset-repository",
    ROOT / "docs" / "examples" / "space",
)
WORKFLOW = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "dataset.yml").read_text())
STEPS = WORKFLOW["jobs"]["dataset"]["steps"]


def commands(text: str) -> list[list[str]]:
    """The lines of chatdata in a text, as words."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["chatdata"]]


def lines_of_the_workflow() -> list[list[str]]:
    return [words for step in STEPS for words in commands(step.get("run", ""))]


def test_the_recipe_is_of_the_repositories_that_the_workflow_names() -> None:
    recipe = load(str(REPOSITORY / "recipe.yaml"), [], [])
    assert recipe.publish is not None
    assert recipe.publish.repo == WORKFLOW["env"]["REPO"]
    head = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert (head["sdk"], head["app_file"]) == ("static", "index.html")
    assert head["datasets"] == [WORKFLOW["env"]["REPO"]]


def test_the_guide_does_what_the_workflow_does() -> None:
    names = [words[0] for words in lines_of_the_workflow()]
    assert names == ["check", "build", "audit", "verify", "report", "report", "push", "report"]
    page = (ROOT / "docs" / "howto" / "repository.md").read_text()
    guide = [words for block in blocks(page) for words in commands(block.text)]
    assert [words[0] for words in guide] == ["check", "build", "audit", "push", "report"]


def test_every_option_of_the_workflow_is_known() -> None:
    readme = commands((REPOSITORY / "README.md").read_text())
    for name, *arguments in [*lines_of_the_workflow(), *readme]:
        known = CliRunner().invoke(main, [name, "--help"]).output
        assert all(option in known for option in arguments if option.startswith("--"))


def test_only_the_step_that_publishes_has_a_token() -> None:
    having = [step["name"] for step in STEPS if "secrets" in str(step)]
    assert having == ["Publish the dataset, and its report"]
    publishing: Any = next(step for step in STEPS if step.get("name") in having)
    assert publishing["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert WORKFLOW["permissions"] == {"contents": "read"}
