"""Words of texts, and runs of words, as numbers that are the same on every machine.

A word is a run of letters, marks, digits and underscores, in lower case and NFKC; where a script
writes no spaces, each character is a word. White space, punctuation and markup do not count, so
a text that was formatted anew has the words that it had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.hashing import hash64_bytes

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
WORD = rf"[{_UNSPACED}]|[\w--[{_UNSPACED}]]+"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word is lost in a product


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some texts, one text after the other, and where each text begins.

    `hashes` has a number for each word, `offsets` a number more than there are texts.
    """

    hashes: Hashes
    offsets: Places


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of words: a number each, and at which word each of them begins."""

    hashes: Hashes
    starts: Places


def words(texts: pl.Series) -> Words:
    """The words of each text; a null has none."""
    spelt = texts.fill_null("").str.extract_all(WORD)
    flat = spelt.list.explode(empty_as_null=False).to_arrow().cast(pa.large_string())
    distinct = flat.dictionary_encode()
    table = np.frombuffer(hash64_bytes(folded(distinct.dictionary), "word"), ">u8")
    hashes = table.astype(np.uint64)[arrow.numbers(distinct.indices)]
    return Words(hashes, _offsets(spelt.list.len().to_numpy()))


def folded(spelt: pa.Array | pl.Series) -> pl.Series:
    """Words as they are compared: lower case, NFKC."""
    return pl.Series(spelt, dtype=pl.String).str.normalize("NFKC").str.to_lowercase()


def runs(text_words: Words, lengths: Sequence[int]) -> Iterator[tuple[int, Runs]]:
    """Yields, for each of some lengths, all runs of so many words that lie within one text."""
    ends = np.repeat(text_words.offsets[1:], np.diff(text_words.offsets))
    hashes = np.zeros(len(ends), np.uint64)
    for step in range(max(lengths, default=0)):
        hashes = hashes[: max(0, len(ends) - step)] * _FACTOR + text_words.hashes[step:]
        if (length := step + 1) in lengths:
            starts = np.flatnonzero(np.arange(len(hashes)) + length <= ends[: len(hashes)])
            yield length, Runs(mixed(hashes[starts]), starts)


def text_of(text_words: Words, grams: Runs) -> Places:
    """The number of the text in which each run lies."""
    counts = np.diff(text_words.offsets)
    return np.repeat(np.arange(len(counts)), counts)[grams.starts]


def shingles(texts: pl.Series, length: int, seed: int = 0) -> tuple[npt.NDArray[np.uint32], Places]:
    """The set of runs of `length` words of each text, as sorted 32-bit numbers, and offsets.

    A text of fewer words is a single run; a text without words has no run. Another seed gives
    other numbers.
    """
    text_words = words(texts)
    ((_, grams),) = runs(text_words, [length])
    short, whole = _short_texts(text_words, length)
    counts = np.bincount(text_of(text_words, grams), minlength=len(texts))
    counts[short] = 1
    is_whole = np.repeat(np.bincount(short, minlength=len(texts)) > 0, counts)
    hashes = np.empty(len(is_whole), np.uint64)
    hashes[is_whole], hashes[~is_whole] = whole, grams.hashes
    hashes += np.uint64(seed * int(_FACTOR) % 2**64)
    return _sets(counts, mixed(hashes) if seed else hashes)


def variety(texts: pl.Series, length: int) -> tuple[npt.NDArray[np.float64], Places]:
    """For each text the share of its runs of words that are different, and how many words it has.

    A text without runs has a share of 1.
    """
    text_words = words(texts)
    ((_, grams),) = runs(text_words, [length])
    all_runs = np.bincount(text_of(text_words, grams), minlength=len(texts))
    _, offsets = _sets(all_runs, grams.hashes)
    share = np.where(all_runs > 0, np.diff(offsets) / np.maximum(all_runs, 1), 1.0)
    return share, np.diff(text_words.offsets)


def _sets(counts: Places, hashes: Hashes) -> tuple[npt.NDArray[np.uint32], Places]:
    """The different hashes of each text, sorted, as 32 bits, one text after the other; offsets.

    `counts` says how many of the hashes are of each text.
    """
    offsets, high = _offsets(counts), (hashes >> np.uint64(32)).astype(np.uint32)
    several = np.flatnonzero(counts > 1)
    for start, end in zip(offsets[several].tolist(), offsets[several + 1].tolist(), strict=True):
        high[start:end].sort()  # each by itself: four times as fast as all together
    is_new = np.diff(high, prepend=~high[:1]) != 0
    is_new[offsets[:-1][counts > 0]] = True
    new = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_new)])
    return high[is_new], new[offsets]


def _short_texts(text_words: Words, length: int) -> tuple[Places, Hashes]:
    """The texts that have words, but fewer than `length`, and the hash of each as a whole."""
    counts = np.diff(text_words.offsets)
    short = (counts > 0) & (counts < length)
    numbers, counts = np.flatnonzero(short), counts[short]
    rest = Words(text_words.hashes[np.repeat(short, np.diff(text_words.offsets))], _offsets(counts))
    hashes = np.empty(len(numbers), np.uint64)
    for count, grams in runs(rest, range(1, length)):
        text = text_of(rest, grams)
        whole = counts[text] == count
        hashes[text[whole]] = grams.hashes[whole]
    return numbers, hashes


def mixed(hashes: Hashes) -> Hashes:
    """Spreads the numbers over all their bits (the finaliser of SplitMix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _offsets(counts: npt.NDArray[np.integer]) -> Places:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
