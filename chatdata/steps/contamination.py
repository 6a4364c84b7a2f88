"""Test questions in the data: runs of words that messages share with evaluation sets.

A message is contaminated where it holds `ngram` words in a row (13, as in Brown et al. 2020,
appendix C) of a text of an item, or the whole of a text that is shorter, if that has at least
`min_words` words. Words are those of `ngrams`: case, punctuation, white space, markup and
indentation do not count, in prose as in code.

Two kinds of runs say nothing and are left out. Runs without variety, of whose words less than two
thirds (of a whole text: less than half) are different and hold a letter: rows of numbers, loops of
code. And runs that more than `common` different texts of a set have: the frame of its questions.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core import arrow
from chatdata.steps import ngrams, spoken
from chatdata.steps.entries import OverlapEntry
from chatdata.steps.evaluation_sets import EvaluationSet

# What was found: an item, and the conversation (in a tree source, the tree) that holds it.
FOUND = {"set": pl.String, "item": pl.String, "conversation": pl.String}


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What is known of an evaluation set: its name, its file, and how many items it has.

    `too_short` is the number of items that have no run of words to be found by.
    """

    set: str
    sha256: str
    items: int
    too_short: int


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """The evaluation sets that messages are compared with, and what was found of them.

    `sets` comes from `prepare`, `items` (of columns FOUND) from `label`; a sum has both.
    """

    sets: tuple[SetFacts, ...] = ()
    items: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FOUND))

    def __add__(self, more: Overlaps) -> Overlaps:
        """The sets of both, and what both found."""
        return Overlaps(self.sets + more.sets, pl.concat([self.items, more.items]))

    def entry(self) -> tuple[OverlapEntry, ...]:
        """What the manifest holds of each set: its facts, and how many of its items were found."""
        return tuple(self._entry_of(facts) for facts in self.sets)

    def _entry_of(self, facts: SetFacts) -> OverlapEntry:
        items = self.items.filter(set=facts.set)
        return OverlapEntry(
            **asdict(facts),
            items_found=items["item"].n_unique(),
            conversations=items["conversation"].n_unique(),
        )


_SHOWN = 160  # characters of a matched span in the ledger
_SIEVE = np.uint64(64 - 22)  # the high bits of a hash are looked up first, in a table of 4 MB


@dataclass(frozen=True, slots=True)
class Rule:
    """When a message holds an item: options of the filter."""

    ngram: int
    min_words: int
    common: int

    def lengths(self) -> range:
        """The lengths of the runs that are compared."""
        return range(min(self.min_words, self.ngram), self.ngram + 1)


# -------------------------------------------------------------------------------------------- index


@dataclass(frozen=True, slots=True)
class Index:
    """What is looked for.

    `items` has a row each (set, item); `runs` the hash of each run that counts, with its length
    and the number of its item, sorted by length and hash.
    """

    items: pl.DataFrame
    runs: pl.DataFrame


def index(texts: pl.DataFrame, rule: Rule) -> Index:
    """The index of the texts of evaluation sets, rows of `evaluation_sets.SCHEMA`."""
    items = texts.select("set", "item").unique(maintain_order=True)
    numbered = texts.join(items.with_row_index("number"), on=["set", "item"], maintain_order="left")
    words = ngrams.words(numbered["text"])
    lettered = _lettered(numbered["text"])
    runs = [_indexed(numbered, words, lettered, length, rule) for length in rule.lengths()]
    return Index(items, pl.concat(runs).sort("length", "hash", "number"))


def _lettered(texts: pl.Series) -> npt.NDArray[np.bool_]:
    """Whether each word of the texts holds a letter."""
    words = texts.str.extract_all(ngrams.WORD).list.explode(empty_as_null=False)
    return words.str.contains(r"\p{L}").to_numpy()


def _indexed(
    texts: pl.DataFrame,
    words: ngrams.Words,
    lettered: npt.NDArray[np.bool_],
    length: int,
    rule: Rule,
) -> pl.DataFrame:
    """The runs of this length that count: (length, hash, number)."""
    ((_, grams),) = ngrams.runs(words, [length])
    text = ngrams.text_of(words, grams)
    whole = np.diff(words.offsets)[text] == length
    has_variety = _different(words, lettered, grams, length) * 6 >= length * np.where(whole, 3, 4)
    chosen = np.flatnonzero((whole | (length == rule.ngram)) & has_variety)
    runs = texts.select("set", "number", text="text")[text[chosen]]
    runs = runs.with_columns(length=pl.lit(length, pl.Int32), hash=pl.Series(grams.hashes[chosen]))
    frame = pl.col("text").n_unique().over("set", "hash") > rule.common
    return runs.filter(frame.not_()).select("length", "hash", "number").unique()


def _different(
    text_words: ngrams.Words, lettered: npt.NDArray[np.bool_], grams: ngrams.Runs, length: int
) -> npt.NDArray[np.int64]:
    """How many different words with a letter each run has."""
    if not len(grams.starts):
        return np.empty(0, np.int64)
    words = np.where(lettered, text_words.hashes, np.uint64(0))
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(words, length)[grams.starts])
    return np.asarray(1 + (np.diff(windows) != 0).sum(axis=1) - (windows[:, 0] == 0))


def prepare(sets: Sequence[EvaluationSet], rule: Rule, folder: Path) -> Overlaps:
    """Writes the index of evaluation sets into a folder. Returns the facts about each set."""
    indexed = index(pl.concat([each.texts for each in sets]), rule)
    save(indexed, folder)
    searchable = comparable(indexed)
    return Overlaps(
        tuple(
            SetFacts(
                each.name, each.sha256, each.items(), each.items() - searchable.get(each.name, 0)
            )
            for each in sets
        )
    )


def comparable(indexed: Index) -> dict[str, int]:
    """For each set the number of its items that can be found at all."""
    used = indexed.items[indexed.runs["number"].unique().to_list()]["set"]
    return {name: int((used == name).sum()) for name in indexed.items["set"].unique()}


def save(indexed: Index, folder: Path) -> None:
    """Writes an index into a folder."""
    indexed.items.write_ipc(folder / "items.arrow")
    indexed.runs.write_ipc(folder / "runs.arrow")


@functools.lru_cache(maxsize=1)
def load(folder: Path) -> Index:
    """Reads an index; each process does so once."""
    return Index(arrow.read_table(folder / "items.arrow"), arrow.read_table(folder / "runs.arrow"))


# -------------------------------------------------------------------------------------------- match


@dataclass(frozen=True, slots=True)
class Match:
    """A stretch of a text that an item has too: words from `start` up to `end`."""

    item: int
    start: int
    end: int


def label(messages: pl.DataFrame, indexed: Index) -> tuple[pl.DataFrame, Overlaps]:
    """Adds `overlap` to messages: which item a message holds, and where; null where none.

    Returns also the items that were found.
    """
    words = spoken.all_words(messages)
    contents = words.drop_nulls().unique(maintain_order=True)
    held = matches(contents, indexed)
    details = {
        contents[text]: _detail(contents[text], indexed, hits) for text, hits in held.items()
    }
    holds = {contents[text]: [hit.item for hit in hits] for text, hits in held.items()}
    labelled = messages.with_columns(
        overlap=words.replace_strict(details, default=None, return_dtype=pl.String)
    )
    hit = labelled.with_columns(words=words).filter(pl.col("overlap").is_not_null())
    places = hit.select("words", place=pl.coalesce("conversation", "group"))
    rows = [
        (*indexed.items.row(item), place)
        for content, place in places.iter_rows()
        for item in holds[content]
    ]
    found_items = pl.DataFrame(rows, FOUND, orient="row").unique(maintain_order=True)
    return labelled, Overlaps((), found_items)


def matches(texts: pl.Series, indexed: Index) -> dict[int, list[Match]]:
    """For each text that holds items, by its number, the longest stretch of each; longest first."""
    words = ngrams.words(texts)
    hits = sorted(
        hit
        for length, runs in ngrams.runs(words, indexed.runs["length"].unique().to_list())
        for hit in _hits(words, runs, length, indexed.runs.filter(length=length))
    )
    stretches: dict[int, list[Match]] = {}
    for (text, item), group in itertools.groupby(hits, key=lambda hit: hit[:2]):
        longest = max(_joined(group), key=lambda span: (span[1] - span[0], -span[0]))
        stretches.setdefault(text, []).append(Match(item, *longest))
    for held in stretches.values():
        held.sort(key=lambda match: (match.start - match.end, match.item))
    return stretches


Hit = tuple[int, int, int, int]  # text, item, and the words from start up to end


def _hits(
    words: ngrams.Words, grams: ngrams.Runs, length: int, item_runs: pl.DataFrame
) -> Iterator[Hit]:
    """Yields where runs of texts are runs of items."""
    wanted = item_runs["hash"].to_numpy()
    sieve = np.zeros(1 << int(64 - _SIEVE), np.bool_)
    sieve[wanted >> _SIEVE] = True
    chosen = np.flatnonzero(sieve[grams.hashes >> _SIEVE])
    some = ngrams.Runs(grams.hashes[chosen], grams.starts[chosen])
    table = pl.DataFrame({"hash": some.hashes, "start": some.starts})
    table = table.with_columns(text=ngrams.text_of(words, some))
    begins = pl.Series(words.offsets)
    table = table.join(item_runs, on="hash", how="inner")
    starts = table["start"] - begins.gather(table["text"])
    spans = (starts, starts + length)
    yield from zip(table["text"], table["number"], *spans, strict=True)


def _joined(hits: Iterable[Hit]) -> Iterator[tuple[int, int]]:
    """Yields the stretches that hits of a text and an item cover together, hits in order."""
    start = end = 0
    for _, _, first, last in hits:
        if first > end:
            yield start, end
            start = first
        end = max(end, last)
    yield start, end


def _detail(content: str, indexed: Index, hits: list[Match]) -> str:
    """What a text shares with an item, in words; the longest stretch where there are several."""
    name, item = indexed.items.row(hits[0].item)
    more = f", and {len(hits) - 1} more" if len(hits) > 1 else ""
    first, last = _characters(content, hits[0])
    words = f"{hits[0].end - hits[0].start} words from character {first}"
    span = " ".join(content[first:last].split())
    shown = span if len(span) <= _SHOWN else span[: _SHOWN - 1] + "…"
    return f"{name}, item {item}{more}: {words}: {shown}"


def _characters(content: str, match: Match) -> tuple[int, int]:
    """Where the words of a match stand in a text, in characters."""
    (words,) = pl.Series([content]).str.extract_all(ngrams.WORD)
    first = end = 0
    for place, word in enumerate(words.head(match.end)):
        begin = content.index(word, end)
        end = begin + len(word)
        first = begin if place == match.start else first
    return first, end
