"""The reports of a run, the checkpoints that it can go on from, and the plot of its losses.

run.json        what was started: the recipe, the data's hash, the number of ranks
metrics.jsonl   a line for each report, from the first step on, also after `--resume`
loss.png        the losses over the steps
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import click
from transformers import TrainerCallback

from chatdata.core.errors import ConfigError
from chatdata.core.mappings import flatten

STARTED = "run.json"
METRICS = "metrics.jsonl"
PLOT = "loss.png"

# Keys that may differ when a run goes on: they change nothing of what is trained.
_MAY_DIFFER = ("output", "license", "report_to")
_MAY_DIFFER_IN_TRAINING = (
    "per_device_eval_batch_size",
    "logging_steps",
    "eval_strategy",
    "eval_steps",
    "save_steps",
    "save_total_limit",
    "dataloader_num_workers",
)


# ------------------------------------------------------------------------------------- reporting


class Report(TrainerCallback):
    """Writes every report of Trainer to `metrics.jsonl`, and to stderr without a progress bar."""

    def __init__(self, output: Path) -> None:
        self.path = output / METRICS

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begins the file with the reports from before an interruption."""
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_metrics(self.path, state.log_history)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Adds a line to the file."""
        if not state.is_world_process_zero:
            return
        entry = state.log_history[-1]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if args.disable_tqdm:
            click.echo(_line(entry, state.max_steps), err=True)


def write_metrics(path: Path, entries: list[dict[str, Any]]) -> None:
    """Writes reports, a line each."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def _line(entry: dict[str, Any], steps: int) -> str:
    shown = {
        key.removeprefix("eval_"): f"{value:.4g}"
        for key, value in entry.items()
        if key.endswith(("loss", "learning_rate", "grad_norm", "bits_per_byte"))
    }
    words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
    kind = "test: " if "eval_loss" in entry else ""
    return f"step {entry['step']}/{steps}: {kind}{words}"


# ---------------------------------------------------------------------------------------- resume


def begin(output: Path, started: dict[str, Any]) -> None:
    """Writes what is started to `run.json`, for a later run with `--resume`."""
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(started, indent=2) + "\n"
    (output / STARTED).write_text(text, encoding="utf-8")


def check_output(output: Path, started: dict[str, Any], resume: bool) -> str:
    """Raises ConfigError for checkpoints of another run in the output folder, or of this run
    without `--resume`. Returns a line that says where the run begins."""
    folder = last_checkpoint(output, started["ranks"])
    if not resume and any(_checkpoints(output)):
        raise ConfigError(
            f"'{output}' holds checkpoints of an earlier run; continue from them with --resume, "
            "remove them, or choose another output."
        )
    if folder is None:
        return f"starts from the beginning, into '{output}'"
    key = _first_difference(_started(output), started)
    if key is not None:
        raise ConfigError(
            f"'{folder}' is a checkpoint of a run with another '{key}'; set '{key}' as it was, or "
            "choose another output."
        )
    return f"continues from '{folder}'"


def _started(output: Path) -> dict[str, Any]:
    try:
        started: dict[str, Any] = json.loads((output / STARTED).read_text(encoding="utf-8"))
        return started
    except (OSError, ValueError):
        raise ConfigError(
            f"'{output}' has checkpoints and no {STARTED} that names their run; choose another "
            "output."
        ) from None


def last_checkpoint(output: Path, ranks: int) -> Path | None:
    """The newest checkpoint that is whole; None for an output without such a checkpoint.

    A checkpoint that was being written when the run was killed lacks the state of the run, which is
    written last, or the random numbers of a rank.
    """
    whole = [path for path in _checkpoints(output) if _is_whole(path, ranks)]
    return max(whole, key=_step, default=None)


def _checkpoints(output: Path) -> list[Path]:
    return [path for path in output.glob("checkpoint-*") if re.fullmatch(r".*-\d+", path.name)]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_whole(checkpoint: Path, ranks: int) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    random = list(checkpoint.glob("rng_state*.pth"))
    return len(random) == ranks and all(zipfile.is_zipfile(path) for path in random)


def _first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key that matters and differs between two runs; None where all are the same."""
    before, after = _compared(old), _compared(new)
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return keys[0] if keys else None


def _compared(run: dict[str, Any]) -> dict[str, Any]:
    """The values that must not change when a run goes on, each under a key like `a.b`."""
    recipe = {key: value for key, value in run["recipe"].items() if key not in _MAY_DIFFER}
    training = {
        key: value
        for key, value in recipe["training"].items()
        if key not in _MAY_DIFFER_IN_TRAINING
    }
    rest = {key: value for key, value in run.items() if key != "recipe"}
    return flatten({**rest, **recipe, "training": training})


# ---------------------------------------------------------------------------------------- the plot


def plot(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws the losses of a run over its steps into a PNG file, in reproducible bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("step")
    axes.set_ylabel("nats for each trained token")
    axes.grid(alpha=0.3)
    for key, name, style in (("loss", "training", "-"), ("eval_loss", "test split", "o-")):
        points = [(entry["step"], entry[key]) for entry in entries if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, metadata={"Software": None})
