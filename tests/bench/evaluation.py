"""The whole evaluation of two small models, without a network, by the commands that a user has.

    python -m tests.bench.evaluation --model models/stories260K --out out/evaluation

A base model, and the same trained for a few steps on the sample, answer coding prompts; served, the
trained one gives the same answers. Scripted judges compare them, their programs are run, made-up
people rank them, both are measured on a benchmark, and a page is made of it all. Then the same with
answers whose truth is planted: references beside references of which every third is broken. What
must come out is asserted; models of this size write no program, so that the first half shows that
the chain holds, and the second that its numbers do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from tests.support.scripted_judge import Asked, serve

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "recipes" / "prompts" / "coding.jsonl"
SHOTS = """\
about: short, for a model with few positions
system: What follows are questions, and answers in Python.
dialogues:
- - human: Add one to x.
    assistant: "```python\\nx += 1\\n```"
"""


def run(*words: object, **more: Any) -> float:
    """Runs a module as a user does. Returns the seconds that it took."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True, cwd=ROOT, **more)
    return time.perf_counter() - begin


def evaluation(*words: object) -> float:
    """Runs a command of the evaluation, and says how long it took."""
    seconds = run("trainer.evaluation", *words)
    print(f"-- {words[0]}: {seconds:.0f} s\n", flush=True)
    return seconds


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# ------------------------------------------------------------------------------------------ models


def train(base: Path, out: Path, steps: int) -> Path:
    """The base model, trained for a few steps on the sample."""
    data, tuned = out / "data", out / "tuned"
    keys = [f"tokenizer={base}", "template=starchat", "max_tokens=256", "overflow=cut"]
    settings = [word for key in keys for word in ("--set", f"render.{key}")]
    run("chatdata", "build", "sample", "--out", data, *settings, stdout=subprocess.DEVNULL)
    keys = [
        *(f"dataset={data}", f"model={{path: {base}}}", f"output={tuned}", "deepspeed=null"),
        *(f"training.max_steps={steps}", f"training.logging_steps={steps}", "report_to=[]"),
    ]
    settings = [word for key in keys for word in ("--set", key)]
    recipe = ROOT / "recipes" / "train" / "sample.yaml"
    run("trainer.train", recipe, *settings, stdout=subprocess.DEVNULL)
    return tuned


@contextlib.contextmanager
def served(model: Path) -> Iterator[str]:
    """A model as an endpoint on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trainer.chat", model, "--serve", "--port", str(port)]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def answer(base: Path, tuned: Path, out: Path, prompts: Path) -> None:
    """Both models answer, and the served one the same."""
    shots = out / "shots.yaml"
    shots.write_text(SHOTS)
    common = ("--prompts", prompts, "--max-new-tokens", 64)
    evaluation("answer", tuned, *common, "--out", out / "runs" / "tuned.jsonl")
    evaluation("answer", base, *common, "--few-shot", shots, "--out", out / "runs" / "base.jsonl")
    with served(tuned) as url:
        again = out / "served.jsonl"
        evaluation("answer", tuned, *common, "--endpoint", url, "--out", again)
    same = [
        a["answer"] == b["answer"]
        for a, b in zip(lines(out / "runs" / "tuned.jsonl"), lines(again), strict=True)
    ]
    print(f"served, {sum(same)} of {len(same)} answers are the same\n")


# ------------------------------------------------------------------------------------------ judges


def reply(is_first_better: bool) -> str:
    scores = "7, 4" if is_first_better else "4, 7"
    return f"By the rule of this judge.\n\nScores: {scores}\nVerdict: {1 if is_first_better else 2}"


def rules(asked: Asked) -> str:
    """Judges with rules: `longer`, `place`, and `careful`, who likes code that is whole."""
    if asked.model == "longer":
        return reply(len(asked.first) > len(asked.second))
    if asked.model == "place":
        return reply(True)
    whole = ["```" in text and BROKEN not in text for text in (asked.first, asked.second)]
    if whole[0] == whole[1]:
        return "Neither is better.\n\nScores: 5, 5\nVerdict: tie"
    return reply(whole[0])


JUDGES = ("careful", "longer", "place")


def judge(folder: Path, judged_by: Callable[[Asked], str]) -> dict[str, Any]:
    models = [word for name in JUDGES for word in ("--model", name)]
    with serve(judged_by) as endpoint:
        where = ["--endpoint", endpoint.url, "--out", folder / "judged"]
        evaluation("judge", *sides(folder), *where, *models)
    summary: dict[str, Any] = read(folder / "judged" / "summary.json")
    place, longer = (summary["judges"][name] for name in ("place", "longer"))
    assert (place["position_bias"], place["win_rate"]) == (1.0, 0.5)
    assert longer["length_bias"] == 1.0
    return summary


def sides(folder: Path) -> tuple[Path, Path]:
    """The files of answers of A and of B."""
    a, b = sorted(folder.glob("*.jsonl"), reverse=True)
    return a, b


# ---------------------------------------------------------------------------- programs and people


def run_code(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The results of both sides, by the name of the file."""
    results = {}
    for file in sides(folder):
        evaluation("run-code", file, "--out", folder / f"ran-{file.stem}")
        results[file.stem] = lines(folder / f"ran-{file.stem}" / "results.jsonl")
    return results


def rank(folder: Path) -> None:
    """Three people rank what they see: two like long answers, the third draws lots."""
    from trainer.evaluation.arena import book, contest

    made, out = contest.of_files(sides(folder), seed=0), folder / "people"
    out.mkdir()
    contest.settle(made, out)
    written = book.Book(made, out)
    for name in ("ada", "grace", "edsger"):
        for at, item in enumerate(made.items):
            order = written.judgement(name, at).order
            sizes = [len(item.answers[letter]) for letter in order]
            draw = hashlib.sha256(f"{name} {item.id}".encode()).digest()[0] % 2
            ranks = [1, 2] if (sizes[0] > sizes[1] if name != "edsger" else draw) else [2, 1]
            saved = written.save(name, at, {"ranks": ranks, "is_kept": at % 4 == 0})
            assert saved.status == "judged"
    written.close()
    evaluation("arena", "--summary", out, "--verdicts", folder / "judged" / "verdicts.jsonl")


# ----------------------------------------------------------------------------------------- planted

BROKEN = "# The end is missing."


def plant(folder: Path, number: int) -> list[str]:
    """References beside references of which every third is cut off. Returns the ids of these."""
    asked = [row for row in lines(PROMPTS) if row.get("test")][:number]
    rows: dict[str, list[dict[str, Any]]] = {"whole": [], "cut": []}
    broken = []
    for place, row in enumerate(asked):
        answer = f"Here it is.\n\n```python\n{row['reference'].rstrip()}\n```\n"
        cut = f"```python\n{row['reference'].rstrip()}\nassert (  {BROKEN}\n```\n"
        if is_cut := place % 3 == 0:
            broken.append(str(row["id"]))
        for name, text in (("whole", answer), ("cut", cut if is_cut else answer)):
            line = {"id": row["id"], "prompt": row["prompt"], "answer": text, "test": row["test"]}
            rows[name].append(line | {"model": name})
    for name, of in rows.items():
        write(folder / f"{name}.jsonl", of)
    return broken


# ------------------------------------------------------------------------------------------- all


@click.command()
@click.option("--model", "base", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--steps", default=40, show_default=True)
@click.option("--prompts", "number", default=12, show_default=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Of benchmarks.")
def main(base: Path, out: Path, steps: int, number: int, data: Path | None) -> None:
    """Evaluate, and say where the pages are."""
    base, out = base.resolve(), out.resolve()
    out.mkdir(parents=True)
    runs = out / "runs"
    tuned = train(base, out, steps)
    prompts = write(out / "prompts.jsonl", lines(PROMPTS)[:number])
    answer(base, tuned, out, prompts)
    judge(runs, rules)
    run_code(runs)
    rank(runs)
    if data:
        tasks = ("--tasks", "arc_easy,truthfulqa_mc2", "--limit", 20, "--shots", 0)
        where = ("--data", data.resolve(), "--out", runs / "benchmarked")
        evaluation("benchmark", base, tuned, *tasks, *where)
    evaluation("report", runs, "--out", out / "models.html", "--card", tuned)
    assert "## Evaluation" in (tuned / "README.md").read_text()
    check_planted(out / "planted", number)
    evaluation("report", out / "planted", "--out", out / "planted.html")
    for page in ("models.html", "planted.html"):
        before = (out / page).read_bytes()
        folder = runs if page == "models.html" else out / "planted"
        evaluation("report", folder, "--out", out / page)
        assert (out / page).read_bytes() == before
        print(f"{out / page}: {len(before) / 1e6:.2f} MB, the same bytes twice")


def check_planted(folder: Path, number: int) -> None:
    """What was planted comes out."""
    broken = set(plant(folder, number))
    summary = judge(folder, rules)
    careful = summary["judges"]["careful"]
    assert careful["win_rate"] == (number + len(broken)) / (2 * number)
    assert (careful["ties"], careful["position_bias"]) == (number - len(broken), 0.0)
    results = run_code(folder)
    assert all(row["passed"] for row in results["whole"])
    assert {row["id"] for row in results["cut"] if not row["passed"]} == broken
    rank(folder)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
