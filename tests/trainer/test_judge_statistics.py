"""Numbers of judges: planted truths, intervals that cover, and the same by another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation import agreement, statistics

CASES = np.arange(40)
LENGTHS = np.random.default_rng(0).integers(1, 1000, size=(40, 2))


def verdicts(wins: np.ndarray) -> np.ndarray:
    """The same verdict in both orders."""
    return np.stack([wins, wins], axis=1).astype(np.float64)


def test_a_judge_that_prefers_the_first_answer_is_all_place() -> None:
    always_first = np.tile([1.0, 0.0], (40, 1))
    assert statistics.win_rate(always_first) == 0.5
    assert statistics.position_bias(always_first) == 1.0
    assert statistics.length_bias(always_first, LENGTHS) == 0.5
    assert statistics.length_controlled(always_first, LENGTHS) == pytest.approx(0.5)
    low, high = statistics.interval(always_first, CASES, seed=0)
    assert low < 0.5 < high


def test_a_judge_that_prefers_the_longer_answer_is_all_length() -> None:
    longer = verdicts(LENGTHS[:, 0] > LENGTHS[:, 1])
    assert statistics.length_bias(longer, LENGTHS) == 1.0
    assert statistics.position_bias(longer) == 0.0
    assert statistics.length_controlled(longer, LENGTHS) == pytest.approx(0.5, abs=0.1)


def test_a_better_model_that_writes_more_is_better_at_equal_length_too() -> None:
    rng = np.random.default_rng(1)
    lengths = np.stack([rng.integers(400, 900, 2000), rng.integers(100, 600, 2000)], axis=1)
    difference = lengths[:, 0] - lengths[:, 1]
    chance = 1 / (1 + np.exp(-(0.8 + 1.5 * np.tanh(difference / difference.std()))))
    wins = verdicts(rng.random(2000) < chance)
    at_equal_length = 1 / (1 + np.exp(-0.8))
    assert statistics.length_controlled(wins, lengths) == pytest.approx(at_equal_length, abs=0.08)
    assert statistics.win_rate(wins) > at_equal_length + 0.1


@settings(derandomize=True, max_examples=60)
@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 2), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_the_other_model_has_the_rest(pairs: list[tuple[float, float]], seed: int) -> None:
    """What A wins B loses, in the rate, in its interval, and at equal length."""
    of_a = np.array(pairs)
    of_b = 1 - of_a
    lengths = LENGTHS[: len(of_a)]
    prompts = np.arange(len(of_a)) // 2
    low, high = statistics.interval(of_a, prompts, seed)
    assert low - 1e-9 <= statistics.win_rate(of_a) <= high + 1e-9
    assert statistics.interval(of_b, prompts, seed) == pytest.approx((1 - high, 1 - low), abs=0.02)
    assert statistics.win_rate(of_b) == pytest.approx(1 - statistics.win_rate(of_a))
    swapped = statistics.length_controlled(of_b, lengths[:, ::-1])
    assert swapped == pytest.approx(1 - statistics.length_controlled(of_a, lengths), abs=1e-6)
    assert statistics.position_bias(of_b) == statistics.position_bias(of_a)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "of_a_prompt"), [(30, 1), (20, 4)])
def test_intervals_hold_the_truth_as_often_as_they_say(number: int, of_a_prompt: int) -> None:
    """Also where answers to a prompt fall alike: a bootstrap of pairs alone covers far less."""
    rng = np.random.default_rng(7)
    covered = alone = 0
    for seed in range(120):
        chance = rng.beta(1.4, 0.6, size=number)  # 0.7 on average, and not the same for all
        wins = verdicts((rng.random((number, of_a_prompt)) < chance[:, None]).ravel())
        prompts = np.repeat(np.arange(number), of_a_prompt)
        low, high = statistics.interval(wins, prompts, seed)
        covered += low <= 0.7 <= high
        low, high = statistics.interval(wins, np.arange(len(wins)), seed)
        alone += low <= 0.7 <= high
    assert 0.91 <= covered / 120 <= 1.0
    assert of_a_prompt == 1 or alone / 120 < 0.9


def test_the_interval_is_that_of_another_library() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    wins = verdicts(rng.random(60) < 0.6)
    low, high = statistics.interval(wins, np.arange(60), seed=0)
    options = {"method": "percentile", "n_resamples": 10_000, "rng": np.random.default_rng(1)}
    result = stats.bootstrap((wins[:, 0],), np.mean, **options).confidence_interval
    assert (low, high) == pytest.approx((result.low, result.high), abs=0.025)
    all_alike = statistics.interval(verdicts(np.ones(20)), np.arange(20), seed=0)
    wilson = stats.binomtest(20, 20).proportion_ci(method="wilson")
    assert all_alike == pytest.approx((wilson.low, wilson.high))


def test_the_fit_is_that_of_another_library() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(4)
    wins = verdicts(rng.random(40) < 0.7)
    difference = (LENGTHS[:, 0] - LENGTHS[:, 1]).astype(float)
    slope = np.tanh(difference / difference.std())

    def loss(fitted: np.ndarray) -> float:
        line = fitted[0] + fitted[1] * slope
        fits = np.logaddexp(0, line) - wins[:, 0] * line
        return float(fits.sum() + 40 * (1e-6 * fitted[0] ** 2 + 1e-2 * fitted[1] ** 2) / 2)

    constant = optimize.minimize(loss, np.zeros(2), tol=1e-12).x[0]
    expected = 1 / (1 + np.exp(-constant))
    assert statistics.length_controlled(wins, LENGTHS) == pytest.approx(expected, abs=1e-5)


def test_agreement_is_that_of_the_formulas() -> None:
    """A table of ten pairs: judges agree on seven."""
    pytest.importorskip("nltk")
    first = dict(zip("abcdefghij", ["A"] * 5 + ["B"] * 5, strict=True))
    second = first | {"a": "B", "f": "A", "g": "tie", "z": "A"}
    figures = agreement.between({"x": first, "y": second})
    assert figures is not None
    (two,) = figures["pairs_of_judges"]
    assert (two["pairs"], two["equal"]) == (10, 0.7)
    by_chance = 0.5 * 0.5 + 0.5 * 0.4  # A and A, B and B; y has 5 A, 4 B and a tie
    assert two["kappa"] == pytest.approx((0.7 - by_chance) / (1 - by_chance))
    assert figures["alpha"] == pytest.approx(two["kappa"], abs=0.05)
    assert agreement.between({"x": first}) is None
    alike = agreement.between({"x": {"a": "A"}, "y": {"a": "A"}})
    assert alike is not None
    assert alike["alpha"] is None
