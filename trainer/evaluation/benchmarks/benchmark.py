"""Models beside each other on benchmarks: what is left of a run is run, and all is summed up."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chatdata
from chatdata.core.errors import ChatdataError, ConfigError
from chatdata.core.hashing import sha256_json
from trainer.chat.generation import ChatModel
from trainer.chat.prompt_window import TemplateWriter, Writer
from trainer.evaluation import journal, sandbox
from trainer.evaluation.benchmarks import harness, humaneval, outcome, report, tasks
from trainer.evaluation.benchmarks.checks import Warning
from trainer.evaluation.benchmarks.folder import Cell, Folder
from trainer.evaluation.benchmarks.harness import Model
from trainer.evaluation.benchmarks.humaneval import Completion, Problem
from trainer.evaluation.benchmarks.tasks import Loaded

VERSIONS = ("lm_eval", "transformers", "torch", "tokenizers", "datasets", "scipy")
_GREEDY = humaneval.Settings(samples=1, temperature=0.0, max_new_tokens=512, seed=0)

Row = dict[str, Any]
Left = tuple[Cell, Row]  # a run that is left, and what tells it from others


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
    fails: Callable[[Cell, str], object] = lambda cell, reason: None
    ends: Callable[[Cell, Row], object] = lambda cell, run: None
    written: humaneval.Progress = lambda done, of: None
    tried: humaneval.Progress = lambda done, of: None


def benchmark(job: Job, out: Path, told: Told) -> Row:
    """Runs what is not in the folder yet, and returns what is in `results.json` then.

    What a model cannot do is in `failed`, and does not keep the rest from being measured. Raises
    ConfigError for tasks, data and models that cannot be had, and OutputError where the folder
    holds runs with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    with journal.alone(out):
        folder = Folder(out, _settings(job))
        session = _Session(job, folder, told, _load(job, out), _problems(job))
        models = dict.fromkeys(job.models)
        failed = [failure for model in models for failure in session.run_model(model)]
        results = {
            "format": 1,
            "versions": _versions(),
            "settings": folder.settings,
            **report.results(folder, job.models, job.tasks),
            "failed": failed,
        }
        if not results["runs"]:
            reasons = [*failed, *results["skipped"]]
            raise ConfigError(f"nothing was measured: {reasons[0]['reason']}")
        report.write(folder, results)
    return results


def _settings(job: Job) -> Row:
    """What all runs in a folder have in common."""
    versions = {"lm_eval": importlib.metadata.version("lm_eval")}
    return {"limit": job.limit, "system": job.system, "examples_seed": tasks.SEED, **versions}


def _versions() -> dict[str, str]:
    listed = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {"chatdata": chatdata.__version__, **listed}


def _load(job: Job, out: Path) -> dict[str, Loaded]:
    names = [name for name in dict.fromkeys(job.tasks) if name != humaneval.NAME]
    if not names:
        return {}
    with harness.quiet():
        return {task.name: task for task in tasks.load(names, job.shots, job.data, out)}


def _problems(job: Job) -> list[Problem]:
    if humaneval.NAME not in job.tasks:
        return []
    if job.data is None:
        raise ConfigError(
            "humaneval is read from a file; give a folder with HumanEval.jsonl.gz by --data DIR."
        )
    sandbox.Sandbox()  # raises at once where no program can be isolated
    return humaneval.read(humaneval.find(job.data), job.limit)


@dataclass(frozen=True)
class _Session:
    """A command: what it is to measure, with the data of that."""

    job: Job
    folder: Folder
    told: Told
    loaded: Mapping[str, Loaded]
    problems: Sequence[Problem]

    def run_model(self, name: str) -> list[Row]:
        """Runs what is left of a model, which is loaded where anything is. Returns failures."""
        left = list(self._left(name))
        if not left:
            return []
        model = harness.load(name, None, self.job.batch_size)
        about = harness.about(name, model)
        failed = []
        for cell, identity in left:
            self.told.begins(cell)
            try:
                run, rows = self._run(cell, identity, model)
            except ChatdataError as error:
                failed.append({**cell._asdict(), "reason": str(error)})
                self.told.fails(cell, str(error))
                continue
            run = {"model": about, "identity": identity, "batch_size": self.job.batch_size, **run}
            self.folder.add(cell, run, rows)
            self.told.ends(cell, run)
        harness.free(model)
        return failed

    def _left(self, model: str) -> Iterator[Left]:
        made = harness.files_hash(model)
        for task in dict.fromkeys(self.job.tasks):
            for is_templated in self.job.templates:
                cell, identity = Cell(model, task, is_templated), {"model": made, **self._of(task)}
                if not self.folder.finished(cell, identity):
                    yield cell, identity

    def _of(self, task: str) -> Row:
        """What tells a task from others."""
        if task in self.loaded:
            return {"data": self.loaded[task].data, "shots": self.loaded[task].shots}
        drawing = self.job.drawing._asdict()
        return {"data": humaneval.data_hash(self.problems), "shots": {}, "drawing": drawing}

    def _run(self, cell: Cell, identity: Row, model: Model) -> tuple[Row, list[Row]]:
        """The run, and its items."""
        if cell.is_templated and not model.tokenizer.chat_template:
            return {"skipped": f"'{cell.model}' has no chat template: it is a base model"}, []
        if cell.task not in self.loaded:
            key = sha256_json([identity, self.job.batch_size])[-16:]
            return self._run_humaneval(cell, model, self.folder.file(cell, f"{key}.journal"))
        task = self.loaded[cell.task]
        ran = harness.run(
            model,
            task,
            is_templated=cell.is_templated,
            limit=self.job.limit,
            system=self.job.system,
            tell=lambda warning: self.told.warns(cell, warning),
        )
        return outcome.of_task(task, ran)

    def _run_humaneval(self, cell: Cell, model: Model, kept: Path) -> tuple[Row, list[Row]]:
        tokenizer = model.tokenizer
        writer: Writer = TemplateWriter(tokenizer) if cell.is_templated else Completion(tokenizer)
        rows = humaneval.Run(
            ChatModel(model.model, tokenizer, writer),
            self.problems,
            self.job.drawing,
            cell.is_templated,
            self.job.batch_size,
            self.told.written,
            self.told.tried,
        ).measure(kept)
        texts = [text for row in rows for text in row["responses"]]
        warnings = harness.of_answers(model, texts, cell.is_templated)
        for warning in warnings:
            self.told.warns(cell, warning)
        return outcome.of_humaneval(rows, warnings), rows
