"""The files that a run saves: a model that others can load, and a description of it.

the model and its tokenizer     with the chat template and the token that ends turns
README.md, loss.png             the model card
metrics.jsonl                   every loss
chatdata.json                   the template, the data's version and hash, the run; written last, so
                                that a folder with this file is whole
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from chatdata.core.files import place_file
from trainer.data import dataset
from trainer.model import generation_settings, portable, pretrained
from trainer.run import log, model_card, room
from trainer.run.run import Run

DESCRIPTION = "chatdata.json"
WEIGHTS = ("*.safetensors", "*.bin")  # names of files of weights
_LONGEST_REASON = 300  # characters
PACKAGES = ("accelerate", "deepspeed", "peft", "torch", "transformers")


def save(trainer: Any, run: Run) -> list[str]:
    """Saves the model of a finished run and its description. Must be called by all ranks.

    The weights come first, once the description of an earlier model is removed. What fails behind
    them stops nothing of the rest: returns a sentence for each thing that could not be saved.
    """
    model, remarks = trainer.model, _Remarks()
    if trainer.is_world_process_zero():
        (run.output / DESCRIPTION).unlink(missing_ok=True)
    model.config.use_cache = True
    with room.in_words("the model", run.output, run.here.ranks), _plain(model) as settings:
        _save_weights(trainer, run.output, remarks)
    if not trainer.is_world_process_zero():
        return []
    entries = trainer.state.log_history
    if settings is not None:
        with remarks.of("generation_config.json"):  # peft saves none for an adapter
            settings.save_pretrained(run.output)
    with remarks.of(log.METRICS):
        log.write_metrics(run.output / log.METRICS, entries)
    with remarks.of(log.PLOT):
        log.plot(entries, run.output / log.PLOT)
    with remarks.of("files for transformers 4"):
        portable.write(run.output)
    with remarks.of("the permissions of files"):
        as_umask_says(run.output)
    with remarks.of(f"{DESCRIPTION} and README.md"):
        write_description(_description(trainer, run), run.output, run.repo or "FOLDER")
    return remarks.sentences


@contextlib.contextmanager
def _plain(model: Any) -> Iterator[GenerationConfig | None]:
    """The generation settings of a model, which has none meanwhile; a reward model has none at
    all."""
    settings = getattr(model, "generation_config", None)
    if settings is None:
        yield None
        return
    model.generation_config = GenerationConfig()
    yield settings
    model.generation_config = settings


def _save_weights(trainer: Any, output: Path, remarks: _Remarks) -> None:
    """Saves model and tokenizer. Raises what a rank raises where no weights are on the disk."""
    before = _weights(output)
    try:
        trainer.save_model()
    except Exception as error:
        if not trainer.is_world_process_zero() or _weights(output) == before:
            raise
        remarks.add("a file beside the weights", error)
        with remarks.of("the tokenizer"):
            trainer.processing_class.save_pretrained(output)


def _weights(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the files of weights in a folder."""
    files = [path for pattern in WEIGHTS for path in folder.glob(pattern)]
    stats = ((path.name, path.stat()) for path in files)
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats}


class _Remarks:
    """A sentence for each thing that could not be saved."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, what: str, error: Exception) -> None:
        """Keeps what failed and why."""
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        self.sentences.append(f"{what} could not be saved: {reason}")

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Keeps an error of the block as a remark."""
        try:
            yield
        except Exception as error:
            self.add(what, error)


def settings(run: Run) -> tuple[GenerationConfig | None, list[str]]:
    """The generation settings that the run will save, and those of its base that it leaves out;
    None for a model that generates nothing."""
    if getattr(run.meta_model, "generation_config", None) is None:
        return None, []
    model = run.config.model
    base = model.path and pretrained.load_generation(str(model.path), revision=model.revision)
    return generation_settings.ended_by(base or run.meta_model.generation_config, run.tokenizer)


def as_umask_says(folder: Path) -> None:
    """Gives files of weights the permissions that new files have; safetensors writes files that
    nobody else may read. What else is in the folder stays as it is."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*.safetensors"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o666 & ~mask))


def _description(trainer: Any, run: Run) -> dict[str, Any]:
    return {
        "dataset": dataset.describe(run.source),
        "run": _run(trainer),
        "layout": run.layout.counts,
        "results": results(trainer.state.log_history),
        "train_recipe": run.config.model_dump(mode="json"),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def write_description(description: dict[str, Any], output: Path, name: str = "FOLDER") -> None:
    """Writes the description of a model for programs, and its card, which calls it `name`."""
    (output / "README.md").write_text(model_card.text(description, name), encoding="utf-8")
    with place_file(output / DESCRIPTION) as new:
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        new.write_text(text, encoding="utf-8")


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
    keys = ("loss", "bits_per_byte", "end_loss", "accuracy", "margin")
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
    if "accuracy" in before:
        return (
            f"test loss {before['loss']:.4f} before, {after['loss']:.4f} after; accuracy of "
            f"rewards {before['accuracy']:.3f}, {after['accuracy']:.3f}; margin "
            f"{before['margin']:.4f}, {after['margin']:.4f}"
        )
    return (
        f"test loss {before['loss']:.4f} before, {after['loss']:.4f} after; bits per byte "
        f"{before['bits_per_byte']:.4f}, {after['bits_per_byte']:.4f}"
    )
