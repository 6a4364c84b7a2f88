"""Small evaluations: answers of two models, and what judges with rules make of them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.support.scripted_judge import Asked, serve
from trainer.evaluation.__main__ import main

NUMBER = 24
TESTED = 8  # the first of them have a test
CODE = "So:\n\n```python\nx = 1\n```\nThat is all."


def run(*words: object) -> Result:
    """Runs a command in a thread: in that of the tests a browser has an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(CliRunner().invoke, main, [str(word) for word in words]).result()


def write(path: Path, model: str, answers: list[tuple[str, str, str]]) -> Path:
    """A file of answers from ids, prompts and texts."""
    rows: list[dict[str, Any]] = [
        {"id": id, "prompt": prompt, "answer": answer, "finish_reason": "stop", "model": model}
        for id, prompt, answer in answers
    ]
    for row in rows[:TESTED]:
        row["test"] = "assert x == 1"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_both(folder: Path) -> None:
    """Answers of A, two of three with code, and of B, one of four."""
    prompts = [(f"q{i}", f"Question {i}") for i in range(NUMBER)]
    of_a = [(id, text, CODE if i % 3 else "No code.") for i, (id, text) in enumerate(prompts)]
    of_b = [(id, text, "A loop." if i % 4 else CODE) for i, (id, text) in enumerate(prompts)]
    write(folder / "a.jsonl", "out/tuned", of_a)
    write(folder / "b.jsonl", "/home/me/models/base", of_b)


def judge(asked: Asked) -> str:
    """Prefers code; the judge `place` what is in front; a question is too much for either."""
    if asked.prompt == "Question 7":
        return "I'm sorry, I can't compare these."
    goods = ["```" in asked.first, "```" in asked.second]
    if asked.model == "place" or goods[0] == goods[1]:
        return "Hm. <b>So.</b>\nScores: 6, 5\nVerdict: 1"
    scores = "7, 3" if goods[0] else "3, 7"
    return f"The code of one runs.\n\nScores: {scores}\nVerdict: {1 if goods[0] else 2}"


def run_judge(folder: Path, *names: str) -> Path:
    """Judges `a.jsonl` and `b.jsonl` of a folder, into `judged` of it."""
    models = [word for name in names for word in ("--model", name)]
    with serve(judge) as endpoint:
        where = ["--endpoint", endpoint.url, "--out", folder / "judged"]
        done = run("judge", folder / "a.jsonl", folder / "b.jsonl", *where, *models)
    assert done.exit_code == 0, done.output
    for name in ("settings.json", "summary.json"):  # its port is another each time
        path = folder / "judged" / name
        path.write_text(path.read_text().replace(endpoint.url, "http://127.0.0.1:8000/v1"))
    return folder / "judged"
