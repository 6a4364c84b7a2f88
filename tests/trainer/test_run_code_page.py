"""docs/running.md says what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.sandboxes import DOUBLE, sandbox_or_skip
from trainer.evaluation import prompts
from trainer.evaluation.__main__ import main
from trainer.evaluation.sandbox import STATUSES, Limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "running.md").read_text()
ANSWER = json.dumps({"id": "a", "prompt": "p", "answer": DOUBLE}) + "\n"


def blocks(kind: str) -> list[str]:
    return [text.split("\n```")[0] for text in PAGE.split(f"\n```{kind}\n")[1:]]


def run(line: str) -> str:
    words = line.split()
    assert words[:3] == ["python", "-m", "trainer.evaluation"]
    done = CliRunner().invoke(main, words[3:])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_its_commands_run_and_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox_or_skip()
    monkeypatch.chdir(tmp_path)
    (lines,), (console,) = blocks("json"), blocks("console")
    Path("answers.jsonl").write_text(lines + "\n")
    for name in ("base", "tuned"):
        Path(f"{name}.jsonl").write_text(ANSWER)
    command, _, shown = console.partition("\n")
    assert run(command.removeprefix("$ ")).strip() == shown
    for line in "\n".join(blocks("sh")).splitlines():
        run(line)
    result = json.loads(Path("out/ran/results.jsonl").read_text().splitlines()[0])
    summary = json.loads(Path("out/ran/summary.json").read_text())
    unnamed = {"pass_rate_interval", "with_removed_lines", "figures", "settings"}
    assert [key for key in result if f"`{key}`" not in PAGE] == []
    assert [key for key in summary if f"`{key}`" not in PAGE and key not in unnamed] == []


@pytest.mark.slow
def test_its_python_runs() -> None:
    sandbox_or_skip()
    (block,) = blocks("python")
    printed = subprocess.check_output([sys.executable, "-c", block], cwd=ROOT, text=True)
    assert printed == "passed True\n"


def test_it_lists_every_status_and_limit() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [row for row in rows if row[0] in STATUSES] == list(STATUSES.items())
    limits = [
        (name, value)
        for names, values in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\d, ]+) \|", PAGE, re.M)
        for name, value in zip(re.findall(r"\w+", names), values.split(", "), strict=True)
    ]
    assert limits == [
        (name, f"{value:.0f}") for name, value in dataclasses.asdict(Limits()).items()
    ]


def test_the_prompts_for_pictures_are_prompts() -> None:
    listed = prompts.read(ROOT / "recipes" / "prompts" / "plots.jsonl")
    assert [prompt.id for prompt in listed] == ["plot-bars", "plot-map", "plot-names"]
