"""Words and runs of words: the same numbers everywhere, whatever stands around a text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.steps import ngrams

WORDS = ["a", "b", "c", "d_e", "漢字", "ü", "1", "."]
TEXT = st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join)
TEXTS = st.lists(TEXT | st.none(), max_size=8)
quick = settings(max_examples=50, derandomize=True)


def column(texts: list[str | None]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def spelt(text: str | None) -> list[str]:
    """The words of a text, by hand."""
    (words,) = column([text or ""]).str.extract_all(ngrams.WORD)
    return ngrams.folded(words).to_list()


def test_the_words_of_a_text() -> None:
    assert spelt("The quick-brown  fox_1, it's\n\n**bold**!") == [
        *("the", "quick", "brown", "fox_1", "it", "s", "bold")
    ]
    assert spelt("日本語 text, ไทย") == ["日", "本", "語", "text", "ไ", "ท", "ย"]
    assert spelt("Ａ ﬁ É") == ["a", "fi", "é"]
    assert spelt("?! … 👍") == []


def test_the_hashes_of_some_words_on_every_machine() -> None:
    """A golden: which pairs become candidates depends on these."""
    words = ngrams.words(column(["Hello, world"]))
    assert [f"{number:016x}" for number in words.hashes] == ["7f653042668bbfcf", "7baa077b3f98d277"]
    shingles, _ = ngrams.shingles(column(["Hello, world"]), 5)
    assert shingles.tolist() == [1211945117]


@pytest.mark.slow
@quick
@given(TEXTS, st.integers(1, 6))
def test_runs_are_those_that_one_finds_by_hand(texts: list[str | None], length: int) -> None:
    hashes = ngrams.words(column(texts))
    by_hand = {}
    for number, text in enumerate(texts):
        words = spelt(text)
        for start in range(len(words) - length + 1):
            by_hand[hashes.offsets[number] + start] = tuple(words[start : start + length])
    ((_, grams),) = ngrams.runs(hashes, [length])
    assert grams.starts.tolist() == sorted(by_hand)
    runs = dict(zip((by_hand[start] for start in grams.starts), grams.hashes, strict=True))
    assert all(
        runs[by_hand[start]] == hashes
        for start, hashes in zip(grams.starts, grams.hashes, strict=True)
    )
    assert len(set(runs.values())) == len(runs)


@pytest.mark.slow
@quick
@given(TEXTS)
def test_several_lengths_at_once_are_each_alone(texts: list[str | None]) -> None:
    words = ngrams.words(column(texts))
    together = dict(ngrams.runs(words, [2, 3, 5]))
    for length, runs in together.items():
        ((_, alone),) = ngrams.runs(words, [length])
        assert np.array_equal(runs.hashes, alone.hashes)
        assert np.array_equal(runs.starts, alone.starts)


@pytest.mark.slow
@quick
@given(TEXTS, st.integers(1, 5))
def test_the_shingles_of_a_text_do_not_depend_on_its_neighbours(
    texts: list[str | None], length: int
) -> None:
    values, offsets = ngrams.shingles(column(texts), length)
    for number, text in enumerate(texts):
        shingles = values[offsets[number] : offsets[number + 1]]
        alone, _ = ngrams.shingles(column([text]), length)
        assert shingles.tolist() == alone.tolist() == sorted(set(alone.tolist()))
        words = spelt(text)
        runs = {tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))}
        assert len(shingles) == (len(runs) if words else 0)


@pytest.mark.slow
@quick
@given(TEXTS, st.integers(1, 5))
def test_variety_is_the_share_of_different_runs(texts: list[str | None], length: int) -> None:
    share, counts = ngrams.variety(column(texts), length)
    for number, text in enumerate(texts):
        words = spelt(text)
        runs = Counter(tuple(words[i : i + length]) for i in range(len(words) - length + 1))
        assert counts[number] == len(words)
        assert share[number] == (len(runs) / runs.total() if runs else 1)


def test_formatting_does_not_change_the_shingles() -> None:
    plain = "def f(a): return a[0] + 1  # the first of them, plus one"
    formatted = "DEF f( a ):\n\n\treturn  a[0]+1   # *the first* of them; plus one!"
    expected, _ = ngrams.shingles(column([plain]), 5)
    shingles, _ = ngrams.shingles(column([formatted]), 5)
    assert expected.tolist() == shingles.tolist()
