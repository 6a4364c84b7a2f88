"""Proof, on the model that is trained, that a token sees its own conversation alone.

Nothing warns of a model that ignores where conversations begin: with a cache, a model does not look
at the position ids of a packed batch, and the losses still look like losses. So before the first
step two conversations are packed as the training will pack them. When the first conversation
changes, the logits of the second must stay; when the beginning of both changes, the logits must
change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from chatdata.core.errors import ConfigError

Batch = Mapping[str, Any]
Rows = Sequence[Mapping[str, list[int]]]

# Two rows begin alike and go on differently. The row with the larger tokens is packed last.
STEM, CHANGED_STEM = [1, 2, 3], [3, 1, 2]
FIRST, CHANGED_FIRST, LAST = [4, 5, 6], [6, 4, 5], [9, 8, 7]

# The measure is how much a changed beginning changes the logits; rounding stays far below.
ALLOWED = 1e-3
_OF_THE_LOSS = {"labels", "shift_labels", "logits_to_keep"}


def leak(model: PreTrainedModel, pack: Callable[[Rows], Batch]) -> float:
    """How much the logits of a conversation depend on another conversation of the batch.

    0 is not at all; 1 is as much as on the conversation's own beginning; infinite where the logits
    do not depend on that. `pack` makes a batch of two rows that begin alike, and puts the tokens
    of the second row alone at the end.
    """

    def last_logits(stem: list[int], first: list[int]) -> Tensor:
        rows = [{"input_ids": ids, "labels": ids} for ids in (stem + first, stem + LAST)]
        return _logits(model, pack(rows))[0, -len(LAST) :].float()

    was_training = model.training
    model.eval()
    try:
        before = last_logits(STEM, FIRST)
        by_first = (last_logits(STEM, CHANGED_FIRST) - before).abs().max()
        by_stem = (last_logits(CHANGED_STEM, FIRST) - before).abs().max()
    finally:
        model.train(was_training)
    return float(by_first / by_stem) if by_stem else math.inf


@torch.no_grad()
def _logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    inputs = {
        key: value.to(model.device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
        if key not in _OF_THE_LOSS
    }
    return model(**inputs).logits


class CheckIsolation(TrainerCallback):
    """Stops a training before its first step where a token sees another conversation.

    A callback, because DeepSpeed has not placed the weights any earlier.
    """

    def __init__(self, key: str, pack: Callable[[Rows], Batch]) -> None:
        self.key, self.pack = key, pack

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Raises ConfigError where a token sees another conversation."""
        leaked = _measured(self.key, lambda: leak(model, self.pack))
        if not leaked < ALLOWED:  # also for NaN
            raise ConfigError(
                f"{self.key}: in this model a token sees other conversations of its batch "
                f"({leaked:.3g} times as much as its own); train with --set {self.key}=false."
            )


def _measured(key: str, measure: Callable[[], float]) -> float:
    """A measure of a model; ConfigError where the model does not take such batches at all."""
    try:
        return measure()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"{key}: this model does not take such batches ({_first_line(error)}); train with "
            f"--set {key}=false."
        ) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def foresight(model: PreTrainedModel) -> float:
    """How much the logits of a token depend on the token behind it, of how much that token's own
    logits do. 0 is not at all."""
    was_training = model.training
    model.eval()
    try:
        first, second = (
            _logits(model, {"input_ids": torch.tensor([STEM + end])})[0].float()
            for end in (FIRST, FIRST[:-1] + LAST[:1])
        )
    finally:
        model.train(was_training)
    changes = (first - second).abs().amax(-1)
    return float(changes[:-1].max() / changes[-1]) if changes[-1] else 0.0


class CheckOrder(TrainerCallback):
    """Stops a training before its first step where a token sees the tokens behind it."""

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Raises ConfigError where a token sees a later one."""
        seen = foresight(model)
        if not seen < ALLOWED:
            raise ConfigError(
                f"in this model a token sees the tokens behind it ({seen:.3g} times as much as "
                "itself), so that none can be learnt from those before it; choose a decoder."
            )
