"""What the page shows of benchmarks: values with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.evaluation.reporting import charts, folders, texts
from trainer.evaluation.reporting.folders import Run

Row = Mapping[str, Any]

_FIRST = "acc_norm"  # the metric that is shown where a task has it, as on the leaderboard


def values(run: Run) -> dict[str, Any]:
    """What the template shows of a folder of `benchmark`."""
    (file,) = folders.KINDS["benchmark"]
    results = folders.read(run.path / file)
    by_task: dict[str, list[Row]] = {}
    for measured in results["runs"]:
        by_task.setdefault(measured["task"], []).append(measured)
    shown = {task: _shown(runs[0]) for task, runs in by_task.items()}
    return {
        "name": run.name,
        "limit": results["settings"]["limit"],
        "tasks": [_task(task, runs, shown[task]) for task, runs in by_task.items()],
        "metrics": [row for runs in by_task.values() for row in _metrics(runs)],
        "differences": [
            _difference(row)
            for row in results["comparisons"]
            if row["metric"] == shown[row["task"]]
        ],
        "noticed": list(_noticed(results)),
    }


def _shown(run: Row) -> str:
    """The metric of a task that is shown first."""
    names = list(run["metrics"])
    return _FIRST if _FIRST in names else str(names[0])


def _asked(row: Row) -> str:
    """A model, and how it was asked."""
    how = "with its template" if row["template"] else "without template"
    return f"{texts.label(row['model'])}, {how}"


def _of_run(run: Row) -> str:
    return _asked({"model": run["model"]["name"], "template": run["template"]})


def _shots(run: Row) -> str:
    counts = sorted(set(run["identity"]["shots"].values()))
    return "–" if not counts else "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))


def _task(task: str, runs: Sequence[Row], metric: str) -> dict[str, Any]:
    some = runs[0]
    return {
        "name": task,
        "metric": metric,
        "shots": _shots(some),
        "n": some["n"],
        "chance": some.get("chance") if metric.startswith("acc") else None,
        "version": some["version"],
        "strips": [
            charts.strip(
                _of_run(run),
                run["metrics"][metric]["value"],
                run["metrics"][metric]["interval"],
                f"± {texts.share(run['metrics'][metric]['standard_error'])}",
                some.get("chance") if metric.startswith("acc") else None,
            )
            for run in runs
            if metric in run["metrics"]
        ],
    }


def _metrics(runs: Sequence[Row]) -> Iterator[list[str]]:
    """Yields a row for each metric of a task and each model."""
    for run in runs:
        for name, value in run["metrics"].items():
            yield [
                run["task"],
                name,
                _of_run(run),
                texts.share(value["value"]),
                texts.share(value["standard_error"]),
                texts.between(value["interval"]),
                texts.number(run["n"]),
            ]


def _difference(row: Row) -> dict[str, Any]:
    """The second of two models less the first, on the same items."""
    first, second = (_asked(row[side]) for side in ("first", "second"))
    return {
        "task": row["task"],
        "metric": row["metric"],
        "first": first,
        "second": second,
        "is_clear": not row["interval"][0] <= 0 <= row["interval"][1],
        "difference": texts.points(row["difference"]),
        "ends": " to ".join(texts.points(end) for end in row["interval"]),
        "p": texts.p_value(row["p"]),
        "test": row["test"],
        "better": f"{row['second_better']} : {row['first_better']}",
    }


def _noticed(results: Row) -> Iterator[str]:
    """Yields what was seen of the requests, and why a model was not asked."""
    for row in results["warnings"]:
        counted = f"; {row['requests']} of {row['of']} requests" if row["of"] else ""
        yield f"{row['check']} ({row['task']}, {_asked(row)}{counted}): {row['words']}"
    for model in dict.fromkeys(row["model"] for row in results["skipped"]):
        reasons = {r["reason"] for r in results["skipped"] if r["model"] == model}
        yield from sorted(reason.replace(model, texts.label(model)) for reason in reasons)
