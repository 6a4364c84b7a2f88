"""What the judgements of people amount to.

Each judgement compares each two models: 1 where the first has the better rank, 0 where the second
has it, 1/2 for a tie. Intervals are those of `statistics`, in which whole prompts are drawn.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.evaluation import statistics
from trainer.evaluation.arena import agreeing
from trainer.evaluation.arena.book import Judgement
from trainer.evaluation.arena.contest import Contest, Item

SUMMARY = "summary.json"
_OUTCOMES = {1.0: agreeing.FIRST, 0.5: agreeing.TIE, 0.0: agreeing.SECOND}


class Judged(NamedTuple):
    """A prompt that an annotator has judged."""

    item: Item
    judgement: Judgement

    def verdict(self, first: str, second: str) -> float:
        """1, 0 or 1/2 for a model against another."""
        ranks = self.judgement.rank_of()
        return 0.5 + 0.5 * float(np.sign(ranks[second] - ranks[first]))


def summary(
    contest: Contest, said_by: Sequence[Judgement], verdicts: Sequence[Path] = ()
) -> dict[str, Any]:
    """The numbers of a contest; `verdicts` are files of judges, which are compared with people.

    Raises ConfigError for verdicts on other answers.
    """
    judged = select(contest, said_by)
    people = _outcomes(contest, judged)
    seed = contest.settings["seed"]
    return {
        "n": len(judged),
        "prompts": len(contest.items),
        "prompts_judged": len({j.item.id for j in judged}),
        "models": contest.settings["models"],
        "annotators": _annotators(contest, said_by),
        "not_blind": sum(not j.judgement.is_blind for j in judged),
        "pairs": [_pair(judged, *two, seed) for two in itertools.combinations(contest.letters, 2)],
        "ranks": {letter: _model(contest, judged, letter) for letter in contest.letters},
        "position_bias": _position_bias(contest, judged),
        "length_bias": _length_bias(contest, judged),
        "agreement": agreeing.between_people(people),
        "judges": agreeing.with_judges(contest, people, verdicts),
        "settings": contest.settings,
        "versions": {name: metadata.version(name) for name in ("numpy", "nltk")},
    }


def select(contest: Contest, said_by: Sequence[Judgement]) -> list[Judged]:
    """The prompts that are judged, in the order of the prompts and of the annotators' names."""
    items = {item.id: item for item in contest.items}
    places = {id: place for place, id in enumerate(items)}
    judged = [Judged(items[j.id], j) for j in said_by if j.status == "judged" and j.id in items]
    return sorted(judged, key=lambda j: (places[j.item.id], j.judgement.annotator))


def _annotators(contest: Contest, said_by: Sequence[Judgement]) -> dict[str, dict[str, int]]:
    """How many prompts each annotator has judged, skipped, kept an answer of, and edited it."""
    counted: dict[str, dict[str, int]] = {}
    for annotator in sorted({j.annotator for j in said_by}):
        of = [j for j in said_by if j.annotator == annotator]
        statuses = Counter(j.status for j in of)
        kept = [j for j in of if j.status == "judged" and j.is_kept]
        counted[annotator] = {
            "judged": statuses["judged"],
            "skipped": statuses["skipped"],
            "left": len(contest.items) - statuses["judged"] - statuses["skipped"],
            "kept": len(kept),
            "edited": sum(j.correction is not None for j in kept),
        }
    return counted


# ----------------------------------------------------------------------------------------- models


def _prompts(judged: Sequence[Judged]) -> statistics.Ints:
    return statistics.numbered(j.item.prompt for j in judged)


def _share(
    judged: Sequence[Judged], of: Callable[[Judged], float], seed: int
) -> tuple[float | None, list[float] | None]:
    """The mean of a number from 0 to 1, and its interval."""
    if not judged:
        return None, None
    values = np.array([[of(j)] * 2 for j in judged], dtype=np.float64)
    return float(values.mean()), list(statistics.interval(values, _prompts(judged), seed))


def _pair(judged: Sequence[Judged], first: str, second: str, seed: int) -> dict[str, Any]:
    """How often a model is ranked before another."""
    rate, interval = _share(judged, lambda j: j.verdict(first, second), seed)
    counts = Counter(_OUTCOMES[j.verdict(first, second)] for j in judged)
    numbers = {
        "first": first,
        "second": second,
        "n": len(judged),
        "wins": counts[agreeing.FIRST],
        "losses": counts[agreeing.SECOND],
        "ties": counts[agreeing.TIE],
        "win_rate": rate,
        "win_rate_interval": interval,
    }
    lengthwise = ("length_controlled_win_rate", "length_bias")
    if not judged:
        return numbers | dict.fromkeys(lengthwise)
    verdicts, lengths = _with_lengths(judged, first, second)
    controlled = statistics.length_controlled(verdicts, lengths)
    bias = statistics.length_bias(verdicts, lengths)
    return numbers | dict(zip(lengthwise, (controlled, bias), strict=True))


def _with_lengths(
    judged: Sequence[Judged], first: str, second: str
) -> tuple[statistics.Floats, statistics.Ints]:
    verdicts = np.array([[j.verdict(first, second)] * 2 for j in judged], dtype=np.float64)
    texts = [j.item.answers for j in judged]
    lengths = np.array([(len(of[first]), len(of[second])) for of in texts], dtype=np.int64)
    return verdicts, lengths


def _length_bias(contest: Contest, judged: Sequence[Judged]) -> float | None:
    """The share of decided comparisons that prefer the longer answer."""
    if not judged:
        return None
    twos = [_with_lengths(judged, *two) for two in itertools.combinations(contest.letters, 2)]
    verdicts, lengths = (np.concatenate(parts) for parts in zip(*twos, strict=True))
    return statistics.length_bias(verdicts, lengths)


def mid_ranks(judgement: Judgement) -> dict[str, float]:
    """The rank of each model, where those of a tie share the mean of their places: 1, 2.5, 2.5."""
    ranks = judgement.rank_of()
    better = {letter: sum(r < ranks[letter] for r in ranks.values()) for letter in ranks}
    equal = Counter(ranks.values())
    return {letter: better[letter] + (equal[ranks[letter]] + 1) / 2 for letter in ranks}


def _first(judged: Judged, letter: str) -> float:
    """The part that a model has in the first place."""
    ranks = judged.judgement.rank_of()
    best = [name for name in ranks if ranks[name] == min(ranks.values())]
    return (letter in best) / len(best)


def _model(contest: Contest, judged: Sequence[Judged], letter: str) -> dict[str, Any]:
    """The mean rank of a model and its share of first places."""
    seed, wide = contest.settings["seed"], len(contest.letters) - 1
    mean, ends = _share(judged, lambda j: (mid_ranks(j.judgement)[letter] - 1) / wide, seed)
    first, first_ends = _share(judged, lambda j: _first(j, letter), seed)
    return {
        "mean_rank": None if mean is None else 1 + wide * mean,
        "mean_rank_interval": None if ends is None else [1 + wide * end for end in ends],
        "first": first,
        "first_interval": first_ends,
    }


def _position_bias(contest: Contest, judged: Sequence[Judged]) -> dict[str, Any]:
    """The share of first places that goes to each place on the page."""
    places, seed = range(len(contest.letters)), contest.settings["seed"]

    def first_at(place: int) -> Callable[[Judged], float]:
        return lambda j: _first(j, j.judgement.order[place])

    shares = [_share(judged, first_at(place), seed) for place in places]
    return {
        "first_by_place": [share for share, _ in shares],
        "first_by_place_interval": [ends for _, ends in shares],
        "without_bias": 1 / len(places),
    }


def _outcomes(contest: Contest, judged: Sequence[Judged]) -> agreeing.Outcomes:
    """What each annotator says of each two answers to a prompt."""
    by: agreeing.Outcomes = defaultdict(dict)
    for j in judged:
        for first, second in itertools.combinations(contest.letters, 2):
            outcome = _OUTCOMES[j.verdict(first, second)]
            by[j.judgement.annotator][agreeing.key(j.item.id, first, second)] = outcome
    return dict(sorted(by.items()))
