"""A single step of a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments

RATE = 0.1


def step(network: Any, items: Any, collator: Any, size: int, output: Path) -> dict[str, Any]:
    """The weights after a single step of transformers' Trainer over all items."""
    stepped(Trainer, network, items, collator, size, output)
    return weights_of(network)


def stepped(
    kind: type[Trainer],
    network: Any,
    items: Any,
    collator: Any,
    size: int,
    output: Path,
    **options: Any,
) -> Trainer:
    """A trainer of this kind, after a single step of plain SGD over all items."""
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=-(-len(items) // size),
        max_steps=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **options,
    )
    trainer = kind(network, arguments, collator, items)
    trainer.train()
    return trainer


def weights_of(network: Any) -> dict[str, Any]:
    """The weights of a network by name, as they are now."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
