"""Models beside each other on benchmarks: what is left of a run is run, and all is summed up."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chatdata
from chatdata.core.errors import ConfigError
from trainer.chat.generation import ChatModel
from trainer.evaluation import journal, sandbox
from trainer.evaluation.benchmarks import harness, humaneval, outcome, report, tasks
from trainer.evaluation.benchmarks.checks import Warning
from trainer.evaluation.benchmarks.folder import Cell, Folder
from trainer.evaluation.benchmarks.harness import Model
from trainer.evaluation.benchmarks.tasks import Loaded

VERSIONS = ("lm_eval", "transformers", "torch", "tokenizers", "datasets", "scipy")

_GREEDY = humaneval.Settings(samples=1, temperature=0.0, max_new_tokens=512, seed=0)


@dataclass(frozen=True)
class Job:
    """What is to be measured; `shots` has the number of examples of each task, None its own."""

    models: Sequence[str]
    tasks: Sequence[str]
    shots: Mapping[str, int | None]
    templates: Sequence[bool]
    data: Path | None = None
    limit: int | None = None
    system: str | None = None
    batch_size: int = 8
    drawing: humaneval.Settings = _GREEDY


@dataclass(frozen=True)
class Told:
    """What is called as a run goes on."""

    begins: Callable[[Cell], object] = lambda cell: None
    warns: Callable[[Cell, Warning], object] = lambda cell, warning: None
    ends: Callable[[Cell, dict[str, Any]], object] = lambda cell, run: None
    counts: humaneval.Progress = lambda done, of: None


def benchmark(job: Job, out: Path, told: Told) -> dict[str, Any]:
    """Runs what is not in the folder yet, and returns what is in `results.json` then.

    Raises ConfigError for tasks, data and models that cannot be had, and OutputError where the
    folder holds runs with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    with journal.alone(out):
        folder = Folder(out, _settings(job))
        loaded = _load(job, out)
        problems = _problems(job)
        for model in dict.fromkeys(job.models):
            _run_model(job, folder, model, loaded, problems, told)
        results = {
            "format": 1,
            "versions": _versions(),
            "settings": folder.settings,
            **report.results(folder, job.models, job.tasks),
        }
        if not results["runs"]:
            raise ConfigError(f"nothing was measured: {results['skipped'][0]['reason']}")
        report.write(folder, results)
    return results


def _settings(job: Job) -> dict[str, Any]:
    """What all runs in a folder have in common."""
    drawn = job.drawing._asdict() if humaneval.NAME in job.tasks else None
    versions = {"lm_eval": importlib.metadata.version("lm_eval")}
    shared = {"limit": job.limit, "system": job.system, "examples_seed": tasks.SEED, **versions}
    return shared | ({"humaneval": drawn} if drawn else {})


def _versions() -> dict[str, str]:
    listed = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {"chatdata": chatdata.__version__, **listed}


def _load(job: Job, out: Path) -> list[Loaded]:
    names = [name for name in dict.fromkeys(job.tasks) if name != humaneval.NAME]
    if not names:
        return []
    with harness.quiet():
        return tasks.load(names, job.shots, job.data, out)


def _problems(job: Job) -> list[humaneval.Problem]:
    if humaneval.NAME not in job.tasks:
        return []
    if job.data is None:
        raise ConfigError(
            "humaneval is read from a file; give a folder with HumanEval.jsonl.gz by --data DIR."
        )
    sandbox.Sandbox()  # raises at once where no program can be isolated
    return humaneval.read(humaneval.find(job.data), job.limit)


def _run_model(
    job: Job,
    folder: Folder,
    name: str,
    loaded: Sequence[Loaded],
    problems: Sequence[humaneval.Problem],
    told: Told,
) -> None:
    """Runs what is left of a model, which is loaded where anything is left."""
    made = harness.files_hash(name)
    left = []
    for cell, task in _cells(job, name, loaded):
        identity = {"model": made, **_identity(job, task, problems)}
        if not folder.finished(cell, identity):
            left.append((cell, task, identity))
    if not left:
        return
    model = harness.load(name, None, job.batch_size)
    about = {**harness.about(name, model), "hash": made}
    for cell, task, identity in left:
        told.begins(cell)
        if cell.is_templated and not model.tokenizer.chat_template:
            reason = f"'{name}' has no chat template: it is a base model"
            run: dict[str, Any] = {"skipped": reason}
            rows: list[dict[str, Any]] = []
        elif task is None:
            run, rows = _run_humaneval(job, folder, cell, model, problems, told)
        else:
            run, rows = _run_task(job, cell, task, model, told)
        run = {"model": about, "identity": identity, "batch_size": job.batch_size, **run}
        folder.add(cell, run, rows)
        told.ends(cell, run)
    harness.free(model)


def _cells(job: Job, model: str, loaded: Sequence[Loaded]) -> Iterator[tuple[Cell, Loaded | None]]:
    by_name = {task.name: task for task in loaded}
    for name in dict.fromkeys(job.tasks):
        for is_templated in job.templates:
            yield Cell(model, name, is_templated), by_name.get(name)


def _identity(
    job: Job, task: Loaded | None, problems: Sequence[humaneval.Problem]
) -> dict[str, Any]:
    if task is None:
        return {"data": humaneval.data_hash(problems), "shots": {}}
    return {"data": task.data, "shots": task.shots}


def _run_task(
    job: Job, cell: Cell, task: Loaded, model: Model, told: Told
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    ran = harness.run(
        model,
        task,
        is_templated=cell.is_templated,
        limit=job.limit,
        system=job.system,
        tell=lambda warning: told.warns(cell, warning),
    )
    return outcome.of_task(task, ran)


def _run_humaneval(
    job: Job,
    folder: Folder,
    cell: Cell,
    model: Model,
    problems: Sequence[humaneval.Problem],
    told: Told,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    made = harness.chat_model(model)
    if not cell.is_templated:
        made = ChatModel(model.model, model.tokenizer, humaneval.Completion(model.tokenizer))
    answers, judged = folder.file(cell, "answers.jsonl"), folder.file(cell, "judged.jsonl")
    answers.parent.mkdir(parents=True, exist_ok=True)
    texts = humaneval.answers(
        made,
        problems,
        job.drawing,
        is_templated=cell.is_templated,
        journal=answers,
        batch_size=job.batch_size,
        progress=told.counts,
    )
    rows = humaneval.judge(
        problems,
        texts,
        job.drawing,
        is_templated=cell.is_templated,
        journal=judged,
        progress=told.counts,
    )
    for path in (answers, judged):
        path.unlink()
    warnings = harness.ends_of_answers(model) if cell.is_templated else []
    for warning in warnings:
        told.warns(cell, warning)
    metrics = {
        name: outcome.metric([row["metrics"][name] for row in rows]) for name in rows[0]["metrics"]
    }
    run = {
        "version": "HumanEval",
        "n": len(rows),
        "metrics": metrics,
        "warnings": [warning._asdict() for warning in warnings],
        "remarks": [],
    }
    return run, rows
