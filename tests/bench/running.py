"""All references of the coding prompts, and all code that is to be reviewed, in the sandbox.

    python tests/bench/running.py --out out/checked

Every reference has to pass its test, and no code under review. What a program costs in the sandbox
is compared with a bare process of Python, in turn.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainer.evaluation import running
from trainer.evaluation.running import Job
from trainer.evaluation.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
PROMPTS = ROOT / "recipes" / "prompts" / "coding.jsonl"


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--workers", default=2, show_default=True)
def main(out: Path, workers: int) -> None:
    """Runs them, and prints how many pass and what one costs."""
    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    tested = [row for row in rows if "test" in row]
    out.mkdir(parents=True)
    files = {
        "references": [row | {"answer": row["reference"]} for row in tested],
        "under review": [
            row | {"answer": "```" + row["prompt"].partition("```")[2]}
            for row in tested
            if "bug" in row
        ],
    }
    for number, (name, lines) in enumerate(files.items()):
        file = written(out / f"{number}.jsonl", lines)
        summary = running.run(Job(file, workers=workers), out / f"run-{number}")
        print(f"{name}: {summary['passed']} of {summary['n']} pass; {summary['statuses']}")
    sandbox = Sandbox()
    pairs = [
        (
            seconds(lambda: sandbox.run("x = 1", test="assert x == 1")),
            seconds(lambda: subprocess.run([sys.executable, "-c", "x = 1"], check=True)),
        )
        for _ in range(40)
    ]
    guarded, bare = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    print(
        f"a program in the sandbox {guarded:.0f} ms, a bare process {bare:.0f} ms (medians of 40)"
    )


if __name__ == "__main__":
    main()
