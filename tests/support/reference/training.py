"""The page of train recipes and of the trainer's commands."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

from tests.support.reference import commands, models
from trainer.config import Adapter, Fsdp, Model, TrainConfig, Training

_HEAD = """\
# Training

A train recipe is one YAML file. A key that is not known is an error. `--set a.b=VALUE` changes
any key. [trainer/README.md](../../trainer/README.md) explains
how to train.

"""
_SECTIONS = {"model": Model, "adapter": Adapter, "fsdp": Fsdp, "training": Training}
COMMANDS = {
    "python -m trainer.train": "trainer.train",
    "python -m trainer.evaluate": "trainer.evaluate",
    "python -m trainer.merge": "trainer.merge",
    "python -m trainer.push": "trainer.push",
    "python -m trainer.chat": "trainer.chat.__main__",
    "python -m trainer.evaluation": "trainer.evaluation.__main__",
}


def page() -> str:
    """The keys of a train recipe, and the commands."""
    models.LINKS.update({model: f"[{title}](#{title})" for title, model in _SECTIONS.items()})
    parts = [_HEAD, "## The keys\n\n", models.keys(TrainConfig)]
    for title, model in _SECTIONS.items():
        parts += [f"\n## {title}\n\n", models.keys(model)]
    parts.append("\n## Commands\n\n")
    for name, module in COMMANDS.items():
        parts += _commands(name, importlib.import_module(module).main)
    return "".join(parts)


def _commands(name: str, of: click.Command) -> Iterator[str]:
    """Yields the section of a command, and of the commands below it."""
    yield commands.command(name, of, 3) + "\n"
    if isinstance(of, click.Group):
        for inner in of.list_commands(click.Context(of)):
            yield from _commands(f"{name} {inner}", of.commands[inner])
