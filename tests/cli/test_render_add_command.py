"""Added renderings, as a user meets them on the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main
from chatdata.dataset import manifest, reader
from chatdata.verify.verification import verify_folder

SHORT = ("--set", "render.max_tokens=300", "--set", "max_dropped=1")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(*arguments: str | Path) -> str:
    """What a command that works prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def added(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sample with a rendering that leaves out some conversations."""
    out = tmp_path_factory.mktemp("added") / "out"
    chosen = ("--tokenizer", "bytes", "--template", "chatml", "--workers", "1")
    printed = lines("render", sample, *chosen, "--add", "--name", "short", *SHORT, "--out", out)
    count = manifest.read(out).renders["short"].counts.conversations
    assert f"short: {count.kept} of {count.read} conversations; left out: " in printed
    assert f"{count.dropped['too_long']} too_long" in printed
    assert "template chatml, tokenizer bytes" in printed
    assert printed.endswith(f"\n{out}\n")
    return out


def test_the_manifest_is_printed_as_json(sample: Path, tmp_path: Path) -> None:
    chosen = ("--tokenizer", "bytes", "--template", "chatml", "--workers", "1", "--add", "--json")
    values = json.loads(lines("render", sample, *chosen, "--out", tmp_path / "o"))
    assert values == json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert list(values["renders"]) == ["chatml"]


def test_what_does_not_go_together_is_wrong_usage(sample: Path, tmp_path: Path) -> None:
    named = "--name goes with --add; add it, or leave out --name x."
    for arguments, words in (
        ((), "name the folder to write with --out, or write into OUT with --add."),
        (("--name", "x"), named),
        (("--name", "x", "--out", tmp_path / "x"), named),
    ):
        result = run("render", sample, "--tokenizer", "bytes", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_explain_says_what_a_rendering_leaves_out(added: Path) -> None:
    left_out = reader.scan_left_out(added, "short").filter(unit="conversation", reason="too_long")
    id = left_out.collect()["id"][0]
    printed = lines("explain", added, id)
    assert f"conversation {id}  kept" in printed
    assert f"conversation {id}  dropped\n    left out of rendering short\n    too_long: " in printed
    outcomes = json.loads(lines("explain", added, id, "--json"))
    assert {outcome["rendering"] for outcome in outcomes} >= {None, "short"}


def test_show_stats_and_report_know_the_rendering(added: Path) -> None:
    assert "<|im_start|>assistant" in lines("show", added, "--rendering", "short", "-n", "1")
    assert "<|assistant|>" in lines("show", added, "-n", "1")
    numbers = json.loads(lines("stats", added, "--json"))["renders"]["short"]
    entry = manifest.read(added).renders["short"]
    assert (numbers["tokens"], numbers["length"]["max"] <= 300) == (entry.render.tokens, True)
    assert f"rendering short: {entry.render.tokens} tokens" in lines("stats", added)
    lines("report", added)
    page = (added / "report.html").read_text()
    assert 'id="renderings"' in page
    for command in ("show", "pack"):
        more = ("--max-tokens", "400") if command == "pack" else ()
        result = run(command, added, *more, "--rendering", "long")
        assert result.exit_code == 1
        assert "has no rendering 'long'; it has short" in result.stderr


@pytest.mark.slow
def test_bins_of_a_rendering_are_its_own(added: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(added, tmp_path / "copy"))
    assert "packed train of short" in lines(
        "pack", copy, "--max-tokens", "400", "--rendering", "short"
    )
    lines("pack", copy, "--max-tokens", "4096")
    packs = [(index.rendering, index.path) for index in manifest.read(copy).packs]
    assert ("short", "packs-short/train-400.parquet") in packs
    assert (None, "packs/train-4096.parquet") in packs
    verify_folder(copy)
    index = copy / "packs-short" / "train-400.parquet"
    index.write_bytes((copy / "packs-short" / "test-400.parquet").read_bytes())
    result = run("verify", copy)
    assert result.exit_code == 1
    assert "packs-short/train-400.parquet" in result.stdout


@pytest.mark.slow
def test_diff_says_what_became_of_renderings(added: Path, sample: Path, tmp_path: Path) -> None:
    printed = lines("diff", sample, added)
    assert "added renderings\n  short: none → template chatml, tokenizer bytes" in printed
    longer = tmp_path / "longer"
    chosen = ("--tokenizer", "bytes", "--template", "chatml", "--workers", "1", "--add")
    lines("render", sample, *chosen, "--name", "short", "--out", longer)
    printed = lines("diff", added, longer)
    counts = manifest.read(added).renders["short"].counts.conversations
    more = counts.read - counts.kept
    assert re.search(rf"rendering short: {more} added, \d+ the same, \d+ with other tok", printed)
    assert "short.splits.train.rows" in printed


@pytest.mark.slow
def test_a_new_folder_leaves_added_renderings_behind_and_says_so(
    added: Path, tmp_path: Path
) -> None:
    chosen = ("--tokenizer", "bytes", "--template", "chatml", "--workers", "1")
    result = run("render", added, *chosen, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "added renderings are left behind: short; `chatdata render " in result.stderr
    assert not manifest.read(tmp_path / "new").renders
    verify_folder(tmp_path / "new")
    copy = shutil.copytree(added, tmp_path / "copy")
    result = run("build", "sample", "--out", copy, "--workers", "1")
    assert "added renderings are left behind: short" in result.stderr
    result = run("build", "sample", "--out", copy, "--workers", "1")
    assert result.stderr == ""
