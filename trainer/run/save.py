"""The files that a run saves: a model that others can load, and a description of it.

the model and its tokenizer     with the chat template and the token that ends turns
chatdata.json                   the template, the data's version and hash, the run
README.md, loss.png             the model card
metrics.jsonl                   every loss
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer.data import dataset
from trainer.run import log, model_card
from trainer.run.run import Run

DESCRIPTION = "chatdata.json"
PACKAGES = ("accelerate", "deepspeed", "peft", "torch", "transformers")


def save(trainer: Any, run: Run) -> None:
    """Saves the model of a finished run and its description. Must be called by all ranks."""
    trainer.model.config.use_cache = True
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return
    output = run.output
    trainer.model.generation_config.save_pretrained(output)  # peft saves none for an adapter
    entries = trainer.state.log_history
    log.write_metrics(output / log.METRICS, entries)
    log.plot(entries, output / log.PLOT)
    description = {
        "dataset": dataset.describe(run.source),
        "run": _run(trainer),
        "layout": run.layout.counts,
        "results": results(entries),
        "train_recipe": run.config.model_dump(mode="json"),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    write_description(description, output, run.repo or "FOLDER")


def write_description(description: dict[str, Any], output: Path, name: str = "FOLDER") -> None:
    """Writes the description of a model for programs, and its card, which calls it `name`."""
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    (output / DESCRIPTION).write_text(text, encoding="utf-8")
    (output / "README.md").write_text(model_card.text(description, name), encoding="utf-8")


def _run(trainer: Any) -> dict[str, int]:
    plugin = trainer.accelerator.state.deepspeed_plugin
    return {
        "steps": trainer.state.global_step,
        "ranks": trainer.accelerator.num_processes,
        "zero_stage": plugin.zero_stage if plugin is not None else 0,
    }


def results(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the test split before the first step and after the last."""
    tests = [entry for entry in entries if "eval_loss" in entry]
    keys = ("loss", "bits_per_byte", "end_loss")
    ends = {"before": tests[0], "after": tests[-1]} if tests else {}
    return {
        when: {key: entry[f"eval_{key}"] for key in keys if f"eval_{key}" in entry}
        for when, entry in ends.items()
    }


def summary(entries: list[dict[str, Any]]) -> str:
    """A line with the numbers of the test split before and after the run."""
    measured = results(entries)
    if not measured:
        return "no test split to measure on"
    before, after = measured["before"], measured["after"]
    return (
        f"test loss {before['loss']:.4f} before, {after['loss']:.4f} after; bits per byte "
        f"{before['bits_per_byte']:.4f}, {after['bits_per_byte']:.4f}"
    )
