"""Proof, on the model at hand, that a token sees its own conversation and no other.

Nothing warns where a model ignores where conversations begin: with a cache, the position ids of a
packed batch are looked at by no one, and the losses still look like losses. So before the first
step two conversations are packed as the training will pack them. When the first changes, what the
model says in the second must stay as it is; when their beginning changes, it must not.
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

# Two rows begin alike and go on differently, the second with the larger tokens: it stands last.
STEM, OTHER_STEM = [1, 2, 3], [3, 1, 2]
FIRST, OTHER_FIRST, LAST = [4, 5, 6], [6, 4, 5], [9, 8, 7]

# What the beginning of a conversation changes in it is the measure; rounding stays far below.
ALLOWED = 1e-3
_OF_THE_LOSS = {"labels", "shift_labels", "logits_to_keep"}


def leak(model: PreTrainedModel, pack: Callable[[Rows], Batch]) -> float:
    """How much of what a model says in a conversation comes from another one in its batch.

    0 is none of it; 1 is as much as comes from the conversation's own beginning; infinite where
    that is not seen. `pack` makes a batch of two rows that begin alike, with the tokens that only
    the second has at the end.
    """

    def said(stem: list[int], first: list[int]) -> Tensor:
        rows = [{"input_ids": ids, "labels": ids} for ids in (stem + first, stem + LAST)]
        return _logits(model, pack(rows))[0, -len(LAST) :].float()

    was_training = model.training
    model.eval()
    try:
        before, other, own = said(STEM, FIRST), said(STEM, OTHER_FIRST), said(OTHER_STEM, FIRST)
    finally:
        model.train(was_training)
    from_other, from_own = (other - before).abs().max(), (own - before).abs().max()
    return float(from_other / from_own) if from_own else math.inf


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

    A callback, since only now are the weights where DeepSpeed wants them.
    """

    def __init__(self, key: str, pack: Callable[[Rows], Batch]) -> None:
        self.key, self.pack = key, pack

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Raises ConfigError where one does."""
        found = leak(model, self.pack)
        if not found < ALLOWED:  # also where it is not a number
            raise ConfigError(
                f"{self.key}: in this model a token sees other conversations of its batch "
                f"({found:.3g} times as much as its own); train with --set {self.key}=false."
            )
