"""A build over an earlier one: the same build alone, and nothing of its users is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata import build_dataset
from chatdata.cli import main
from chatdata.core.errors import OutputError, SourceError
from chatdata.dataset import manifest
from chatdata.pipeline.find import load

RECIPE = """\
name: r
version: 1.0.0
source: {jsonl: {}}
"""
TALK = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "in.jsonl").write_text(TALK)
    return tmp_path


def make(folder: Path, *settings: str, out: str = "out", **options: Any) -> Path:
    recipe = load(str(folder / "r.yaml"), settings)
    options = {"inputs": [str(folder / "in.jsonl")], **options}
    build_dataset(recipe, folder / out, **options)
    return folder / out


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_build_keeps_what_is_of_its_users(folder: Path) -> None:
    out = make(folder)
    built = contents(out)
    (out / "notes").mkdir()
    (out / "notes" / "one.txt").write_text("mine")
    (out / "link").symlink_to("notes/one.txt")
    (out / "away").symlink_to(folder)
    (out / "report.html").write_text("a report")
    (out / "comparison.html").write_text("of what may have changed meanwhile, which goes")
    with (out / "README.md").open("a") as card:
        card.write("\nOur words.\n")
    make(folder)
    again = contents(out)
    assert again.pop("notes/one.txt") == again.pop("link") == b"mine"
    assert again.pop("report.html") == b"a report"
    assert again.pop("README.md") == built.pop("README.md") + b"\nOur words.\n"
    assert again == built
    assert (out / "link").readlink() == Path("notes/one.txt")
    assert (out / "away").readlink() == folder


def test_a_build_of_another_recipe_is_refused_by_its_key(folder: Path) -> None:
    out = make(folder)
    (out / "notes.txt").write_text("mine")
    (out / "report.html").write_text("a report of other rows")
    before = contents(out)
    setting = "threads.end=any"
    words = r'its recipe has threads.end: "assistant", and this one has "any". --force replaces'
    with pytest.raises(OutputError, match=words):
        make(folder, setting)
    assert contents(out) == before
    make(folder, setting, "threads.repeated_role=merge", force=True)
    assert manifest.read(out)["recipe"]["threads"]["end"] == "any"
    assert (out / "notes.txt").read_text() == "mine"


def test_a_report_of_other_rows_goes(folder: Path) -> None:
    out = make(folder)
    (out / "report.html").write_text("a report of other rows")
    with (folder / "in.jsonl").open("a") as file:
        file.write(TALK.replace("Yes", "No"))
    with pytest.raises(
        OutputError, match=r"the file 'in.jsonl' of source 'jsonl' has changed since"
    ):
        make(folder)
    make(folder, force=True)
    assert not (out / "report.html").exists()


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", '{"name": "an extension"}'])
def test_a_manifest_of_somebody_else_is_no_build(folder: Path, text: str) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "manifest.json").write_text(text)
    (folder / "out" / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="a folder that chatdata did not build"):
        make(folder, force=True)
    assert sorted(contents(folder / "out")) == ["manifest.json", "thesis.tex"]


def test_an_input_in_the_folder_that_is_replaced_is_refused(folder: Path) -> None:
    options = {"inputs": [str(folder)], "out": "out"}
    (folder / "r.yaml").write_text(RECIPE)
    make(folder, **options)
    with pytest.raises(SourceError, match=r"lies in '.*out', which the build replaces"):
        make(folder, **options)


def test_an_input_that_changes_while_it_is_read_is_an_error(folder: Path) -> None:
    def write_more(*_: Any) -> None:
        with (folder / "in.jsonl").open("a") as file:
            file.write(TALK)

    with pytest.raises(SourceError, match="changed while it was read"):
        make(folder, progress=write_more)
    assert not (folder / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["d[1]", "d*", "d?", "{d}"])
def test_a_name_is_not_a_pattern(folder: Path, name: str) -> None:
    make(folder, out="d1")
    out = str(make(folder, out=name))
    for command in (
        ["verify"],
        ["stats"],
        ["show"],
        ["explain", "#0"],
        ["diff", str(folder / "d1")],
    ):
        done = CliRunner().invoke(main, [command[0], out, *command[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit), command
        assert "Traceback" not in done.output
    assert CliRunner().invoke(main, ["verify", out]).exit_code == 0


def test_the_command_has_the_way_out(folder: Path) -> None:
    command = ["build", str(folder / "r.yaml"), "--input", str(folder / "in.jsonl")]
    command += ["--out", str(folder / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    changed = [*command, "--set", "max_dropped=1"]
    done = CliRunner().invoke(main, changed)
    assert done.exit_code == 1
    assert "--force" in done.output
    assert CliRunner().invoke(main, [*changed, "--force"]).exit_code == 0
