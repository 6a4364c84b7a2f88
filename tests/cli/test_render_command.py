"""`chatdata render`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatdata.cli import main


def render(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["render", *map(str, arguments), "--workers", "1"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def packed(sample: Path, tmp_path: Path) -> Path:
    """A copy of the sample with bins that its recipe does not ask for."""
    first = tmp_path / "packed"
    assert render(sample, "--tokenizer", "bytes", "--out", first).exit_code == 0
    done = CliRunner().invoke(main, ["pack", str(first), "--max-tokens", "4096"])
    assert done.exit_code == 0
    return first


@pytest.mark.slow
def test_a_template_over_a_built_folder(packed: Path, tmp_path: Path) -> None:
    arguments = ("--tokenizer", "bytes", "--template", "chatml", "--out", tmp_path / "new")
    done = render(packed, *arguments)
    assert done.exit_code == 0, done.output
    assert "template chatml, tokenizer bytes" in done.stdout
    assert done.stdout.endswith(f"\n{tmp_path / 'new'}\n")
    assert "bins of 4096 tokens are of the old rows" in done.stderr
    assert len(render(packed, *arguments, "--quiet").stdout.splitlines()) == 2, "hash and folder"
    values = json.loads(render(packed, *arguments, "--json").stdout)
    assert values == json.loads((tmp_path / "new" / "manifest.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--template", "chatlm"), "unknown template 'chatlm'"),
        (("--set", "threads.policy=best_rank"), "only `render.KEY` and `max_dropped` can be set"),
        (("--set", "render.max_token=3"), "max_tokens"),
        (("--set", "render.max_tokens=3"), "would be dropped"),
        (("--template", "tokenizer"), "chat template"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    sample: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = render(sample, "--tokenizer", "bytes", *arguments, "--out", tmp_path / "new")
    assert done.exit_code == 1
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
    assert not list(tmp_path.iterdir())


def test_only_a_finished_build_is_rendered(tmp_path: Path) -> None:
    done = render(tmp_path / "none", "--tokenizer", "bytes", "--out", tmp_path / "new")
    assert done.exit_code == 1
    assert "is not there" in done.stderr
