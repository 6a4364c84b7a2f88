"""The steps of a run, counted before it begins as Trainer will count them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chatdata.core.errors import ConfigError
from trainer.training import Training


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a run. A step is one update of the weights, on all ranks."""

    rows: int  # to train on, of one epoch
    rows_per_step: int
    steps_per_epoch: int
    steps: int
    warmup: int
    filled: int  # rows that every epoch trains twice, so that all ranks have as many batches
    left_out: int  # rows that an epoch does not reach, because batches are whole
    checkpoints: int

    @property
    def epochs(self) -> float:
        """How often the rows are trained on."""
        return self.steps / self.steps_per_epoch


def schedule(rows: int, training: Training, ranks: int) -> Schedule:
    """The steps of a run on `rows` rows by `ranks` processes.

    Rows go to the ranks batch by batch. The last batches of an epoch are filled with rows from its
    beginning, or left out with `dataloader_drop_last`, so every rank has as many steps. Raises
    ConfigError for an epoch without a full batch.
    """
    batches = _batches(rows, training, ranks)
    per_epoch = math.ceil(batches / training.gradient_accumulation_steps)
    if not per_epoch:
        raise ConfigError(
            f"{rows} rows do not fill a batch; lower per_device_train_batch_size, or set "
            "dataloader_drop_last to false."
        )
    steps = _steps(per_epoch, training)
    in_batches = batches * ranks * training.per_device_train_batch_size
    return Schedule(
        rows,
        training.per_device_train_batch_size * training.gradient_accumulation_steps * ranks,
        per_epoch,
        steps,
        _warmup(steps, training),
        max(in_batches - rows, 0) if ranks > 1 else 0,
        max(rows - in_batches, 0),
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
    warmup = training.warmup_steps
    return int(warmup) if warmup >= 1 else math.ceil(steps * warmup)


def check(
    schedule: Schedule, training: Training, unit: str = "rows", tokens: int | None = None
) -> str:
    """Raises ConfigError for a checkpoint or an evaluation that no step will reach.

    Returns a line with the schedule; `unit` is the name of the items in a batch, and `tokens` how
    many all of them have.
    """
    for key, step in (("save_steps", training.save_steps), ("eval_steps", training.eval_steps)):
        if step is not None and step > schedule.steps:
            raise ConfigError(
                f"training.{key} is {step} and the run has {schedule.steps} steps; set "
                f"training.{key} to {schedule.steps} or less."
            )
    of_tokens = ""
    if tokens is not None:
        of_tokens = f" (about {tokens * schedule.rows_per_step // schedule.rows:,} tokens)"
    return _summary(schedule, training, unit + of_tokens)


def _summary(schedule: Schedule, training: Training, unit: str) -> str:
    text = (
        f"{schedule.steps} steps of {schedule.rows_per_step} {unit}, "
        f"{schedule.steps_per_epoch} an epoch, {schedule.epochs:.3g} epochs; learning rate "
        f"{training.learning_rate:g}, {training.lr_scheduler_type} after {schedule.warmup} steps "
        "of warm-up; "
        f"{schedule.checkpoints or 'no'} checkpoints"
    )
    if schedule.warmup >= schedule.steps:
        text += "; the run ends within its warm-up"
    if schedule.filled:
        text += f"; {schedule.filled} of them an epoch are trained twice, to fill its last batches"
    if schedule.left_out:
        text += f"; {schedule.left_out} of them an epoch are left out"
    return text
