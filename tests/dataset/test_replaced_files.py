"""What a recipe states of its files (licence, origin, citation) does not hold for other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main
from chatdata.dataset.manifest import Manifest, read

TREE = [
    ("a", "prompter", "What is the capital of the country of France, and where is it?", None),
    ("b", "assistant", "The capital of France is the city of Paris, in the north.", "a"),
]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A file of messages that has the form of OASST1."""
    path = tmp_path / "private.jsonl"
    keys = ("message_id", "role", "text", "parent_id")
    rows = [dict(zip(keys, values, strict=True)) for values in TREE]
    more = {"message_tree_id": "a", "tree_state": "ready_for_export", "lang": "en"}
    path.write_text("\n".join(json.dumps({**row, **more}) for row in rows))
    return path


def build(private: Path, out: Path, *arguments: str) -> tuple[Result, Manifest]:
    settings = ["--set", "render=null", "--set", "split.test_percent=0"]
    command = ["build", "oasst1-en", "--input", str(private), "--out", str(out), *settings]
    done = CliRunner().invoke(main, [*command, *arguments])
    assert done.exit_code == 0, done.output
    return done, read(out)


def facts(manifest: Manifest) -> dict[str, Any]:
    source = manifest.recipe.source["oasst"]
    return {"of the whole": manifest.license, "of the source": source.license}


def test_nothing_is_stated_of_files_that_nobody_named(private: Path, tmp_path: Path) -> None:
    done, manifest = build(private, tmp_path / "out")
    assert facts(manifest) == {"of the whole": None, "of the source": None}
    assert "the licence of 'oasst' is not stated" in done.stderr
    for name in ("README.md", "croissant.json"):
        text = (tmp_path / "out" / name).read_text().lower()
        for word in ("apache", "volunteer", "@inproceedings", "kopf"):
            assert word not in text.replace("apache parquet", ""), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Local files, by the recipe oasst1-en (The English threads of OASST1" in card
    assert "licence: not stated" in card


def test_the_user_may_state_the_licence(private: Path, tmp_path: Path) -> None:
    done, manifest = build(private, tmp_path / "out", "--input-license", "cc0-1.0")
    assert facts(manifest) == {"of the whole": "cc0-1.0", "of the source": "cc0-1.0"}
    assert "is not stated" not in done.stderr
    again = ["verify", str(tmp_path / "out"), "--rebuild", "--input", str(private)]
    verified = CliRunner().invoke(main, again)
    assert verified.exit_code == 0, verified.output


def test_a_licence_of_no_file_is_that_of_the_input(private: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nversion: 1.0.0\nsource: {oasst: {license: mit}}\n")
    command = ["build", str(recipe), "--input", str(private), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "out").recipe.source["oasst"].license == "mit"
