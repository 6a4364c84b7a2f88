"""Runs the code in a file of answers, and says of each whether it works.

A folder holds `results.jsonl` (a line for each answer, in their order), `summary.json`,
`settings.json`, and, where programs draw, `figures/` and `gallery.html`.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chatdata.core.files import place_file
from chatdata.core.hashing import sha256_file, sha256_json, short_hash
from trainer.evaluation import answers, gallery, journal, png, programs, scored, statistics
from trainer.evaluation.answers import Answer
from trainer.evaluation.gallery import Column
from trainer.evaluation.programs import Program
from trainer.evaluation.sandbox import STATUSES, Limits, Ran, Sandbox
from trainer.evaluation.writing import write_json, write_lines, write_text

RESULTS, SUMMARY = "results.jsonl", "summary.json"
FIGURES, GALLERY = "figures", "gallery.html"
_JOURNAL = ".journal.jsonl"
_TAIL = 2000  # characters of an output that a line keeps

Progress = Callable[[int, int], object]  # results that are there, and all


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, where, and what stands beside it: verdicts of judges, and other runs."""

    answers: Path
    limits: Limits = field(default_factory=Limits)
    python: str | None = None
    is_isolated: bool = True
    workers: int = 1
    verdicts: Path | None = None
    side: str = "A"
    beside: tuple[Path, ...] = ()


def run(job: Job, out: Path, progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Runs what `out` does not hold yet, and writes results, summary and gallery.

    Returns the summary. Raises ConfigError for files that are no answers, and where nothing can be
    isolated, and OutputError where `out` holds another run.
    """
    listed = answers.read(job.answers)
    scores = scored.read(job.verdicts, job.side) if job.verdicts else None
    columns = [gallery.read(folder) for folder in job.beside]
    sandbox = Sandbox(job.python, is_isolated=job.is_isolated)
    settings = _settings(job, sandbox)
    out.mkdir(parents=True, exist_ok=True)
    with journal.alone(out):
        _settle(settings, out)
        results = _results(job, sandbox, listed, out, progress)
        if scores is not None:
            results = [line | {"judge_score": scores.get(line["id"])} for line in results]
        summary = _summary(results, settings, job.side if scores is not None else None)
        write_lines(out / RESULTS, results)
        write_json(out / SUMMARY, summary)
        (out / _JOURNAL).unlink(missing_ok=True)
        _draw(listed, [*columns, gallery.read(out)], out)
    return summary


def _settings(job: Job, sandbox: Sandbox) -> dict[str, Any]:
    """All that decides what becomes of a program."""
    return {
        "answers": f"sha256:{sha256_file(job.answers)}",
        "name": answers.model(job.answers),
        "limits": asdict(job.limits),
        "isolation": "bubblewrap" if job.is_isolated else "none",
        "python": sandbox.python.version,
        "packages": sha256_json(list(sandbox.python.packages)),
    }


def _settle(settings: Mapping[str, Any], out: Path) -> None:
    """Writes the settings of a run. Raises OutputError where the folder has others."""
    journal.check_same_run(settings, out)
    write_json(out / journal.SETTINGS, settings)


# --------------------------------------------------------------------------------------- running


def _results(
    job: Job, sandbox: Sandbox, listed: Sequence[Answer], out: Path, progress: Progress
) -> list[dict[str, Any]]:
    """The lines of all answers, in order; those that earlier runs have left are not run again."""
    before = [*journal.read(out / RESULTS), *journal.read(out / _JOURNAL)]
    known = {line["id"]: _plain(line) for line in before if line["status"] != "not_run"}
    left = [answer for answer in listed if answer.id not in known]
    progress(len(known), len(listed))
    lock = threading.Lock()
    with journal.Lines(out / _JOURNAL) as lines, ThreadPoolExecutor(job.workers) as pool:

        def work(answer: Answer) -> None:
            line = _result(job, sandbox, answer, out)
            with lock:
                lines.add(line)
                known[answer.id] = line
                progress(len(known), len(listed))

        tasks = [pool.submit(work, answer) for answer in left]
        try:
            for task in as_completed(tasks):
                task.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [known[answer.id] for answer in listed]


def _plain(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line as it was before a judge's score was put beside."""
    return {key: value for key, value in line.items() if key != "judge_score"}


def _result(job: Job, sandbox: Sandbox, answer: Answer, out: Path) -> dict[str, Any]:
    """The line of an answer, whose figures are written."""
    program = programs.find(answer.answer, answer.test)
    if program.text is None:
        ran = Ran("no_code" if program.language is None else "other_language")
    else:
        ran = sandbox.run(program.text, test=answer.test, limits=job.limits)
    figures = list(_figures(answer.id, ran.figures, out))
    return {
        "id": answer.id,
        "passed": ran.passed if answer.test else None,
        "status": ran.status,
        "seconds": ran.seconds,
        "error": ran.error,
        **_of_program(program),
        "stdout": _tail(ran.stdout, sandbox),
        "stderr": _tail(ran.stderr, sandbox),
        "figures": figures,
        "figures_refused": list(ran.refused),
    }


def _of_program(program: Program) -> dict[str, Any]:
    sha256 = None if program.text is None else sha256_json(program.text)
    return {
        "language": program.language,
        "blocks": program.blocks,
        "removed": list(program.removed),
        "program": sha256,
    }


def _tail(text: str, sandbox: Sandbox) -> str:
    """The end of an output, without what differs from machine to machine."""
    for folder in sorted(sandbox.python.folders, key=len, reverse=True):
        text = text.replace(folder, "<python>")
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x...", text)[-_TAIL:]


def _figures(id: str, figures: Sequence[bytes], out: Path) -> Iterator[str]:
    """Writes the figures of an answer, and yields their names in the folder."""
    for number, data in enumerate(figures, 1):
        name = f"{FIGURES}/{file_name(id)}-{number}.png"
        with place_file(out / name) as new:
            new.write_bytes(png.plain(data))
        yield name


def file_name(id: str) -> str:
    """An id as the name of a file: the id, where it is one, or else its like and a hash."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", id):
        return id
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', id)[:60]}-{short_hash(id)}"


# --------------------------------------------------------------------------------------- summary


def _summary(
    results: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], side: str | None
) -> dict[str, Any]:
    tested = [line["passed"] for line in results if line["passed"] is not None]
    statuses = Counter(line["status"] for line in results)
    rate = sum(tested) / len(tested) if tested else None
    interval = None if rate is None else list(statistics.wilson(rate, len(tested)))
    return {
        "n": len(results),
        "with_test": len(tested),
        "passed": sum(tested),
        "pass_rate": rate,
        "pass_rate_interval": interval,
        "statuses": {name: statuses[name] for name in STATUSES if statuses[name]},
        "languages": _counted(results, "other_language", "language"),
        "missing_packages": _counted(results, "missing_package", "error"),
        "with_removed_lines": sum(bool(line["removed"]) for line in results),
        "figures": sum(len(line["figures"]) for line in results),
        **({} if side is None else {"judge": scored.table(results, side)}),
        "settings": dict(settings),
    }


def _counted(results: Sequence[Mapping[str, Any]], status: str, key: str) -> dict[str, int]:
    """How often each value of a key comes with a status, the most frequent first."""
    counts = Counter(str(line[key]) for line in results if line["status"] == status)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _draw(listed: Sequence[Answer], columns: Sequence[Column], out: Path) -> None:
    prompts = {answer.id: answer.prompt for answer in listed}
    if any(line["figures"] for column in columns for line in column.results.values()):
        write_text(out / GALLERY, gallery.page(prompts, columns))
