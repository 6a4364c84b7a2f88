"""What each objective asks of the answers of a batch, as formulas.

dpo     Rafailov et al., 2023: the log-ratio to the base is larger for the chosen answer
ipo     Azar et al., 2023: it is larger by 1 / (2 beta), in the mean over tokens
kto     Ethayarajh et al., 2024: each answer by itself, against what the model says of others
orpo    Hong et al., 2024: the loss of the chosen answer, and the ratio of odds; no base
simpo   Meng et al., 2024: the mean log-probability is larger by `gamma` / beta; no base
reward  a score of each answer (Bradley and Terry, 1952)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.config import Preference, TrainConfig

WITH_REFERENCE = ("dpo", "ipo", "kto")
_BETA = {"simpo": 2.0}
_USUAL_BETA = 0.1


def beta(config: TrainConfig) -> float:
    """The recipe's beta, or else the usual of its objective."""
    return config.preference.beta or _BETA.get(config.objective, _USUAL_BETA)


def answers(config: TrainConfig) -> int:
    """How many answers an item of an objective has: a pair has two, KTO adds two to others."""
    return 4 if config.objective == "kto" else 2


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of the answers of a batch, of shape (items, answers): the sum of the
    log-probabilities of their targets, how many these are, and the sum by the base. For a reward
    model `sums` are the rewards."""

    sums: Tensor
    counts: Tensor
    reference: Tensor | None = None

    def ratios(self) -> Tensor:
        """The log-ratio of each answer to the base."""
        assert self.reference is not None
        return self.sums - self.reference

    def means(self) -> Tensor:
        """The mean log-probability of the targets of each answer."""
        return self.sums / self.counts.clamp(min=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The loss of each pair, and the rewards of both of its answers, of shape (items, 2)."""

    losses: Tensor
    rewards: Tensor


def dpo(scores: Scores, beta: float, options: Preference) -> Outcome:
    """Direct preference optimization."""
    rewards = beta * scores.ratios()
    return Outcome(-logsigmoid(rewards[:, 0] - rewards[:, 1]), rewards)


def ipo(scores: Scores, beta: float, options: Preference) -> Outcome:
    """Identity preference optimization, with means over tokens as in TRL."""
    means = scores.ratios() / scores.counts.clamp(min=1)
    losses = (means[:, 0] - means[:, 1] - 1 / (2 * beta)) ** 2
    return Outcome(losses, beta * scores.ratios())


def kto(
    scores: Scores,
    beta: float,
    options: Preference,
    over_ranks: Callable[[Tensor], Tensor] = lambda mean: mean,
) -> Outcome:
    """Kahneman-Tversky optimization: the answers of a pair are two rows, each with its verdict.

    The third and fourth answer of an item are those of others, of which the divergence from the
    base is estimated; `over_ranks` gives the mean of a number over all ranks.
    """
    ratios = scores.ratios()
    divergence = over_ranks(ratios[:, 2:].mean().detach()).clamp(min=0)
    liked = 1 - torch.sigmoid(beta * (ratios[:, 0] - divergence))
    disliked = 1 - torch.sigmoid(beta * (divergence - ratios[:, 1]))
    losses = (options.desirable_weight * liked + options.undesirable_weight * disliked) / 2
    return Outcome(losses, beta * ratios[:, :2])


def orpo(scores: Scores, beta: float, options: Preference) -> Outcome:
    """Odds ratio preference optimization, without the loss of the chosen answer."""
    means = scores.means()
    odds = means - torch.log(-torch.expm1(means.clamp(max=-1e-7)))
    return Outcome(-beta * logsigmoid(odds[:, 0] - odds[:, 1]), beta * means)


def simpo(scores: Scores, beta: float, options: Preference) -> Outcome:
    """Simple preference optimization."""
    rewards = beta * scores.means()
    return Outcome(-logsigmoid(rewards[:, 0] - rewards[:, 1] - options.gamma), rewards)


def reward(scores: Scores, beta: float, options: Preference) -> Outcome:
    """The loss of a reward model."""
    rewards = scores.sums
    losses = -logsigmoid(rewards[:, 0] - rewards[:, 1]) + options.center * rewards.sum(1) ** 2
    return Outcome(losses, rewards)


OBJECTIVES: dict[str, Callable[..., Outcome]] = {
    "dpo": dpo,
    "ipo": ipo,
    "kto": kto,
    "orpo": orpo,
    "simpo": simpo,
    "reward": reward,
}
