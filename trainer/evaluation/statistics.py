"""What verdicts amount to: a win rate with its interval, and what else than quality decided.

Every pair of answers was judged twice, with either answer in front. A verdict is 1 where the answer
of A was preferred, 0 where that of B was, and 1/2 for a tie; a pair counts with the mean of its two
verdicts. So a judge who looks at the place alone gives a win rate of 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 10_000
_RIDGE = 1e-2  # keeps the fit finite where length explains every verdict
_STEPS = 100


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def numbered(prompts: Iterable[str]) -> Ints:
    """A number for each prompt, the same for equal ones, in the order in which they first come."""
    numbers: dict[str, int] = {}
    listed = [numbers.setdefault(prompt, len(numbers)) for prompt in prompts]
    return np.array(listed, dtype=np.int64)


def win_rate(verdicts: Floats) -> float:
    """The share of pairs that A wins; `verdicts` has a row for each pair and two columns."""
    return float(verdicts.mean())


def interval(verdicts: Floats, prompts: Ints, seed: int, share: float = 0.95) -> Interval:
    """The interval of the win rate: a bootstrap in which whole prompts are drawn.

    `prompts` has the number of the prompt of each pair, from 0 on: answers to the same prompt are
    not independent. The ends are percentiles (Efron, 1979), widened for few prompts by
    sqrt(n / (n - 1)), since the spread of a sample is too small by that. Where all prompts come out
    alike a bootstrap has no width, and the interval is Wilson's (1927) for as many prompts.
    """
    number = int(prompts.max()) + 1
    sizes = np.bincount(prompts, minlength=number).astype(np.float64)
    sums = np.bincount(prompts, verdicts.mean(axis=1), minlength=number)
    rate = float(sums.sum() / sizes.sum())
    if number < 2 or np.ptp(sums / sizes) == 0:
        return wilson(rate, number, share)
    drawn = np.random.default_rng(seed).integers(number, size=(RESAMPLES, number))
    rates = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(rates, [(1 - share) / 2, (1 + share) / 2])
    wider = math.sqrt(number / (number - 1))
    return Interval(
        max(0.0, rate + wider * (float(low) - rate)), min(1.0, rate + wider * (float(high) - rate))
    )


def wilson(rate: float, number: int, share: float = 0.95) -> Interval:
    """The interval of a rate of independent cases (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + share) / 2)
    middle = (rate + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number)
    half *= math.sqrt(rate * (1 - rate) / number + z * z / (4 * number * number))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def mcnemar(first: int, second: int) -> float:
    """The exact test of two models on the same cases (McNemar, 1947): how probable so uneven a
    division is of the cases that a single model of the two got right, `first` and `second` of
    them, were both as good."""
    number, least = first + second, min(first, second)
    tail = sum(math.comb(number, k) for k in range(least + 1)) / 2**number
    return min(1.0, 2 * tail)


def position_bias(verdicts: Floats) -> float:
    """The share of pairs in which the place decided: the same place was preferred both times.

    The first column is of the request with A in front.
    """
    return float((np.abs(verdicts[:, 0] - verdicts[:, 1]) == 1).mean())


def length_bias(verdicts: Floats, lengths: Ints) -> float | None:
    """The share of decided verdicts that prefer the longer answer; 1/2 is no bias.

    `lengths` has a row for each pair: characters of the answers of A and B. None where no verdict
    decides between answers of different lengths.
    """
    longer = np.sign(lengths[:, 0] - lengths[:, 1])[:, None] * np.ones(2)
    decided = (verdicts != 0.5) & (longer != 0)
    if not decided.any():
        return None
    return float(((verdicts == 1) == (longer == 1))[decided].mean())


def length_controlled(verdicts: Floats, lengths: Ints) -> float:
    """The win rate at equal lengths: of a logistic regression of verdicts on the difference of the
    lengths, what its constant gives.

    The difference enters as tanh(difference / its spread), as in AlpacaEval 2 (Dubois et al.,
    2024), so that huge differences do not rule. Its coefficient has a small ridge, without which
    the fit of a judge who looks at length alone would have no end.
    """
    difference = (lengths[:, 0] - lengths[:, 1]).astype(np.float64)
    spread = float(difference.std())
    if spread == 0:
        return win_rate(verdicts)
    columns = np.stack([np.ones(len(difference)), np.tanh(difference / spread)], axis=1)
    constant, _ = _logistic(columns, verdicts.mean(axis=1))
    return float(1 / (1 + math.exp(-constant)))


def _logistic(columns: Floats, targets: Floats) -> Floats:
    """The coefficients of a logistic regression with shares as targets, by Newton's method."""
    ridge = np.diag([1e-6, _RIDGE]) * len(targets)
    fitted = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        shares = 1 / (1 + np.exp(-columns @ fitted))
        slope = columns.T @ (targets - shares) - ridge @ fitted
        curve = (columns * (shares * (1 - shares))[:, None]).T @ columns + ridge
        step = np.linalg.solve(curve, slope)
        fitted = fitted + step
        if np.abs(step).max() < 1e-10:
            break
    return fitted
