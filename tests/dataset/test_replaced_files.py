"""What a recipe states of its files (licence, origin, citation) does not hold for other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatdata import load_recipe
from chatdata.cli import main
from chatdata.dataset.manifest import Manifest, read
from chatdata.pipeline.inputs import with_replaced_files

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


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("stated", [[], ["--input-license", "cc0-1.0"]])
def test_the_recipe_of_the_folder_makes_the_same_folder(
    stated: list[str], private: Path, tmp_path: Path
) -> None:
    """As its card says; the licence went, since the recipe still named the files of the Hub."""
    build(private, tmp_path / "out", *stated)
    recipe = str(tmp_path / "out" / "recipe.yaml")
    command = ["build", recipe, "--input", str(private), "--out", str(tmp_path / "again")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "out")


def test_embedded_files_that_are_replaced_are_not_stated(private: Path, tmp_path: Path) -> None:
    command = ["build", "sample", "--input", f"oasst={private}", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*command, "--set", "max_dropped=1"])
    assert done.exit_code == 0, done.output
    manifest = read(tmp_path / "out")
    sources = manifest.recipe.source
    assert [sources[key].license for key in ("oasst", "sharegpt")] == [None, "apache-2.0"]
    assert manifest.license is None


def test_the_author_of_local_files_speaks_for_the_input(private: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\nversion: 1.0.0\nsource: {oasst: {files: [private.jsonl], license: mit}}\n"
        "publish: {license: mit}\n"
    )
    again = tmp_path / "out" / "recipe.yaml"
    for name, path in (("out", recipe), ("again", again)):
        command = ["build", str(path), "--input", str(private), "--out", str(tmp_path / name)]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    assert facts(read(tmp_path / "out")) == {"of the whole": "mit", "of the source": "mit"}
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "out")


def test_a_licence_of_no_file_is_that_of_the_input(private: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nversion: 1.0.0\nsource: {oasst: {license: mit}}\n")
    command = ["build", str(recipe), "--input", str(private), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "out").recipe.source["oasst"].license == "mit"


def test_a_licence_of_some_files_is_not_that_of_the_whole(tmp_path: Path) -> None:
    text = "name: r\nversion: 1.0.0\npublish: {license: mit}\nsource:\n"
    text += "  oasst: {files: [a.jsonl], license: mit}\n  jsonl: {files: [b.jsonl], license: mit}\n"
    (tmp_path / "r.yaml").write_text(text)
    recipe = with_replaced_files(load_recipe(tmp_path / "r.yaml"), ["jsonl=c.jsonl"], "cc0-1.0")
    licences = {key: source.license for key, source in recipe.source.items()}
    assert licences == {"oasst": "mit", "jsonl": "cc0-1.0"}
    assert recipe.publish
    assert recipe.publish.license is None


def test_that_files_were_replaced_is_said_once() -> None:
    """A folder's recipe says it already, and is built again with files that replace others."""
    recipe = with_replaced_files(load_recipe("oasst1-en"), ["x.jsonl"], None)
    assert recipe.about.startswith("Local files, by the recipe oasst1-en (")
    assert with_replaced_files(recipe, ["x.jsonl"], None).about == recipe.about
