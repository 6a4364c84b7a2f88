"""How many steps a run has, counted before it begins as Trainer will count them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chatdata.core.errors import ConfigError
from trainer.config import Training


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a run. A step is one update of the weights, on all ranks."""

    rows: int  # to train on, of one epoch
    rows_per_step: int
    steps_per_epoch: int
    steps: int
    warmup: int
    filled: int  # rows that every epoch trains twice, so that all ranks have equally many batches
    left_out: int  # rows that an epoch does not reach, because batches are whole
    checkpoints: int

    @property
    def epochs(self) -> float:
        """How often the rows are trained on."""
        return self.steps / self.steps_per_epoch


def schedule(rows: int, training: Training, ranks: int) -> Schedule:
    """The steps of a run on `rows` rows by `ranks` processes.

    Rows go to the ranks batch by batch. What is left over at the end of an epoch is filled from
    its beginning, or left out with `dataloader_drop_last`, so every rank has as many steps.
    """
    batches = _batches(rows, training, ranks)
    per_epoch = math.ceil(batches / training.gradient_accumulation_steps)
    if not per_epoch:
        raise ConfigError(f"{rows} rows do not fill one batch; make it smaller, or keep the rest.")
    steps = _steps(per_epoch, training)
    seen = batches * ranks * training.per_device_train_batch_size
    return Schedule(
        rows,
        training.per_device_train_batch_size * training.gradient_accumulation_steps * ranks,
        per_epoch,
        steps,
        _warmup(steps, training),
        max(seen - rows, 0) if ranks > 1 else 0,
        max(rows - seen, 0),
        steps // training.save_steps if training.save_steps else 0,
    )


def _batches(rows: int, training: Training, ranks: int) -> int:
    """The batches of an epoch on each rank."""
    size = training.per_device_train_batch_size
    if training.dataloader_drop_last:
        return rows // size // ranks
    return math.ceil(math.ceil(rows / size) / ranks)


def _steps(per_epoch: int, training: Training) -> int:
    if training.max_steps > 0:
        return training.max_steps
    return math.ceil(training.num_train_epochs * per_epoch)


def _warmup(steps: int, training: Training) -> int:
    own = training.warmup_steps
    return int(own) if own >= 1 else math.ceil(steps * own)


def check(own: Schedule, training: Training, unit: str = "rows") -> str:
    """Raises ConfigError for a checkpoint or an evaluation that no step will reach.

    Returns the schedule in words, of which `unit` is what a batch has so many of.
    """
    for key, step in (("save_steps", training.save_steps), ("eval_steps", training.eval_steps)):
        if step is not None and step > own.steps:
            raise ConfigError(
                f"training.{key} is {step} and the run has {own.steps} steps; "
                "it would not be reached."
            )
    return _words(own, training, unit)


def _words(own: Schedule, training: Training, unit: str) -> str:
    words = (
        f"{own.steps} steps of {own.rows_per_step} {unit}, {own.steps_per_epoch} an epoch, "
        f"{own.epochs:.3g} epochs; {training.lr_scheduler_type} after {own.warmup} steps of "
        f"warm-up; {own.checkpoints or 'no'} checkpoints"
    )
    if own.warmup >= own.steps:
        words += "; it ends within its warm-up"
    if own.filled:
        words += f"; {own.filled} {unit} an epoch stand twice, to fill its last batches"
    return words + (f"; {own.left_out} {unit} an epoch are left out" if own.left_out else "")
