"""How sure a benchmark is: intervals of means, and of differences between two models.

Two models that answer the same items are compared item by item: that the items differ in how hard
they are, which is most of the spread of each score, then says nothing about the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

SHARE = 0.95


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


class Comparison(NamedTuple):
    """The second of two models less the first, on the same items."""

    n: int
    difference: float
    standard_error: float | None  # None for a single item
    interval: Interval
    p: float  # of so large a difference where the models are equally good
    test: str
    first_better: int
    second_better: int


def standard_error(values: Sequence[float] | Floats) -> float | None:
    """The standard error of a mean, as lm-eval has it; None for a single value."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def interval(values: Sequence[float] | Floats) -> Interval:
    """The interval of the mean of values from 0 to 1, an item each.

    Right or wrong: Wilson's (1927), which holds near 0 and 1 too. Else Student's t; but where all
    values are alike the spread says nothing, and Wilson's is taken for as many items.
    """
    array = np.asarray(values, np.float64)
    if _is_binary(array) or np.ptp(array) == 0:
        return _wilson(float(array.mean()), len(array))
    low, high = stats.t.interval(SHARE, len(array) - 1, array.mean(), stats.sem(array))
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def compare(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Comparison:
    """The paired comparison of two models; the values of an item stand at the same place.

    Right or wrong: McNemar's exact test, and the interval of Bonett and Price (2012), which has a
    width also where the models never differ. Else the paired t-test and its interval.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    wins, losses = int((b > a).sum()), int((b < a).sum())
    is_binary = _is_binary(a) and _is_binary(b)
    between, p = _binary(wins, losses, len(a)) if is_binary else _continuous(a, b)
    return Comparison(
        n=len(a),
        difference=float((b - a).mean()),
        standard_error=standard_error(b - a),
        interval=between,
        p=p,
        test="McNemar, exact" if is_binary else "paired t",
        first_better=losses,
        second_better=wins,
    )


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The probability that of `k` answers at least one passes, from `samples` of which `passed` do.

    Unbiased (Chen et al., 2021): the share of the draws of `k` from `samples` without
    replacement in which one passes.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, and there are {samples}")
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)


def _is_binary(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _wilson(rate: float, n: int) -> Interval:
    z = float(stats.norm.ppf((1 + SHARE) / 2))
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def _binary(wins: int, losses: int, n: int) -> tuple[Interval, float]:
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    up, down = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    z = float(stats.norm.ppf((1 + SHARE) / 2))
    half = z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return Interval(max(-1.0, up - down - half), min(1.0, up - down + half)), p


def _continuous(a: Floats, b: Floats) -> tuple[Interval, float]:
    """Student's; where all differences are alike, nothing is known of their spread."""
    if np.ptp(b - a) == 0:
        return (Interval(0.0, 0.0), 1.0) if a[0] == b[0] else (Interval(-1.0, 1.0), 1.0)
    tested = stats.ttest_rel(b, a)
    low, high = tested.confidence_interval(SHARE)
    return Interval(float(low), float(high)), float(tested.pvalue)
