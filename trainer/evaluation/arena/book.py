"""What people say, click by click, on the disk before they see that it is saved.

`clicks.jsonl` has a line for each click, with all that the person has said of the prompt by then:
the last line of an annotator on a prompt counts, and all are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError
from trainer.evaluation import answers, journal
from trainer.evaluation.arena.contest import Contest, Item
from trainer.evaluation.journal import Lines

CLICKS = "clicks.jsonl"
_LONGEST_NAME = 40


class Judgement(NamedTuple):
    """What an annotator says of the answers to a prompt.

    `order` are the letters of the models in the order of their places, `ranks` the rank of the
    answer at each place: 1 is the best, and equal ranks are a tie. `correction` is an answer that
    the annotator has edited, None where it stands as the model wrote it; `is_kept` says that it, or
    the answer ranked first, is right. `is_blind` is false once the annotator has seen the results.
    """

    annotator: str
    id: str
    order: str
    ranks: tuple[int | None, ...]
    correction: str | None = None
    is_kept: bool = False
    is_skipped: bool = False
    is_blind: bool = True

    @property
    def status(self) -> str:
        """judged where every answer has a rank, or else skipped or open."""
        if self.is_skipped:
            return "skipped"
        return "open" if None in self.ranks else "judged"

    def rank_of(self) -> dict[str, int]:
        """The rank of each model, of a prompt that is judged."""
        pairs = zip(self.order, self.ranks, strict=True)
        return {letter: rank for letter, rank in pairs if rank is not None}

    def best(self) -> str:
        """The model whose answer is ranked first, of several the first on the page."""
        ranks = self.rank_of()
        return min(self.order, key=ranks.__getitem__)


class Book:
    """The judgements of a contest: those in its folder, and those that come.

    Several annotators may write at the same time. Raises OutputError where a run is writing.
    """

    def __init__(self, contest: Contest, out: Path) -> None:
        self.contest = contest
        self._lines = Lines(out / CLICKS)
        self._lock = threading.Lock()
        self._last, self._revealed = _read(self._lines.kept)

    def close(self) -> None:
        """Lets another run write."""
        self._lines.__exit__(None, None, None)

    def judgement(self, annotator: str, at: int) -> Judgement:
        """What an annotator has said last of the prompt at this place."""
        item = self.contest.items[at]
        with self._lock:
            return self._last.get((annotator, item.id)) or _blank(self.contest, annotator, item)

    def statuses(self, annotator: str) -> list[str]:
        """The status of each prompt for an annotator."""
        return [self.judgement(annotator, at).status for at in range(len(self.contest.items))]

    def save(self, annotator: str, at: int, values: Mapping[str, Any]) -> Judgement:
        """Writes what an annotator says now. Raises ConfigError for what nobody can say."""
        before = self.judgement(annotator, at)
        with self._lock:
            judgement = before._replace(
                ranks=_ranks(values.get("ranks"), len(before.order)),
                correction=_correction(values.get("correction")),
                is_kept=values.get("is_kept") is True,
                is_skipped=values.get("is_skipped") is True,
                is_blind=annotator not in self._revealed,
            )
            if judgement._replace(is_blind=before.is_blind) != before:
                self._lines.add(judgement._asdict())
                self._last[annotator, judgement.id] = judgement
        return judgement

    def reveal(self, annotator: str) -> None:
        """Writes that an annotator sees the results."""
        with self._lock:
            if annotator not in self._revealed:
                self._lines.add({"annotator": annotator, "revealed": True})
                self._revealed.add(annotator)


def judgements(out: Path) -> list[Judgement]:
    """What each annotator has said last of each prompt, in the order of the first clicks."""
    return list(_read(journal.read(out / CLICKS))[0].values())


def name(value: object) -> str:
    """The name of an annotator: words in small letters, as phones like to write large ones.

    Raises ConfigError for what is no name.
    """
    words = " ".join(answers.text(value, "the name of the annotator").split()).lower()
    if not words or len(words) > _LONGEST_NAME or not words.isprintable():
        raise ConfigError(f"a name of an annotator has 1 to {_LONGEST_NAME} letters.")
    return words


def _read(lines: Sequence[dict[str, Any]]) -> tuple[dict[tuple[str, str], Judgement], set[str]]:
    """The last judgements by annotator and prompt, and who has seen the results."""
    last, revealed = {}, set()
    for values in lines:
        if "revealed" in values:
            revealed.add(values["annotator"])
        else:
            judgement = Judgement(**values | {"ranks": tuple(values["ranks"])})
            last[judgement.annotator, judgement.id] = judgement
    return last, revealed


def _blank(contest: Contest, annotator: str, item: Item) -> Judgement:
    ranks = (None,) * len(contest.letters)
    return Judgement(annotator, item.id, contest.order(annotator, item), ranks)


def _ranks(value: object, number: int) -> tuple[int | None, ...]:
    if isinstance(value, list) and len(value) == number and all(_is_rank(v, number) for v in value):
        return tuple(value)
    raise ConfigError(f"ranks are a list of {number} numbers from 1 to {number}, or null.")


def _is_rank(value: object, number: int) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value is None or (is_number and value in range(1, number + 1))


def _correction(value: object) -> str | None:
    return None if value is None else answers.text(value, "the corrected answer")
