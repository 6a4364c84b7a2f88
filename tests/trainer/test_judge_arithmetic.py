"""The numbers of judges beside a second way to them: other libraries, and plain loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation import agreement, statistics

VERDICTS = st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 2), min_size=1, max_size=30)
OUTCOMES = ("A", "B", "tie", "inconsistent", "failed")


@settings(derandomize=True, max_examples=100)
@given(VERDICTS, st.data())
def test_shares_are_those_of_a_loop(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    sizes = st.tuples(st.integers(0, 5), st.integers(0, 5))
    lengths = data.draw(st.lists(sizes, min_size=len(pairs), max_size=len(pairs)))
    wins, by_place, longer, decided = 0.0, 0, 0, 0
    for (with_a, with_b), (of_a, of_b) in zip(pairs, lengths, strict=True):
        wins += (with_a + with_b) / 2
        by_place += {with_a, with_b} == {0.0, 1.0}
        for verdict in (with_a, with_b):
            if verdict != 0.5 and of_a != of_b:
                decided += 1
                longer += (verdict == 1.0) == (of_a > of_b)
    verdicts, sizes_of = np.array(pairs), np.array(lengths, dtype=np.int64)
    assert statistics.win_rate(verdicts) == pytest.approx(wins / len(pairs))
    assert statistics.position_bias(verdicts) == pytest.approx(by_place / len(pairs))
    expected = pytest.approx(longer / decided) if decided else None
    assert statistics.length_bias(verdicts, sizes_of) == expected


def judged(seed: int, judges: int, missing: float) -> dict[str, dict[str, str]]:
    """Outcomes of judges that agree in part, on some of sixty pairs."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=60, p=[0.5, 0.25, 0.15, 0.1])
    given: dict[str, dict[str, str]] = {}
    for judge in range(judges):
        seen = np.where(rng.random(60) < 0.6, truth, rng.choice(4, size=60))
        kept = np.flatnonzero(rng.random(60) >= missing)
        given[f"judge {judge}"] = {f"q{i}": OUTCOMES[seen[i]] for i in kept}
    return given


@pytest.mark.parametrize("seed", range(4))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    pytest.importorskip("nltk")
    given = judged(seed, 2, missing=0.2)
    figures = agreement.between(given)
    assert figures is not None
    first, second = given.values()
    common = [pair for pair in first if pair in second]
    expected = metrics.cohen_kappa_score([first[p] for p in common], [second[p] for p in common])
    (two,) = figures["pairs_of_judges"]
    assert two["kappa"] == pytest.approx(expected)
    assert two["pairs"] == len(common)


def coincidences(given: Mapping[str, Mapping[str, str]]) -> np.ndarray:
    """How often two outcomes stand at the same pair (Krippendorff's Content Analysis, ch. 12)."""
    table = np.zeros((len(OUTCOMES), len(OUTCOMES)))
    for pair in {pair for of in given.values() for pair in of}:
        values = [OUTCOMES.index(of[pair]) for of in given.values() if pair in of]
        for i, first in enumerate(values):
            for j, second in enumerate(values):
                if i != j:
                    table[first, second] += 1 / (len(values) - 1)
    return table


@pytest.mark.parametrize(("seed", "judges"), [(0, 2), (1, 3), (2, 5)])
def test_alpha_is_that_of_its_table_of_coincidences(seed: int, judges: int) -> None:
    """Also where pairs lack judgements: the library's answer to these is the one of the book."""
    pytest.importorskip("nltk")
    given = judged(seed, judges, missing=0.3)
    figures = agreement.between(given)
    assert figures is not None
    table = coincidences(given)
    total, sums = table.sum(), table.sum(axis=1)
    observed = (total - np.trace(table)) / total
    by_chance = 1 - (sums * (sums - 1)).sum() / (total * (total - 1))
    assert figures["alpha"] == pytest.approx(1 - observed / by_chance)


def test_what_a_judge_judged_alone_is_no_agreement() -> None:
    pytest.importorskip("nltk")
    figures = agreement.between({"x": {"a": "A", "b": "B"}, "y": {"a": "A", "c": "tie"}})
    assert figures is not None
    assert figures["alpha"] is None


def test_the_interval_of_prompts_is_that_of_another_library() -> None:
    """Four pairs a prompt: the bootstrap of prompts is a bootstrap of the prompts' means."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    chance = rng.beta(1, 1, size=50)
    wins = (rng.random((50, 4)) < chance[:, None]).astype(float)
    verdicts = np.stack([wins.ravel()] * 2, axis=1)
    low, high = statistics.interval(verdicts, np.repeat(np.arange(50), 4), seed=0)
    options = {"method": "percentile", "n_resamples": 10_000, "rng": np.random.default_rng(1)}
    result = stats.bootstrap((wins.mean(axis=1),), np.mean, **options).confidence_interval
    assert (low, high) == pytest.approx((result.low, result.high), abs=0.012)


def test_the_interval_of_uneven_prompts_has_the_width_of_the_ratio_estimator() -> None:
    """Cochran's formula for the variance of a ratio of sums over clusters."""
    rng = np.random.default_rng(6)
    sizes = rng.integers(1, 8, size=120)
    prompts = np.repeat(np.arange(120), sizes)
    wins = (rng.random(sizes.sum()) < rng.beta(2, 2, size=120)[prompts]).astype(float)
    low, high = statistics.interval(np.stack([wins, wins], axis=1), prompts, seed=0)
    rate = wins.mean()
    residuals = np.bincount(prompts, wins) - rate * sizes
    error = np.sqrt(120 / 119 * (residuals**2).sum()) / sizes.sum()
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (0, 5), (9, 2), (1, 14)])
def test_the_test_of_mcnemar_is_the_binomial_one(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    number = first + second
    expected = stats.binomtest(first, number).pvalue if number else 1.0
    assert statistics.mcnemar(first, second) == pytest.approx(expected)
    assert statistics.mcnemar(second, first) == statistics.mcnemar(first, second)
