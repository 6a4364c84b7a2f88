"""The Trainer of pairs: the same steps, checkpoints and files, with another loss and other numbers.

The loss of a step is the mean over its pairs, however many ranks and batches share them; the loss
of the chosen answers that ORPO adds is the mean over their tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, modeling_utils

from chatdata.core.constants import IGNORE_INDEX
from trainer.config import TrainConfig
from trainer.preference import losses
from trainer.preference.batches import MODEL_KEYS
from trainer.preference.losses import Outcome, Scores
from trainer.run.trainer import Trainer

SAME = 1e-5  # rewards that are nearer than this are the same, up to rounding
_COLUMNS = ("loss", "chosen", "rejected", "nats", "tokens")  # of each pair that was evaluated


class PairTrainer(Trainer):
    """Trainer of an objective of `losses`, on batches of `batches.Collator`."""

    def __init__(self, config: TrainConfig, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.recipe = config
        self.is_reward = config.objective == "reward"
        self.is_measuring = False  # evaluation gives the log-probabilities alone
        self.loss_is_scaled_for_ga = True
        self.model_accepts_loss_kwargs = True
        self.loss_by_logits = False
        self._seen = torch.zeros(3)  # accuracy, margin and pairs since the last report
        self._keeps = takes_positions(self.model)
        self._each = losses.answers(config)

    # ---------------------------------------------------------------------------- what it says

    def scores(self, model: Any, inputs: dict[str, Tensor]) -> Scores:
        """What the model says of the answers of a batch."""
        rows = {key: inputs[key] for key in MODEL_KEYS if key in inputs}
        if self.is_reward:
            return Scores(*rewards(model, rows))
        if self._keeps:
            rows["logits_to_keep"] = inputs["parents"]
        logits = model(**rows).logits
        if not self._keeps:
            logits = torch.take_along_dim(logits, inputs["parents"][..., None], dim=1)
        size = len(inputs["pairs"]) * self._each
        both = by_answer(logits, inputs["targets"], inputs["answers"], size)
        sums, numbers = (values.view(-1, self._each) for values in both)
        return Scores(sums, numbers, inputs.get("reference"))

    def outcome(self, scores: Scores) -> Outcome:
        """The losses and rewards of a batch."""
        objective = losses.OBJECTIVES[self.recipe.objective]
        more = {"over_ranks": self._over_ranks} if self.recipe.objective == "kto" else {}
        return objective(scores, losses.beta(self.recipe), self.recipe.preference, **more)

    def _over_ranks(self, mean: Tensor) -> Tensor:
        gathered: Tensor = self.accelerator.gather(mean)
        return gathered.mean()

    # ------------------------------------------------------------------------------- the steps

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """The batches of the next step, with its pairs and the learnt tokens of chosen answers."""
        batches, _ = super().get_batch_samples(*args, **options)
        if not batches:
            return batches, None
        totals = torch.stack([self._counts(batch) for batch in batches]).sum(0).to(self.args.device)
        if self.args.world_size > 1:
            totals = self.accelerator.gather(totals).view(-1, 2).sum(0)
        return batches, totals

    def _counts(self, batch: dict[str, Tensor]) -> Tensor:
        """The pairs of a batch, and the targets of their chosen answers."""
        pairs, answers = batch["pairs"], batch["answers"]
        is_chosen = (answers % self._each == 0) & (batch["targets"] != IGNORE_INDEX)
        return torch.stack([pairs.new_tensor(len(pairs)), is_chosen.sum()])

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch, scaled as that of transformers: `backward` averages over ranks."""
        scores = self.scores(model, inputs)
        outcome = self.outcome(scores)
        totals = self._counts(inputs) if num_items_in_batch is None else num_items_in_batch
        loss = outcome.losses.sum() / totals[0]
        if self.recipe.objective == "orpo":
            loss = loss - scores.sums[:, 0].sum() / totals[1]
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
            self._see(outcome.rewards.detach())
        return (loss, {"scores": scores, "outcome": outcome}) if return_outputs else loss

    def _see(self, given: Tensor) -> None:
        numbers = torch.stack([accuracy(given).sum(), margins(given).sum()])
        self._seen += torch.cat([numbers, numbers.new_tensor([len(given)])]).cpu().float()

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Adds what the pairs of the steps since the last report say."""
        if "loss" in logs:
            seen = self.accelerator.gather(self._seen.to(self.args.device)).view(-1, 3).sum(0)
            right, margin, pairs = seen.tolist()
            if pairs:
                logs |= {"accuracy": right / pairs, "margin": margin / pairs}
            self._seen.zero_()
        super().log(logs, *args, **options)

    def _get_train_sampler(self, *args: Any, **options: Any) -> Any:
        if self.recipe.objective == "kto":  # the order is in the items, as are the blocks
            return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]
        return super()._get_train_sampler(*args, **options)

    # -------------------------------------------------------------------------------- evaluation

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any
    ) -> tuple[Any, Any, Any]:
        """No loss, for each pair the numbers of `_COLUMNS` (or the log-probabilities of its
        answers), and its number."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            scores = self.scores(model, inputs)
            if self.is_measuring:
                return None, scores.sums.float(), inputs["pairs"]
            outcome = self.outcome(scores)
        columns = [outcome.losses, *outcome.rewards.T, -scores.sums[:, 0], scores.counts[:, 0]]
        return None, torch.stack([column.float() for column in columns], 1), inputs["pairs"]

    def log_probabilities(self, items: Any) -> Any:
        """The log-probability of each answer of some items, float32 of shape (items, answers), by
        the model as it is. Must be called by all ranks."""
        self.is_measuring, measure, self.compute_metrics = True, self.compute_metrics, None
        try:
            output: Any = self.predict(items)
            return output.predictions[np.argsort(output.label_ids)]
        finally:
            self.is_measuring, self.compute_metrics = False, measure


def metrics(config: TrainConfig, prediction: EvalPrediction) -> dict[str, float]:
    """The numbers of a whole split, for `compute_metrics`."""
    numbers = torch.as_tensor(np.asarray(prediction.predictions)).double()
    loss, chosen, rejected, nats, tokens = numbers.T
    rewards = torch.stack([chosen, rejected], 1)
    total = loss.mean()
    if config.objective == "orpo":
        total = total + nats.sum() / tokens.sum()
    return {
        "token_loss": float(total),  # of which Trainer makes `eval_loss`
        "accuracy": float(accuracy(rewards).mean()),
        "margin": float(margins(rewards).mean()),
        "chosen_reward": float(chosen.mean()),
        "rejected_reward": float(rejected.mean()),
        "pairs": len(numbers),
    }


# --------------------------------------------------------------------------------- its numbers


def takes_positions(network: Any) -> bool:
    """Whether a model computes logits at given positions alone, others in each row."""
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    takes = "logits_to_keep" in inspect.signature(base.forward).parameters
    return takes and hasattr(modeling_utils, "slice_logits_to_keep")


def by_answer(logits: Tensor, targets: Tensor, answers: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The sum of the log-probabilities of the targets of each answer of `size`, and their number,
    from the logits at the parents of the targets."""
    nats = nn.functional.cross_entropy(
        logits.float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    is_target = (targets != IGNORE_INDEX).flatten().float()
    none = nats.new_zeros(size)
    numbers = answers.flatten()
    return none.index_add(0, numbers, -nats), none.index_add(0, numbers, is_target)


def rewards(model: Any, rows: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The score of both answers of each pair, by a model of sequences; and their counts, 1."""
    given = model(**rows).logits.float().view(-1, 2)
    return given, torch.ones_like(given)


def accuracy(rewards: Tensor) -> Tensor:
    """1 for each pair whose chosen answer has the larger reward, 0.5 where both are the same."""
    differences = margins(rewards)
    return torch.where(differences.abs() < SAME, 0.5, (differences > 0).double())


def margins(rewards: Tensor) -> Tensor:
    """How much larger the reward of the chosen answer is, for each pair."""
    return rewards[:, 0] - rewards[:, 1]


def without_dropout(network: nn.Module) -> None:
    """Turns off dropout: the base and the model would differ where they are the same."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _dropouts(module):
            setattr(module, name, 0.0)


def _dropouts(module: nn.Module) -> Sequence[str]:
    """The names under which a module of attention has a share to drop."""
    values = vars(module).items()
    return [name for name, value in values if "dropout" in name and isinstance(value, float)]
