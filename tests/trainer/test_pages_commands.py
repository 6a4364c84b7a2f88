"""The commands of the trainer that the pages show are understood, with all their options."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from chatdata.cli import main as chatdata
from tests.support.reference.training import COMMANDS
from tests.support.walkthrough import blocks
from trainer import config

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
LINES = [
    line
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language == "bash"
    for line in block.text.splitlines()
]


@pytest.fixture(autouse=True)
def _reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in a folder with the files that the commands read."""
    for name in ("out/a.jsonl", "out/b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "trainer").symlink_to(DOCS.parent / "trainer")
    (tmp_path / "recipes").symlink_to(DOCS.parent / "recipes")
    monkeypatch.chdir(tmp_path)


def understood(line: str) -> click.Context:
    """The context of a command, its options parsed. Raises ClickException for wrong ones."""
    line = re.sub(r"^torchrun --nproc_per_node=\d+", "python", line)
    name = max((name for name in [*COMMANDS, "chatdata"] if line.startswith(name)), key=len)
    of = chatdata if name == "chatdata" else importlib.import_module(COMMANDS[name]).main
    arguments = shlex.split(line.removeprefix(name))
    context = click.Context(of)
    while isinstance(of, click.Group):
        of, context = of.commands[arguments.pop(0)], click.Context(of)
    return of.make_context(name, arguments, parent=context)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_command_is_understood(line: str) -> None:
    values = understood(line).params
    if "trainer.train" in line:
        loaded = config.load(values["recipe"], values["settings"], values["deepspeed"])
        assert loaded.output.startswith("out/")


def test_the_tutorial_trains_the_recipe_of_the_sample() -> None:
    """Whose training other tests run."""
    (line,) = [line for line in LINES if "trainer.train sample" in line]
    values = understood(line).params
    ours = config.load(values["recipe"], values["settings"])
    assert ours.model_copy(update={"deepspeed": config.load("sample").deepspeed}) == config.load(
        "sample"
    )


def test_wrong_options_are_seen() -> None:
    with pytest.raises(click.ClickException, match="No such option"):
        understood("python -m trainer.train model --dryrun")
