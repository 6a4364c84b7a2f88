"""Renderings taken out of a folder: it is then as if they had never been added."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatdata import add_rendering, read_manifest, remove_rendering
from chatdata.cli.commands import main
from chatdata.core.errors import OutputError
from chatdata.dataset.pack import repack
from chatdata.verify.verification import verify_folder
from tests.support.builds import files


@pytest.fixture
def folder(sample: Path, tmp_path: Path) -> Path:
    """A built folder, with words of a user on the card, and a file of theirs."""
    out = tmp_path / "folder"
    shutil.copytree(sample, out)
    card = out / "README.md"
    card.write_text(card.read_text() + "\n## How I use it\n\nEvery day.\n")
    (out / "notes.txt").write_text("mine")
    return out


@pytest.fixture
def pristine(folder: Path) -> dict[str, bytes]:
    return files(folder)


@pytest.fixture
def added(folder: Path, pristine: dict[str, bytes]) -> Path:
    """The folder with a rendering."""
    add_rendering(folder, tokenizer="bytes", template="chatml", name="first")
    assert files(folder) != pristine
    return folder


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["render", *arguments])
    return done.exit_code, done.output


@pytest.mark.slow
def test_the_folder_is_as_if_it_had_never_been_added(added: Path, tmp_path: Path) -> None:
    before = files(added)
    add_rendering(added, tokenizer="bytes", template="dialogue", name="second")
    repack(added, 4096, "second")
    both = files(added)
    remove_rendering(added, "second", tmp_path / "copy")
    assert files(added) == both
    remove_rendering(added, "second")
    assert files(added) == before
    assert files(tmp_path / "copy") == before
    verify_folder(added)


def test_the_first_of_two_goes_alone(added: Path) -> None:
    add_rendering(added, tokenizer="bytes", template="dialogue", name="second")
    before = files(added)
    remove_rendering(added, "first")
    after = files(added)
    assert list(read_manifest(added).renders) == ["second"]
    left = [name for name in before if name not in after]
    assert left
    assert all(name.partition("/")[0].endswith("-first") for name in left)
    verify_folder(added)


def test_what_is_not_there_or_in_the_way_is_named(added: Path, sample: Path) -> None:
    before = files(added)
    with pytest.raises(OutputError, match=r"no rendering 'starchat'; it has first"):
        remove_rendering(added, "starchat")
    with pytest.raises(OutputError, match="holds another dataset; choose a new folder"):
        remove_rendering(added, "first", sample)
    assert files(added) == before


def test_the_command(added: Path, pristine: dict[str, bytes]) -> None:
    code, text = invoke(str(added), "--remove", "first", "--template", "chatml")
    assert (code, "--template renders, and --remove first removes" in text) == (2, True)
    code, text = invoke(str(added), "--out", "x")
    assert (code, "name the tokenizer with --tokenizer" in text) == (2, True)
    code, text = invoke("org/name@1.0.0", "--remove", "first")
    assert (code, "is a published version; name a folder for a copy" in text) == (2, True)
    code, text = invoke(str(added), "--remove", "first")
    assert code == 0, text
    assert text.splitlines() == [
        "removed first; added renderings that stay: none",
        str(added),
    ]
    assert files(added) == pristine
