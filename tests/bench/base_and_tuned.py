"""Does the tuned model answer better than its base? Both answer, and a rule judges, not a model.

python -m tests.bench.base_and_tuned --base stories260K --tuned out/tuned --number 40

The rule gives 8 to an answer whose program passes the test of its prompt in the sandbox, 4 to a
program that compiles, 2 to words, and 1 to nothing; equal scores are a tie. (`--rule longer`
prefers the longer answer, to see what that would say.) It speaks through an endpoint, as a model
would, so that the whole of `answer` and `judge` is gone through. `--base-few-shot` puts a base
model behind a few-shot prompt.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click

from tests.support.scripted_judge import Asked, Judge, serve
from trainer.evaluation import sandbox

ROOT = Path(__file__).parents[2]
CODING = ROOT / "recipes" / "prompts" / "coding.jsonl"
FEW_SHOT = ROOT / "recipes" / "prompts" / "assistant.yaml"


def command(*words: object) -> str:
    """What a command of `trainer.evaluation` prints."""
    line = [sys.executable, "-m", "trainer.evaluation", *map(str, words)]
    return subprocess.run(line, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


def program(answer: str) -> str | None:
    """The last fenced block of an answer, if it is Python; a fence need not be closed."""
    blocks = re.findall(r"```(?:python|py)?\n(.*?)(?:\n```|\Z)", answer, re.DOTALL)
    return str(blocks[-1]) if blocks else None


def compiles(code: str) -> bool:
    """Whether a program is Python."""
    try:
        compile(code, "answer", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def rule(tests: dict[str, str]) -> Judge:
    """A judge that runs what is to be run."""

    @functools.cache
    def score(prompt: str, answer: str) -> int:
        code = program(answer)
        if code is None or not compiles(code):
            return 2 if answer.strip() else 1
        return 8 if sandbox.run(code, test=tests[prompt]).passed else 4

    def judge(asked: Asked) -> str:
        first, second = score(asked.prompt, asked.first), score(asked.prompt, asked.second)
        return f"Scores: {first}, {second}"

    return judge


def longer(asked: Asked) -> str:
    """A judge that prefers the longer answer."""
    return f"Verdict: {1 if len(asked.first) > len(asked.second) else 2}"


@click.command(help=__doc__)
@click.option("--base", required=True)
@click.option("--tuned", required=True)
@click.option("--base-few-shot", is_flag=True)
@click.option("--number", default=40)
@click.option("--max-new-tokens", default=256)
@click.option("--batch-size", default=16)
@click.option("--rule", "name", type=click.Choice(["tests", "longer"]), default="tests")
@click.option("--out", type=click.Path(path_type=Path), help="A folder to keep.")
def main(
    base: str,
    tuned: str,
    base_few_shot: bool,
    number: int,
    max_new_tokens: int,
    batch_size: int,
    name: str,
    out: Path | None,
) -> None:
    """Prints the numbers of the summary."""
    out = (out or Path(tempfile.mkdtemp())).resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in CODING.read_text().splitlines()]
    tested = [row for row in rows if "test" in row]
    chosen = tested[:: max(1, len(tested) // number)][:number]
    for row in chosen:
        row.pop("reference")
    (out / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    limits = ["--max-new-tokens", max_new_tokens, "--batch-size", batch_size]
    shots = ["--few-shot", FEW_SHOT] if base_few_shot else []
    for side, model, more in (("base", base, shots), ("tuned", tuned, [])):
        where = ["--prompts", out / "prompts.jsonl", "--out", out / f"{side}.jsonl"]
        if not (out / f"{side}.jsonl").exists():
            print(side, command("answer", model, *where, *limits, *more), flush=True)
    judge = rule({row["prompt"]: row["test"] for row in chosen}) if name == "tests" else longer
    with serve(judge) as endpoint:
        where = ["--endpoint", endpoint.url, "--model", name, "--out", out / f"by-{name}"]
        print(command("judge", out / "tuned.jsonl", out / "base.jsonl", *where))
    print(json.dumps(facts(out, name), indent=1))


def facts(out: Path, name: str) -> dict[str, Any]:
    """The numbers of the summary that are of use here; A is the tuned model."""
    summary = json.loads((out / f"by-{name}" / "summary.json").read_text())
    verdicts = [
        json.loads(line)["outcome"]
        for line in (out / f"by-{name}" / "verdicts.jsonl").read_text().splitlines()
    ]
    names = ("n", "win_rate", "win_rate_interval", "length_controlled_win_rate", "position_bias")
    kept = {key: summary[key] for key in (*names, "length_bias", "scores")}
    return kept | {"outcomes": dict(Counter(verdicts))}


if __name__ == "__main__":
    main()
