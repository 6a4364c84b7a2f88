"""Muon for the matrices inside a model and AdamW for the rest, as a single optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import AdamW, Optimizer


class MuonAndAdamW(Optimizer):
    """PyTorch's Muon and AdamW, which share a list of groups and a state, so that schedulers and
    checkpoints see a single optimizer.

    Muon's steps are as large as AdamW's (`match_rms_adamw`), so that both have the learning rate of
    the recipe.
    """

    def __init__(self, matrices: list[dict[str, Any]], rest: list[dict[str, Any]], lr: float):
        muon: Any = torch.optim.Muon  # from torch 2.9 on
        self.parts = [muon(matrices, lr=lr, adjust_lr_fn="match_rms_adamw"), AdamW(rest, lr=lr)]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Gives the parts their groups and the state."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def step(self, closure: Any = None) -> Any:
        """Takes a step of both."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state of an earlier run."""
        super().load_state_dict(state_dict)
        self._share()


def make(network: Any, decaying: set[str], args: Any) -> MuonAndAdamW:
    """The optimizer of a model: Muon for matrices other than those of embeddings and the head.

    `decaying` are the names of the parameters on which `weight_decay` falls.
    """
    outer = [network.get_input_embeddings(), network.get_output_embeddings()]
    tables = {
        id(weight) for module in outer if module is not None for weight in module.parameters()
    }
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            is_matrix = weight.ndim == 2 and id(weight) not in tables
            groups.setdefault((is_matrix, name in decaying), []).append(weight)
    made = {
        key: {"params": weights, "weight_decay": args.weight_decay if key[1] else 0.0}
        for key, weights in groups.items()
    }
    betas = {"betas": (args.adam_beta1, args.adam_beta2)}
    return MuonAndAdamW(
        [group for (is_matrix, _), group in made.items() if is_matrix],
        [group | betas for (is_matrix, _), group in made.items() if not is_matrix],
        args.learning_rate,
    )
