"""The results of a folder: as JSON, as tables, and as a section of a model card."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from chatdata.core import config
from chatdata.core.files import place_file
from trainer.evaluation.benchmarks import estimates
from trainer.evaluation.benchmarks.folder import Cell, Folder
from trainer.evaluation.card import words

Row = dict[str, Any]

# The metric of the Open LLM Leaderboard, which the tables show first, and the data set on the Hub.
SHOWN = {
    "arc_challenge": ("acc_norm", "allenai/ai2_arc"),
    "arc_easy": ("acc_norm", "allenai/ai2_arc"),
    "hellaswag": ("acc_norm", "Rowan/hellaswag"),
    "mmlu": ("acc", "cais/mmlu"),
    "truthfulqa_mc2": ("acc", "truthfulqa/truthful_qa"),
    "humaneval": ("pass@1", "openai/openai_humaneval"),
}


def results(folder: Folder, models: Sequence[str], tasks: Sequence[str]) -> Row:
    """The finished runs of a folder, the differences between them, and what was noticed.

    Models and tasks stand in the order of the command, and those of earlier runs behind them.
    """
    model_order, task_order = ({n: place for place, n in enumerate(x)} for x in (models, tasks))

    def place(run: Row) -> tuple[Any, ...]:
        model, task = run["model"]["name"], run["task"]
        places = (model_order.get(model, len(models)), model)
        return (*places, run["template"], task_order.get(task, len(tasks)), task)

    listed = sorted(folder.runs(), key=place)
    runs = [run for run in listed if "skipped" not in run]
    return {
        "runs": runs,
        "comparisons": list(_comparisons(folder, runs)),
        "skipped": [_named(run) | {"reason": run["skipped"]} for run in listed if "skipped" in run],
        "warnings": [_named(run) | warning for run in runs for warning in run["warnings"]],
    }


def _named(run: Row) -> Row:
    return {"model": run["model"]["name"], "task": run["task"], "template": run["template"]}


def _comparisons(folder: Folder, runs: Sequence[Row]) -> Iterator[Row]:
    """Yields the paired difference of every two runs of a task, by each metric that both have."""
    for task in dict.fromkeys(run["task"] for run in runs):
        sides = [(run, _values(folder, run)) for run in runs if run["task"] == task]
        for (first, a), (second, b) in itertools.combinations(sides, 2):
            for name in a:
                if b.get(name, {}).keys() == a[name].keys():
                    yield _comparison(first, second, name, (a[name], b[name]))


def _comparison(first: Row, second: Row, name: str, values: tuple[Any, Any]) -> Row:
    a, b = values
    compared = estimates.compare(list(a.values()), [b[key] for key in a])
    numbers = compared._asdict() | {"interval": list(compared.interval)}
    sides = [
        {"model": run["model"]["name"], "template": run["template"]} for run in (first, second)
    ]
    return {"task": first["task"], "metric": name, "first": sides[0], "second": sides[1], **numbers}


def _values(folder: Folder, run: Row) -> dict[str, dict[Any, float]]:
    """The values of a run's items, by metric and item."""
    cell = Cell(run["model"]["name"], run["task"], run["template"])
    listed: dict[str, dict[Any, float]] = {}
    for row in folder.items(cell):
        for name, value in row["metrics"].items():
            if run["metrics"].get(name, {}).get("mean_of_items", True):
                key = (row["task"], row["doc_id"], row["doc_hash"])
                listed.setdefault(name, {})[key] = value
    return listed


# --------------------------------------------------------------------------------------- for people


def write(folder: Folder, listed: Row) -> None:
    """Writes `results.json`, `results.md`, `card.md` and `model-index.yaml`."""
    last = [run for run in listed["runs"] if run["model"] == listed["runs"][-1]["model"]]
    texts = {
        "results.json": json.dumps(listed, indent=2) + "\n",
        "results.md": markdown(listed),
        "card.md": section(listed),
        "model-index.yaml": config.dump_yaml({"model-index": [_index(last)]}),
    }
    for name, text in texts.items():
        with place_file(folder.path / name) as new:
            new.write_text(text, encoding="utf-8")


def markdown(listed: Row) -> str:
    """All tables of a run."""
    parts = ["# Benchmarks", table(listed), _read_me(listed)]
    if listed["comparisons"]:
        parts += ["## Differences on the same items", differences(listed)]
    noticed = [f"- {line}" for line in _noticed(listed)]
    if noticed:
        parts += ["## Noticed", "\n".join(noticed)]
    parts += ["## How it was measured", _how(listed)]
    return "\n\n".join(parts) + "\n"


def section(listed: Row) -> str:
    """The section of a model card."""
    parts = ["## Benchmarks", table(listed), _read_me(listed)]
    shown = differences(listed)
    return "\n\n".join([*parts, *([shown] if shown else []), _how(listed)]) + "\n"


def table(listed: Row) -> str:
    """A line for each task and metric, and a column for each model and way of asking."""
    runs = {_key(run): run for run in listed["runs"]}
    columns = list(dict.fromkeys((model, how) for model, how, _ in runs))
    head = ["task", "metric", "shots", "n", "guess", *(_column(*column) for column in columns)]
    lines = [head, ["---", "---", *["--:"] * (len(head) - 2)]]
    for task in dict.fromkeys(run["task"] for run in listed["runs"]):
        of_task = [runs.get((*column, task)) for column in columns]
        some = next(run for run in of_task if run)
        for name in _ordered(task, some["metrics"]):
            cells = [_value(run["metrics"].get(name)) if run else "" for run in of_task]
            shots = _range(some["identity"]["shots"].values())
            facts = [words(name), shots, str(some["n"]), _guess(some, name)]
            lines.append([words(task), *facts, *cells])
    return _lines(lines)


def differences(listed: Row) -> str:
    """A line for each two runs, by the metric of the task that is shown first: of the first model
    and another, or of a model with and without its template. The others are in `results.json`."""
    head = ["task", "metric", "first", "second", "second less first", "p", "differ"]
    lines = [head, ["---", "---", "---", "---", "--:", "--:", "--:"]]
    shown = {run["task"]: _ordered(run["task"], run["metrics"])[0] for run in listed["runs"]}
    first = listed["runs"][0]["model"]["name"]
    for row in listed["comparisons"]:
        models = {row["first"]["model"], row["second"]["model"]}
        if row["metric"] != shown[row["task"]] or (len(models) > 1 and first not in models):
            continue
        sides = [_column(row[side]["model"], row[side]["template"]) for side in ("first", "second")]
        low, high = row["interval"]
        numbers = [
            f"{row['difference']:+.4f} ({low:+.4f} to {high:+.4f})",
            f"{row['p']:.3g}",
            str(row["first_better"] + row["second_better"]),
        ]
        lines.append([words(row["task"]), words(row["metric"]), *sides, *numbers])
    return _lines(lines) if len(lines) > 2 else ""


def _index(runs: Sequence[Row]) -> Row:
    """The results of a model as the Hub reads them in the head of a card."""
    listed = []
    for run in runs:
        title = f"{run['task']} ({'chat template' if run['template'] else 'plain'})"
        data = {"type": SHOWN.get(run["task"], ("", run["task"]))[1], "name": title}
        asked = {"n": run["n"], "num_few_shot": max(run["identity"]["shots"].values(), default=0)}
        metrics = [
            {"type": name, "value": round(value["value"], 6), "name": name}
            for name, value in run["metrics"].items()
        ]
        task = {"type": "text-generation"}
        listed.append({"task": task, "dataset": {**data, "args": asked}, "metrics": metrics})
    return {"name": runs[0]["model"]["name"].rstrip("/").rpartition("/")[2], "results": listed}


def _key(run: Row) -> tuple[str, bool, str]:
    return run["model"]["name"], run["template"], run["task"]


def _column(model: str, is_templated: bool) -> str:
    return words(model) + (", template" if is_templated else "")


def _ordered(task: str, metrics: Row) -> list[str]:
    """The names of metrics, that of the leaderboard first."""
    first = SHOWN.get(task, ("", ""))[0]
    return sorted(metrics, key=lambda name: (name != first, list(metrics).index(name)))


def _value(metric: Row | None) -> str:
    if metric is None:
        return ""
    error = metric["standard_error"]
    text = f"{metric['value']:.4f}" + ("" if error is None else f" ± {error:.4f}")
    low, high = metric["interval"] or (None, None)
    return text if low is None else f"{text} ({low:.3f} to {high:.3f})"


def _guess(run: Row, name: str) -> str:
    chance = run.get("chance")
    return f"{chance:.3f}" if chance is not None and name.startswith("acc") else ""


def _range(shots: Any) -> str:
    counts = sorted(set(shots))
    return "-" if not counts else "-".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))


def _read_me(listed: Row) -> str:
    return (
        "A value, ± its standard error, and its interval of 95 %; `guess`: what a guess has right. "
        "The first metric of a task is that of the Open LLM Leaderboard (first version)."
    )


def _noticed(listed: Row) -> Iterator[str]:
    for row in listed["warnings"]:
        where = f"{words(row['task'])}, {_column(row['model'], row['template'])}"
        counted = f"{row['requests']} of {row['of']} requests" if row["of"] else "all"
        yield f"`{row['check']}` ({where}; {counted}): {words(row['words'])}"
    for reason in dict.fromkeys(row["reason"] for row in listed["skipped"]):
        yield words(reason) + ", so it was not asked with a template."


def _how(listed: Row) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in listed["versions"].items())
    limit = listed["settings"]["limit"]
    of_all = f"The first {limit} items of each task (MMLU: of each subject). " if limit else ""
    tasks = {run["task"]: run for run in listed["runs"]}
    data = ", ".join(
        f"{words(name)} version {run['version']} with data `{run['identity']['data'][7:19]}`"
        for name, run in tasks.items()
    )
    return (
        f"{of_all}The differences are of the same items, one by one: McNemar's exact test where an "
        f"item is right or wrong, else a paired t-test. {data}. Made with {versions}."
    )


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
