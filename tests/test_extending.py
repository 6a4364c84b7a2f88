"""A thing of each kind is added to a copy of the package, built with, and its files are counted.

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
        "steps/filters.py": [
            (
                '@_removes("message", needs=["deleted"])',
                '@_removes("message")\ndef shouting() -> pl.Expr:\n'
                '    """Messages without a lower-case letter."""\n'
                '    return pl.col("content").str.contains("[a-z]").not_()\n\n\n'
                '@_removes("message", needs=["deleted"])',
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
        "steps/filters.py": [
            (
                '@_removes("message", needs=["deleted"])',
                "from chatdata.steps import vowels as vowel_column\n\n\n"
                '@_removes("message", column=vowel_column.COLUMN, key="vowels")\n'
                "def few_vowels(below: float = 0.2) -> pl.Expr:\n"
                '    """Messages with a share of vowels below `below`."""\n'
                '    return pl.col("vowels") < below\n\n\n'
                '@_removes("message", needs=["deleted"])',
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


@dataclass(frozen=True)
class Copy:
    """A copy of the package, in a folder of its own."""

    folder: Path

    def run(self, *words: str) -> str:
        """What a command of the copy prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-m", "chatdata", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def build(self, *settings: str) -> dict[str, object]:
        """The manifest of a build of the sample, which `verify` then finds sound."""
        options = [word for setting in settings for word in ("--set", setting)]
        self.run("build", "sample", "--out", "out", "--workers", "1", *options)
        self.run("verify", "out")
        manifest: dict[str, object] = json.loads((self.folder / "out/manifest.json").read_text())
        return manifest


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the package with its recipes."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "chatdata", tmp_path / "chatdata", ignore=ignore)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return Copy(tmp_path)


@pytest.mark.slow
def test_a_filter_is_one_file(copy: Copy) -> None:
    FILTER.apply(copy.folder / "chatdata")
    assert "shouting" in copy.run("list")
    manifest = copy.build("drop=[shouting]", "max_dropped=1")
    assert manifest["counts"]["messages"]["dropped"]["shouting"] > 0  # type: ignore[index]
    assert len(FILTER.files()) == 1


@pytest.mark.slow
def test_a_filter_with_a_computed_column_is_two_files(copy: Copy) -> None:
    COMPUTED.apply(copy.folder / "chatdata")
    manifest = copy.build("drop=[few_vowels: {below: 0.2}]", "max_dropped=1")
    assert manifest["counts"]["messages"]["dropped"]["few_vowels"] > 0  # type: ignore[index]
    assert len(COMPUTED.files()) == 2


@pytest.mark.slow
def test_a_template_is_one_file(copy: Copy) -> None:
    TEMPLATE.apply(copy.folder / "chatdata")
    assert "brackets" in copy.run("list")
    manifest = copy.build("render={template: brackets, tokenizer: bytes}")
    assert manifest["render"]["template"]["name"] == "brackets"  # type: ignore[index]
    assert len(TEMPLATE.files()) == 1


@pytest.mark.slow
def test_a_figure_in_the_manifest_is_at_most_four_files(copy: Copy) -> None:
    FIGURE.apply(copy.folder / "chatdata")
    manifest = copy.build()
    assert manifest["questions"]
    assert len(FIGURE.files()) <= 4
