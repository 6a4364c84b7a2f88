"""What the parts of a build add up, and what a whole build gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from chatdata.core.tallies import Counts, Tally
from chatdata.dataset.entries import ShardEntry
from chatdata.pipeline.context import EncoderChoice
from chatdata.pipeline.digests import Digests
from chatdata.pipeline.reading import ReadResult
from chatdata.render.encoding.audit import Audit
from chatdata.render.parity import ParityCounts
from chatdata.render.unknown import Unknown
from chatdata.steps.clean import Cleaned
from chatdata.steps.entries import ClustersEntry, ForgottenEntry
from chatdata.steps.figures import FiguresByKey, add_counts

PairDigests = list[tuple[str, bytes]]  # the id of each row, and its digest


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many rows have each length, by the name of what is measured: turns, tokens."""

    by_name: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def __add__(self, more: Lengths) -> Lengths:
        """The lengths of both."""
        names = dict.fromkeys([*self.by_name, *more.by_name])
        return Lengths({name: self._of(name) + more._of(name) for name in names})

    def _of(self, name: str) -> Counter[int]:
        return Counter(self.by_name.get(name, {}))

    def each(self, name: str) -> npt.NDArray[np.int64]:
        """The length of each row, sorted."""
        sizes = sorted(self.by_name[name].items())
        lengths, numbers = np.array(sizes, np.int64).reshape(-1, 2).T
        return np.repeat(lengths, numbers)


def lengths_of(sizes: Mapping[str, npt.NDArray[np.int64]]) -> Lengths:
    """The lengths of some rows, by name."""
    counted = {name: np.unique(each, return_counts=True) for name, each in sizes.items()}
    return Lengths(
        {
            name: dict(zip(lengths.tolist(), numbers.tolist(), strict=True))
            for name, (lengths, numbers) in counted.items()
        }
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over rows, by split: rows, messages, bytes, and of tokens where there are any."""

    by_split: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, more: Totals) -> Totals:
        """The sums over both."""
        return Totals(add_counts(self.by_split, more.by_split))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStats:
    """What the passes over a part add up: a field for each step. The sum of parts is a PartStats.

    A figure is a field whose type has `+`, and whose default is the figure of nothing at all. What
    has a value for each conversation stands in files.
    """

    # The first pass: clean, annotate, thread, drop.
    cleaned: Cleaned = field(default_factory=Cleaned)
    figures: FiguresByKey = field(default_factory=FiguresByKey)
    conversations: int = 0  # that threading made
    threaded: int = 0  # conversations that are left for the second pass
    with_variables: int = 0  # those of them that have variables for their template
    with_weights: int = 0  # messages of these that have a weight
    with_parts: int = 0  # messages of these that have `train_parts`
    named: Counter[str] = field(default_factory=Counter)  # rows that `keep` names, by id
    kept: Counter[str] = field(default_factory=Counter)  # conversations of pieces it names
    forgotten: Counter[str] = field(default_factory=Counter)  # rows that `forget` names, by id
    answers: int = 0  # of trees, to choose from, where a recipe makes pairs

    # The second pass: drop what repeats, split, render.
    tally: Tally = field(default_factory=Tally)
    totals: Totals = field(default_factory=Totals)
    lengths: Lengths = field(default_factory=Lengths)
    digests: Digests = field(default_factory=Digests)
    languages: Counter[str] = field(default_factory=Counter)  # rows
    sources: Counter[str] = field(default_factory=Counter)  # rows
    source_tokens: Totals = field(default_factory=Totals)  # tokens, by source, where they decide
    repeats: int = 0  # rows that stand for a conversation again
    variables: Counter[str] = field(default_factory=Counter)  # rows, by variable
    weighted_messages: int = 0
    messages_in_parts: int = 0
    leaking_groups: int = 0
    pair_totals: Totals = field(default_factory=Totals)
    pair_digests: tuple[PairDigests, ...] = ()
    questions: int = 0  # that pairs are of
    ranked_totals: Totals = field(default_factory=Totals)
    ranked_digests: tuple[PairDigests, ...] = ()
    pair_token_totals: Totals = field(default_factory=Totals)
    pair_token_digests: tuple[PairDigests, ...] = ()
    pairs_without_tokens: Counter[str] = field(default_factory=Counter)  # by reason
    pair_parity: ParityCounts = field(default_factory=ParityCounts)
    parity: ParityCounts = field(default_factory=ParityCounts)
    audit: Audit = field(default_factory=Audit)
    unknown: Unknown = field(default_factory=Unknown)

    def __add__(self, more: PartStats) -> PartStats:
        """The figures of both, field by field."""
        names = (figure.name for figure in fields(self))
        return PartStats(**{name: getattr(self, name) + getattr(more, name) for name in names})


def total(parts: Iterable[PartStats]) -> PartStats:
    """The sum of parts: of pairs, then of pairs of pairs, so that what grows with the input, as
    lengths do, is not copied for each part."""
    sums: list[tuple[int, PartStats]] = []  # how many parts, and their sum
    for part in parts:
        number, stats = 1, part
        while sums and sums[-1][0] == number:
            _, before = sums.pop()
            number, stats = 2 * number, before + stats
        sums.append((number, stats))
    return sum((stats for _, stats in sums), PartStats())


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build gives: the figures of all parts, and what is known of the whole alone."""

    stats: PartStats
    content_hash: str  # of all rows
    counts: Counts  # the ledger, balanced
    answers: Mapping[str, Any] | None = None  # where pairs are made: what became of the answers
    files: tuple[ShardEntry, ...]
    encoder: EncoderChoice
    near_duplicates: dict[str, ClustersEntry]  # by filter
    epochs: Mapping[str, float] = field(default_factory=dict)  # of each source
    forgotten: ForgottenEntry | None = None  # where the recipe forgets anything
    read: ReadResult | None = None  # None: no source was read
