"""Which prompts of a model are used: none that repeats another, or holds a test question.

What a word is, what runs of words two texts share, and what holds a question of an evaluation set
is decided by `chatdata.steps`, as for the conversations that are trained on: a prompt that may be
used for a test is then also a prompt that a build would find in its data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.hashing import sha256_file
from chatdata.sources import File
from chatdata.steps import contamination, evaluation_sets, ngrams
from trainer.evaluation.prompt_requests import Kind

RULE = contamination.Rule(ngram=13, min_words=8, common=3)  # as of the filter `contaminated`
RUN = 2  # words: prompts are short, and an exchanged word touches two runs of two
_FEWEST_WORDS = 4
_CODE_SIGNS = re.compile(r"[()\[\]{}=;]")
_FEWEST_SIGNS = 3  # of code, or of two lines of it

REASONS = ("too_short", "no_code", "overlap", "near_duplicate", "surplus")


class Candidate(NamedTuple):
    """A prompt that a model made."""

    id: str
    kind: Kind
    prompt: str


class Outcome(NamedTuple):
    """What became of a candidate: `reason` is None where it is used."""

    candidate: Candidate
    reason: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sieve:
    """Evaluation sets, and from which share of common runs of words on two prompts are alike."""

    likeness: float = 0.5
    against: tuple[Path, ...] = ()
    index: contamination.Index | None = None

    @classmethod
    def of(cls, likeness: float, against: Sequence[Path]) -> Sieve:
        """A sieve for the evaluation sets in files. Raises SourceError for a file that is none."""
        sets = [evaluation_sets.texts(File(path, path.name), []) for path in against]
        index = contamination.index(pl.concat(sets), RULE) if sets else None
        return cls(likeness, tuple(against), index)

    def settings(self) -> dict[str, Any]:
        """All that decides what goes."""
        sets = [{"file": path.name, "sha256": sha256_file(path)} for path in self.against]
        return {"likeness": self.likeness, "against": sets}

    def sift(self, candidates: Sequence[Candidate], wanted: dict[Kind, int]) -> list[Outcome]:
        """What becomes of each candidate, in order: the first of those that are alike stays, and
        of each kind no more than are wanted."""
        overlaps = self._overlaps(candidates)
        alike = _Alike([each.prompt for each in candidates], self.likeness)
        room, outcomes = dict(wanted), []
        for number, candidate in enumerate(candidates):
            outcome = _unfit(candidate) or overlaps.get(number) or ("", "")
            if not outcome[0] and (like := alike.add(number)):
                share, first = like
                outcome = ("near_duplicate", f"{share:.2f} like {candidates[first].id}")
            if not outcome[0] and room[candidate.kind] <= 0:
                outcome = ("surplus", "")
            room[candidate.kind] -= not outcome[0]
            outcomes.append(Outcome(candidate, outcome[0] or None, outcome[1]))
        return outcomes

    def _overlaps(self, candidates: Sequence[Candidate]) -> dict[int, tuple[str, str]]:
        if self.index is None or not candidates:
            return {}
        texts = pl.Series([each.prompt for each in candidates], dtype=pl.String)
        held = contamination.matches(texts, self.index)
        return {number: ("overlap", self._item(hits[0])) for number, hits in held.items()}

    def _item(self, match: contamination.Match) -> str:
        assert self.index is not None
        name, item = self.index.items.row(match.item)
        return f"{name}, item {item}: {match.end - match.start} words"


def _unfit(candidate: Candidate) -> tuple[str, str] | None:
    """Why a candidate is no prompt of its kind."""
    words = len(candidate.prompt.split())
    if words < _FEWEST_WORDS:
        return "too_short", f"{words} words"
    if candidate.kind == "review" and len(_CODE_SIGNS.findall(candidate.prompt)) < _FEWEST_SIGNS:
        return "no_code", "nothing to review"
    return None


class _Alike:
    """Texts by their runs of words; those that stay so far are compared with the next."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        values, offsets = ngrams.shingles(pl.Series(texts, dtype=pl.String), RUN)
        self._sets = np.split(values, offsets[1:-1]) if len(texts) else []
        self._threshold = threshold
        self._stay = list[int]()

    def add(self, number: int) -> tuple[float, int] | None:
        """How much a text is like the one that it is most like, and the number of that one, where
        that is too much; else the text stays."""
        shares = list(self._shares(self._sets[number]))
        share, first = max(shares, key=lambda pair: pair[0], default=(0.0, 0))
        if share >= self._threshold:
            return share, first
        self._stay.append(number)
        return None

    def _shares(self, words: npt.NDArray[np.uint32]) -> Iterator[tuple[float, int]]:
        """Yields the share of common runs in all runs of a text and each that stays."""
        for number in self._stay:
            shared = len(np.intersect1d(words, self._sets[number], assume_unique=True))
            everything = len(words) + len(self._sets[number]) - shared
            yield shared / max(everything, 1), number
