"""How far judges agree on the same pairs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

_OUTCOMES = ("A", "B", "tie", "inconsistent")  # others are no judgement


def between(outcomes: Mapping[str, Mapping[str, str]]) -> dict[str, Any] | None:
    """Krippendorff's alpha of all judges, and Cohen's kappa and the share of equal outcomes of each
    two; `outcomes` is by judge and pair. None for a judge alone.

    Both are of NLTK, for outcomes without an order: A, B, tie, inconsistent. Judges are compared
    on the pairs that both have judged, alpha on those that at least two have. A figure is None
    where judges give a single outcome to all of these.
    """
    if len(outcomes) < 2:
        return None
    judged = {
        judge: {pair: value for pair, value in of.items() if value in _OUTCOMES}
        for judge, of in outcomes.items()
    }
    of_two = [
        {"judges": list(two), **_two(judged[two[0]], judged[two[1]])}
        for two in itertools.combinations(judged, 2)
    ]
    return {"alpha": _measure("alpha", _shared(judged)), "pairs_of_judges": of_two}


def _shared(judged: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The outcomes of the pairs that at least two have judged."""
    times = Counter(pair for of in judged.values() for pair in of)
    return {
        judge: {pair: value for pair, value in of.items() if times[pair] > 1}
        for judge, of in judged.items()
    }


def _two(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, Any]:
    common = [pair for pair in first if pair in second]
    both = {"first": {p: first[p] for p in common}, "second": {p: second[p] for p in common}}
    same = sum(first[pair] == second[pair] for pair in common)
    return {
        "pairs": len(common),
        "equal": same / len(common) if common else None,
        "kappa": _measure("kappa", both),
    }


def _measure(name: str, judged: Mapping[str, Mapping[str, str]]) -> float | None:
    from nltk.metrics.agreement import AnnotationTask

    rows = [(judge, pair, value) for judge, of in judged.items() for pair, value in of.items()]
    if len({value for _, _, value in rows}) < 2:
        return None
    return float(getattr(AnnotationTask(data=rows), name)())
