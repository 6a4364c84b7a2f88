"""A thing of each kind is added to a copy of the package, built with, and its files are counted.

All are added to one copy, where none needs another.

Each addition is what somebody would write: new files, and lines of files that are replaced.
CONTRIBUTING.md shows the same table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.imports import ROOT


@dataclass(frozen=True)
class Addition:
    """New text for files of the package: whole files, and (old, new) lines of a file."""

    changed: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)

    def files(self) -> set[str]:
        """The files that the addition touches."""
        return self.changed.keys() | self.new.keys()

    def apply(self, package: Path) -> None:
        """Writes the addition into a copy of the package."""
        for name, text in self.new.items():
            (package / name).write_text(text)
        for name, pairs in self.changed.items():
            source = (package / name).read_text()
            for old, text in pairs:
                assert source.count(old) == 1, f"{name} has no single {old!r}"
                source = source.replace(old, text)
            (package / name).write_text(source)


FILTER = Addition(
    changed={
        "steps/message_filters.py": [
            (
                '@MESSAGE.removes(needs=["deleted"])',
                "@MESSAGE.removes()\ndef shouting() -> pl.Expr:\n"
                '    """Messages without a lower-case letter."""\n'
                '    return pl.col("content").str.contains("[a-z]").not_()\n\n\n'
                '@MESSAGE.removes(needs=["deleted"])',
            )
        ]
    }
)

COMPUTED = Addition(
    new={
        "steps/vowels.py": '''"""The share of vowels in messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.steps.filtering import Column


@dataclass(frozen=True)
class Vowels:
    """How many vowels there are."""

    number: int = 0

    def __add__(self, more: Vowels) -> Vowels:
        return Vowels(self.number + more.number)

    def entry(self) -> dict[str, int]:
        return {"number": self.number}


def make(messages: pl.DataFrame, options: Any, folder: Path) -> tuple[pl.DataFrame, Vowels]:
    vowels = pl.col("content").str.count_matches("[aeiou]").fill_null(0)
    messages = messages.with_columns(vowels=vowels / pl.col("content").str.len_chars())
    return messages, Vowels(int(messages.select(vowels.sum()).item()))


def prepare(options: Any, files: Mapping[str, Any], folder: Path) -> Vowels:
    return Vowels()


COLUMN = Column("vowels", make, prepare)
'''
    },
    changed={
        "steps/message_filters.py": [
            (
                '@MESSAGE.removes(needs=["deleted"])',
                "from chatdata.steps import vowels as vowel_column\n\n\n"
                '@MESSAGE.removes(column=vowel_column.COLUMN, key="vowels")\n'
                "def few_vowels(below: float = 0.2) -> pl.Expr:\n"
                '    """Messages with a share of vowels below `below`."""\n'
                '    return pl.col("vowels") < below\n\n\n'
                '@MESSAGE.removes(needs=["deleted"])',
            )
        ]
    },
)

TEMPLATE = Addition(
    changed={
        "render/template_spec.py": [
            (
                "BUILT_IN = {spec.name: spec for spec in (STARCHAT, CHATML, DIALOGUE)}",
                "BRACKETS = TemplateSpec(\n"
                '    "brackets",\n    "Turns in brackets",\n'
                '    {role: Turn(f"<[{role}]>", "\\n", "", "<[end]>", "\\n") for role in _ROLES},\n'
                '    ("<[system]>", "<[assistant]>", "<[user]>", "<[end]>"),\n)\n'
                "BUILT_IN = {spec.name: spec for spec in (STARCHAT, CHATML, DIALOGUE, BRACKETS)}",
            )
        ]
    }
)

FIGURE = Addition(
    changed={
        "pipeline/tokenizing.py": [
            (
                "            unknown=self.unknown,\n",
                "            unknown=self.unknown,\n"
                '            questions=int((self.messages["role"] == "user").sum()),\n',
            )
        ],
        "pipeline/stats.py": [
            (
                "    leaking_groups: int = 0\n",
                "    leaking_groups: int = 0\n    questions: int = 0\n",
            )
        ],
        "pipeline/describe.py": [
            (
                "        leakage=Leakage(groups_in_both=stats.leaking_groups),\n",
                "        leakage=Leakage(groups_in_both=stats.leaking_groups),\n"
                "        questions=stats.questions,\n",
            )
        ],
        "dataset/manifest.py": [
            ("    leakage: Leakage = ", "    questions: Number = 0\n    leakage: Leakage = ")
        ],
    }
)


ADDITIONS = (FILTER, COMPUTED, TEMPLATE, FIGURE)
PROGRAM = """
from chatdata.cli import main

settings = ["drop=[shouting, few_vowels: {below: 0.2}]", "max_dropped=1"]
settings += ["render={template: brackets, tokenizer: bytes}"]
options = [word for setting in settings for word in ("--set", setting)]
for words in (["list"], ["build", "sample", "--out", "out", *options], ["verify", "out"]):
    assert not main(words, standalone_mode=False)
"""


@dataclass(frozen=True)
class Built:
    """What was built with the additions, which `verify` finds sound, and what was printed."""

    printed: str
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A copy of the package with its recipes, all additions, and a build."""
    folder = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "chatdata", folder / "chatdata", ignore=ignore)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    for addition in ADDITIONS:
        addition.apply(folder / "chatdata")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Built(done.stdout, json.loads((folder / "out/manifest.json").read_text()))


@pytest.mark.slow
def test_a_filter_is_one_file(built: Built) -> None:
    assert "shouting" in built.printed
    assert built.facts["counts"]["messages"]["dropped"]["shouting"] > 0
    assert len(FILTER.files()) == 1


@pytest.mark.slow
def test_a_filter_with_a_computed_column_is_two_files(built: Built) -> None:
    assert built.facts["counts"]["messages"]["dropped"]["few_vowels"] > 0
    assert len(COMPUTED.files()) == 2


@pytest.mark.slow
def test_a_template_is_one_file(built: Built) -> None:
    assert "brackets" in built.printed
    assert built.facts["render"]["template"]["name"] == "brackets"
    assert len(TEMPLATE.files()) == 1


@pytest.mark.slow
def test_a_figure_in_the_manifest_is_at_most_four_files(built: Built) -> None:
    assert built.facts["questions"]
    assert len(FIGURE.files()) <= 4
