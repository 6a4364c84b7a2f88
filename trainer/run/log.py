"""The reports of a run, and the plot of its losses.

metrics.jsonl   a line for each report, from the first step on, also after `--resume`
loss.png        the losses over the steps
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from transformers import TrainerCallback

METRICS = "metrics.jsonl"
PLOT = "loss.png"
_SHOWN = ("loss", "learning_rate", "grad_norm", "bits_per_byte", "accuracy", "margin")


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
        if args.disable_tqdm and not _is_of_no_step(entry):
            click.echo(_line(entry, state.max_steps), err=True)


def write_metrics(path: Path, entries: list[dict[str, Any]]) -> None:
    """Writes reports, a line each."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def _is_of_no_step(entry: dict[str, Any]) -> bool:
    """Whether a report is that of a run that was resumed behind its last step: its loss is 0."""
    return entry.get("train_loss") == 0


def _line(entry: dict[str, Any], steps: int) -> str:
    shown = {
        key.removeprefix("eval_"): f"{value:.4g}"
        for key, value in entry.items()
        if key.endswith(_SHOWN)
    }
    words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
    kind = "test: " if "eval_loss" in entry else ""
    return f"step {entry['step']}/{steps}: {kind}{words}"


# ---------------------------------------------------------------------------------------- the plot


def plot(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws the losses of a run over its steps into a PNG file, in reproducible bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("step")
    of_pairs = any("accuracy" in entry for entry in entries)
    axes.set_ylabel("loss of a pair" if of_pairs else "nats for each trained token")
    axes.grid(alpha=0.3)
    for key, name, style in (("loss", "training", "-"), ("eval_loss", "test split", "o-")):
        points = [(entry["step"], entry[key]) for entry in entries if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, metadata={"Software": None})
