"""What lm-eval returns for a task, as a run of the folder and the items of the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeGuard

from trainer.evaluation.benchmarks import estimates
from trainer.evaluation.benchmarks.checks import Warning
from trainer.evaluation.benchmarks.harness import Ran
from trainer.evaluation.benchmarks.tasks import Loaded

Row = dict[str, Any]


def metric(values: Sequence[float]) -> Row:
    """The mean of values, an item each, its standard error and interval."""
    return {
        "value": math.fsum(values) / len(values),
        "standard_error": estimates.standard_error(values),
        "interval": list(estimates.interval(values)),
    }


def of_humaneval(rows: Sequence[Row], warnings: Sequence[Warning]) -> Row:
    """The run of HumanEval; its items are the problems, however many answers each has."""
    names = rows[0]["metrics"]
    return {
        "version": "HumanEval",
        "n": len(rows),
        "metrics": {name: metric([row["metrics"][name] for row in rows]) for name in names},
        "warnings": [warning._asdict() for warning in warnings],
        "remarks": [],
    }


def of_task(task: Loaded, ran: Ran) -> tuple[Row, list[Row]]:
    """The run, and a row for each item."""
    results = ran.results
    rows = [row for name in task.shots for row in _rows(name, results["samples"][name])]
    run = {
        "version": results["versions"].get(task.name),
        "n": len({(row["task"], row["doc_id"]) for row in rows}),
        "metrics": _metrics(results, task.name, rows),
        "chance": _chance(task, rows),
        "warnings": [warning._asdict() for warning in ran.warnings],
        "remarks": [*task.notes, *ran.remarks],
    }
    if len(task.shots) > 1:
        run["parts"] = {name: _part(results, name, rows) for name in task.shots}
    return run, rows


def _part(results: Row, name: str, rows: Sequence[Row]) -> Row:
    listed = [row for row in rows if row["task"] == name]
    known = {"version": results["versions"].get(name), "n": len(listed)}
    return known | {"metrics": _metrics(results, name, listed)}


def _metrics(results: Row, name: str, rows: Sequence[Row]) -> Row:
    """lm-eval's values and standard errors, and the interval of the items behind each.

    A value that is no mean of items has lm-eval's standard error alone.
    """
    listed: Row = {}
    of_task = results["results"][name]
    better = results["higher_is_better"].get(name) or {}
    for key, value in of_task.items():
        label, _, chosen = key.partition(",")
        if not chosen or label.endswith("_stderr") or not _is_number(value):
            continue
        error = of_task.get(f"{label}_stderr,{chosen}")
        named = _named(label, chosen)
        values = [row["metrics"][named] for row in rows if named in row["metrics"]]
        measured = _measured(float(value), float(error) if _is_number(error) else None, values)
        listed[named] = {**measured, "higher_is_better": better.get(label, True)}
    return listed


def _measured(value: float, error: float | None, of_items: Sequence[float]) -> Row:
    """A value with its standard error, and an interval: of the items, where it is a share."""
    is_mean = bool(of_items) and math.isclose(
        math.fsum(of_items) / len(of_items), value, abs_tol=1e-9
    )
    is_share = is_mean and all(0 <= item <= 1 for item in of_items)
    return {
        "value": value,
        "standard_error": error,
        "interval": list(estimates.interval(of_items)) if is_share else _normal(value, error),
        "mean_of_items": is_mean,
    }


def _named(label: str, chosen: str) -> str:
    """The name of a metric of a filter of lm-eval; without the filter where it is `none`."""
    return label if chosen == "none" else f"{label},{chosen}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float))


def _normal(value: float, error: float | None) -> list[float] | None:
    return None if error is None else [value - 1.96 * error, value + 1.96 * error]


def _rows(name: str, samples: Sequence[Row]) -> list[Row]:
    """A row for each item, whose metrics of several filters come together."""
    rows: dict[Any, Row] = {}
    for sample in samples:
        key = sample["doc_id"]
        if key not in rows:
            rows[key] = {
                "task": name,
                "doc_id": key,
                "doc_hash": sample["doc_hash"],
                "prompt_hash": sample["prompt_hash"],
                "doc": sample["doc"],
                "target": sample["target"],
                "asked": [_continuation(arguments) for arguments in sample["arguments"]],
                "answers": sample["resps"],
                "metrics": {},
                # Prompts with many examples are long: the first shows what all are like.
                **({} if rows else {"prompt": sample["arguments"][0][0]}),
            }
        for label in sample["metrics"]:
            if _is_number(sample[label]):
                rows[key]["metrics"][_named(label, sample["filter"])] = float(sample[label])
    return [rows[key] for key in sorted(rows)]


def _continuation(arguments: Sequence[Any]) -> Any:
    return arguments[1] if len(arguments) > 1 else None


def _chance(task: Loaded, rows: Sequence[Row]) -> float | None:
    """The share that a guess has right; None for tasks without choices of which one is right."""
    single = list(task.tasks["tasks"].values())
    if any(t.OUTPUT_TYPE != "multiple_choice" or t.config.process_results for t in single):
        return None
    sizes = Counter(len(row["asked"]) for row in rows)
    return sum(number / size for size, number in sizes.items()) / sizes.total()
