"""Completion: recipes, keys, names and ids that begin as the user has begun; never an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from chatdata.cli import main
from chatdata.core import config
from chatdata.pipeline import shipped
from chatdata.pipeline.recipe_keys import KEYS

SHELL = ShellComplete(main, {}, "chatdata", "_CHATDATA_COMPLETE")


def offered(*words: object, incomplete: str = "") -> list[str]:
    """What a shell offers behind some words."""
    return [item.value for item in SHELL.get_completions([str(word) for word in words], incomplete)]


def test_recipes_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / "more").mkdir()
    assert offered("build", incomplete="sha") == ["sharegpt"]
    assert offered("check", incomplete="m") == ["mine.yaml", "more/"]
    assert offered("recipe") == [path.stem for path in shipped.recipes()]


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("spl", ["split=", "split.test_percent="]),
        ("render.tem", ["render.template="]),
        ("drop.wrong_language.", ["allow=", "decide=", "on_removed="]),
        ("clean.white", ["max_blank_lines="]),
        ("source.oasst.rev", ["source.oasst.revision="]),
        ("nothing", []),
    ],
)
def test_keys_of_recipes(incomplete: str, expected: list[str]) -> None:
    given = offered("build", "oasst1-en", "--set", incomplete=incomplete)
    assert len(given) == len(expected)
    assert all(key.endswith(end) for key, end in zip(given, expected, strict=True))


def test_every_key_that_is_offered_is_one(tmp_path: Path) -> None:
    """`--set KEY=null` is understood, or refused for its value: no key is unknown."""
    whole = config.load_yaml(next(path for path in shipped.recipes() if path.stem == "sharegpt"))
    for key in offered("build", "sharegpt", "--set"):
        first = key.rstrip("=").split(".")[0]
        assert first in KEYS[""]
        assert config.override(whole, [f"{key}1"])


def test_what_a_folder_has(sample: Path) -> None:
    assert offered("show", sample, "--id", incomplete="oasst1/bread/") == [
        "oasst1/bread/bread-a1a",
        "oasst1/bread/bread-a1b",
        "oasst1/bread/bread-b",
        "oasst1/bread/bread-c",
    ]
    assert "bread-a2" in offered("explain", sample, incomplete="bread-a")
    assert offered("show", sample, "--dropped", incomplete="dup") == ["duplicate"]
    assert offered("show", sample, "--source") == ["oasst", "sharegpt"]
    assert offered("show", sample, "--lang") == ["en"]


def test_names_of_a_recipe() -> None:
    assert offered("list", incomplete="wrong") == ["wrong_language"]
    assert "filters" in offered("list", incomplete="fil")


def test_where_something_is_wrong_nothing_is_offered(tmp_path: Path) -> None:
    assert offered("show", tmp_path / "none", "--id") == []
    assert offered("explain", tmp_path, incomplete="a") == []
    assert offered("show", tmp_path, "--rendering") == []
    assert offered("build", "none", "--set", incomplete="source.") == []


def test_a_folder_in_storage_is_not_fetched() -> None:
    assert offered("show", "s3://nowhere/at-all", "--id") == []


@pytest.mark.slow
def test_a_shell_is_told() -> None:
    environment = {
        **os.environ,
        "_CHATDATA_COMPLETE": "bash_complete",
        "COMP_WORDS": "chatdata build sha",
        "COMP_CWORD": "2",
    }
    command = [sys.executable, "-c", "from chatdata.__main__ import main; main()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,sharegpt\n"
    assert json.dumps(done.stderr) == '""'
