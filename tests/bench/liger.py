"""Liger's loss, beside that of transformers: TRITON_INTERPRET=1 python -m tests.bench.liger

A step of a small Llama with 4 rows at once and with 1 row four times, by the trainer, with and
without Liger's loss of the head's weights (`fused_linear_cross_entropy`). Triton's interpreter runs
it on a CPU; Liger's other kernels need a GPU. Needs `pip install --no-deps liger-kernel triton`.
Prints the losses and the largest difference of a weight after the step; ends with status 1 where
they differ by more than 2e-5.
"""

from __future__ import annotations

import copy
import importlib
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from tests.support.model_families import model_of
from tests.support.steps import stepped, weights_of
from tests.support.tiny import conversation
from trainer.run.trainer import Trainer

WITHIN = 2e-5


def padded(items: list[Any]) -> dict[str, torch.Tensor]:
    """A batch of rows."""
    size = max(len(item["input_ids"]) for item in items)
    columns = {"input_ids": 0, "labels": -100}
    batch = {
        key: torch.tensor([item[key] + [fill] * (size - len(item[key])) for item in items])
        for key, fill in columns.items()
    }
    sizes = torch.tensor([len(item["input_ids"]) for item in items])
    return batch | {"attention_mask": (torch.arange(size) < sizes[:, None]).long()}


@click.command()
def main() -> None:
    """Compares both losses. Needs `pip install --no-deps liger-kernel triton`, and
    TRITON_INTERPRET=1 without a GPU."""
    draw = random.Random(1)
    rows = [conversation(draw, turns) for turns in (2, 5, 3, 4)]
    network = model_of("llama", "sdpa")
    changed = copy.deepcopy(network)
    liger: Any = importlib.import_module("liger_kernel.transformers")
    others = dict.fromkeys(("rope", "rms_norm", "swiglu"), False)
    liger.apply_liger_kernel_to_llama(model=changed, fused_linear_cross_entropy=True, **others)
    gaps = []
    with tempfile.TemporaryDirectory() as out:
        for size in (4, 1):
            made = []
            for model in (network, changed):
                trained = copy.deepcopy(model)
                trainer = stepped(
                    Trainer, trained, rows, padded, size, Path(out), remove_unused_columns=False
                )
                made.append((trainer.state.log_history[-1]["train_loss"], weights_of(trained)))
            (loss, weights), (theirs, their_weights) = made
            moved = max(float((weights[key] - their_weights[key]).abs().max()) for key in weights)
            gaps += [abs(loss - theirs), moved]
            print(f"{size} rows at once: {loss:.7f} and {theirs:.7f}; weights within {moved:.1e}")
    sys.exit(max(gaps) > WITHIN)


if __name__ == "__main__":
    main()
