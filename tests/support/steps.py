"""A single step of a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments


def step(network: Any, items: Any, collator: Any, size: int, output: Path) -> dict[str, Any]:
    """The weights after a single step of transformers' Trainer over all items."""
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=-(-len(items) // size),
        max_steps=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    Trainer(network, arguments, collator, items).train()
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
