"""Redaction on 600 and more real-shaped strings: what it finds, and what it leaves."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from chatdata.steps import secrets
from tests.support import secret_strings
from tests.support.secret_strings import Example

EXAMPLES = secret_strings.examples()
FOUND = secrets.find(pl.Series([example.text for example in EXAMPLES]))


def is_whole(example: Example, number: int) -> bool:
    """Whether nothing of what is to be found in an example is left."""
    findings = FOUND.get(number, [])
    return all(
        any(f.start <= start and end <= f.end and f.kind == example.kind for f in findings)
        for start, end in example.spans
    )


def test_the_set_is_large_balanced_and_always_the_same() -> None:
    counts = Counter(bool(example.spans) for example in EXAMPLES)
    assert len(EXAMPLES) >= 600
    assert counts[False] >= counts[True] >= 200
    assert secret_strings.examples() == EXAMPLES
    assert {example.kind for example in EXAMPLES} == {*secrets.KINDS, ""}


@pytest.mark.parametrize("kind", secrets.KINDS)
def test_recall(kind: str) -> None:
    numbers = [n for n, example in enumerate(EXAMPLES) if example.kind == kind]
    missed = [EXAMPLES[n].text for n in numbers if not is_whole(EXAMPLES[n], n)]
    assert 1 - len(missed) / len(numbers) >= 0.95, missed


@pytest.mark.parametrize("kind", secrets.KINDS)
def test_precision(kind: str) -> None:
    findings = [(n, f) for n, held in FOUND.items() for f in held if f.kind == kind]
    wrong = [
        EXAMPLES[n].text[f.start : f.end]
        for n, f in findings
        if not any(f.start < end and start < f.end for start, end in EXAMPLES[n].spans)
    ]
    assert 1 - len(wrong) / len(findings) >= 0.98, wrong
