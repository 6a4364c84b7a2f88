"""The moving average of the weights (EMA), which is saved in place of the last weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback

FILE = "average.safetensors"  # of a checkpoint


class Average(TrainerCallback):
    """Averages the trained weights after each step, and makes them the model's at the end.

    What is measured during a run are the weights as they are trained. A checkpoint keeps the
    average beside them.
    """

    def __init__(self, decay: float) -> None:
        self.update = get_ema_multi_avg_fn(decay)
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Begins with the weights of the model, or with the average of the checkpoint."""
        trained = _trained(more["model"])
        if state.global_step:
            saved = load_file(Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)
            self.weights = {name: saved[name].to(weight) for name, weight in trained.items()}
        else:
            self.weights = {name: weight.detach().clone() for name, weight in trained.items()}

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Moves the average."""
        trained = _trained(more["model"])
        names = list(self.weights)
        self.update(
            [self.weights[name] for name in names],
            [trained[name].detach() for name in names],
            torch.tensor(state.global_step),
        )

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Writes the average into the checkpoint."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            save_file(self.weights, folder / FILE)

    @torch.no_grad()
    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Gives the model the average."""
        for name, weight in _trained(more["model"]).items():
            weight.copy_(self.weights[name])


def _trained(network: Any) -> dict[str, Any]:
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
