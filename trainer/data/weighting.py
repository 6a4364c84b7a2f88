"""Weights of labels: padded with their rows, and the loss that they make.

The loss of a step is `sum(weights * losses) / sum(weights)` over all its labels, on all ranks and
in all accumulated batches. Where all labels weigh 1, that is the mean of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from chatdata.core.constants import IGNORE_INDEX
from chatdata.dataset.schemas import WEIGHTS

Row = Mapping[str, Any]  # `input_ids`, `labels`, and in a dataset with weights `weights`
Batch = dict[str, Any]


def padded(pad: Callable[[list[dict[str, Any]]], Any], rows: Sequence[Row], side: str) -> Batch:
    """The batch that `pad` makes of rows without their weights, and the weights padded likewise.

    `side` is where rows are padded: `left` or `right`.
    """
    batch = dict(pad([{key: row[key] for key in row if key != WEIGHTS} for row in rows]))
    if WEIGHTS not in rows[0]:
        return batch
    weights = torch.zeros(batch["labels"].shape, dtype=torch.float32)
    for line, row in zip(weights, rows, strict=True):
        given = torch.tensor(row[WEIGHTS], dtype=torch.float32)
        place = slice(0, len(given)) if side == "right" else slice(len(line) - len(given), None)
        line[place] = given
    return {**batch, WEIGHTS: weights}


def end_to_end(rows: Sequence[Row]) -> Batch:
    """The weights of rows that stand end to end; none for rows without weights.

    The first token of a row weighs nothing: nothing before the row may predict it.
    """
    if WEIGHTS not in rows[0]:
        return {}
    weights = [weight for row in rows for weight in (0.0, *row[WEIGHTS][1:])]
    return {WEIGHTS: torch.tensor([weights], dtype=torch.float32)}


def total(batches: Sequence[Mapping[str, Any]]) -> Tensor:
    """The sum of the weights of the labels that something predicts, over some batches."""
    return sum((batch[WEIGHTS][..., 1:].sum() for batch in batches), torch.zeros(()))


def loss(logits: Tensor, labels: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """The part of the loss of a step that a batch has; `total` is the weight of the whole step."""
    losses = cross_entropy(
        logits[..., :-1, :].flatten(0, -2).float(),
        labels[..., 1:].flatten(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return (losses * weights[..., 1:].flatten()).sum() / total


def mean(logits: Tensor, batch: Mapping[str, Tensor], total: Tensor | None) -> Tensor:
    """The part of the loss of a step that a batch without weights has: the nats of its trained
    tokens over `total`, the number of those of the whole step (None: of the batch).

    A batch of trees has `shift_labels`, a target for each of its logits.
    """
    targets = batch.get("shift_labels")
    if targets is None:
        logits, targets = logits[..., :-1, :], batch["labels"][..., 1:]
    nats = cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum"
    )
    return nats / ((targets != IGNORE_INDEX).sum() if total is None else total)
