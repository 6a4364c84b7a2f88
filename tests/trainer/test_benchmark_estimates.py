"""Intervals, paired comparisons and pass@k, against counting all cases and simulation."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.later import need
from trainer.evaluation.benchmarks import estimates

need("scipy")

RNG = np.random.default_rng(16)


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_all_draws(n: int) -> None:
    for passed, k in itertools.product(range(n + 1), range(1, n + 1)):
        drawn = list(itertools.combinations([True] * passed + [False] * (n - passed), k))
        share = sum(any(draw) for draw in drawn) / len(drawn)
        assert estimates.pass_at_k(n, passed, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_is_right_on_average_and_the_usual_shortcut_is_not() -> None:
    """1 - (1 - c / n)^k, with the share that passed, is too low."""
    n, k, p = 10, 5, 0.3
    chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = sum(w * estimates.pass_at_k(n, c, k) for c, w in enumerate(chances))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    shortcut = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chances))
    assert shortcut < mean - 0.01


def test_more_answers_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="pass@10 needs at least 10 samples, and there are 5"):
        estimates.pass_at_k(5, 1, 10)


def everybody_flips(wins: int, losses: int) -> float:
    """The p-value by counting: each item that differs could as well have gone the other way."""
    observed = abs(wins - losses)
    flips = itertools.product((1, -1), repeat=wins + losses)
    far = [abs(sum(signs)) >= observed for signs in flips]
    return sum(far) / len(far)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 1), (3, 9), (7, 7), (0, 11)])
def test_mcnemar_is_the_count_of_all_flips(wins: int, losses: int) -> None:
    first = [0.0] * wins + [1.0] * losses + [1.0] * 20 + [0.0] * 5
    second = [1.0] * wins + [0.0] * losses + [1.0] * 20 + [0.0] * 5
    compared = estimates.compare(first, second)
    assert compared.p == pytest.approx(everybody_flips(wins, losses))
    assert (compared.test, compared.n) == ("McNemar, exact", len(first))
    assert (compared.second_better, compared.first_better) == (wins, losses)
    assert compared.difference == pytest.approx((wins - losses) / len(first))
    low, high = compared.interval
    assert low < compared.difference < high or (wins, losses) == (0, 0)
    assert high > low  # also where the models never differ
    turned = estimates.compare(second, first)
    assert turned.difference == -compared.difference
    assert turned.interval == pytest.approx((-high, -low))


def t_quantile(share: float, freedom: int) -> float:
    """Student's quantile, by adding up his density."""
    grid = np.linspace(0, 60, 600_001)
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    density = scale * (1 + grid**2 / freedom) ** (-(freedom + 1) / 2)
    area = 0.5 + np.cumsum(density) * (grid[1] - grid[0])
    return float(grid[np.searchsorted(area, share)])


def test_the_paired_t_test_is_that_of_the_differences() -> None:
    first, second = RNG.random(12), RNG.random(12)
    compared = estimates.compare(first, second)
    gaps = [float(b - a) for a, b in zip(first, second, strict=True)]
    error = statistics.stdev(gaps) / math.sqrt(12)
    assert compared.standard_error == pytest.approx(error)
    assert compared.difference == pytest.approx(statistics.fmean(gaps))
    half = error * t_quantile(0.975, 11)
    assert compared.interval == pytest.approx(
        (compared.difference - half, compared.difference + half), abs=1e-4
    )
    flipped = [abs(np.dot(signs, gaps)) for signs in itertools.product((1, -1), repeat=12)]
    by_count = np.mean(np.array(flipped) >= abs(sum(gaps)) - 1e-12)
    assert compared.p == pytest.approx(by_count, abs=0.02)


def test_pairing_takes_out_how_hard_the_items_are() -> None:
    hard = RNG.random(300)
    first = (RNG.random(300) * 0.2 + hard * 0.8).clip(0, 1)
    second = (first + RNG.normal(0.02, 0.05, 300)).clip(0, 1)
    alone = math.hypot(*(estimates.standard_error(v) or 0 for v in (first, second)))
    assert (estimates.compare(first, second).standard_error or 1) < alone / 4


def share_covered(truth: float, intervals: Sequence[estimates.Interval]) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(("n", "both", "up", "down"), [(60, 0.5, 0.15, 0.1), (40, 0.3, 0.05, 0.05)])
def test_intervals_of_differences_cover_the_truth(
    n: int, both: float, up: float, down: float
) -> None:
    drawn = RNG.choice(4, p=[both, up, down, 1 - both - up - down], size=(400, n))
    first, second = np.isin(drawn, (0, 2)).astype(float), np.isin(drawn, (0, 1)).astype(float)
    compared = [estimates.compare(a, b) for a, b in zip(first, second, strict=True)]
    assert 0.93 <= share_covered(up - down, [c.interval for c in compared]) <= 0.995


def test_intervals_of_means_cover_the_truth() -> None:
    for p in (0.02, 0.25, 0.9):
        rows = (RNG.random((400, 50)) < p).astype(float)
        assert share_covered(p, [estimates.interval(row) for row in rows]) >= 0.92
    rows = RNG.beta(2, 5, size=(400, 40))
    assert 0.92 <= share_covered(2 / 7, [estimates.interval(row) for row in rows]) <= 0.98


def test_problems_are_drawn_and_not_answers() -> None:
    """20 answers to a problem are no 20 problems: with all answers alike the interval is Wilson's
    of the problems, and pass@1 of few problems stays wide however many answers there are."""
    assert estimates.interval([0.0] * 164) == pytest.approx((0.0, 0.0229), abs=1e-4)
    rates = RNG.beta(0.5, 0.5, size=30)  # of problems, the easy and the hard
    few, many = (RNG.binomial(n, rates) / n for n in (5, 500))
    widths = [high - low for low, high in map(estimates.interval, (few, many))]
    assert widths[1] > 0.75 * widths[0]


def test_a_single_item_has_no_standard_error() -> None:
    assert estimates.standard_error([1.0]) is None
    compared = estimates.compare([1.0], [0.0])
    assert (compared.standard_error, compared.p) == (None, 1.0)
    assert estimates.interval([0.5]).high > 0.9
