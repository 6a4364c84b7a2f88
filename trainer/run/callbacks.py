"""What a recipe asks for that happens between the steps of a run: samples, averages, early ends."""

from __future__ import annotations

from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback

from trainer.run import averaging, samples
from trainer.run.run import Run


def asked_for(run: Run) -> list[TrainerCallback]:
    """The callbacks that a recipe asks for. They come before the list of a checkpoint's files, to
    which they add."""
    training = run.config.training
    made: list[TrainerCallback] = []
    if sampling := samples.of_run(run):
        made.append(sampling)
    if training.ema_decay is not None:
        made.append(averaging.Average(training.ema_decay))
    if training.early_stopping_patience is not None:
        made.append(
            EarlyStoppingCallback(
                training.early_stopping_patience, training.early_stopping_threshold
            )
        )
    return made


def introduce(trainer: Any) -> None:
    """Shows those that report to the callbacks that have samples."""
    callbacks = trainer.callback_handler.callbacks
    for callback in callbacks:
        if isinstance(callback, samples.Sampling):
            callback.callbacks = callbacks
