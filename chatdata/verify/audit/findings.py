"""What a check finds: how many cases of how many, and an example that shows no secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import polars as pl

from chatdata.steps import secrets

_SHOWN = 72  # characters of an example
_BEFORE = 24  # of them before the place that matters
_MOST_KINDS = 8  # of cases, that are named
_MASK = "\N{FULL BLOCK}"
_MOST_SEARCHED = 20_000  # characters around an example in which secrets are looked for

Kind = Literal["messages", "records", "tokens"]
Gather = Callable[[Any], pl.DataFrame]
Outcome = Literal["ok", "fault", "remark", "skipped"]
MARKS: dict[Outcome, str] = {"ok": "✓", "fault": "✗", "remark": "•", "skipped": "–"}


class Example(NamedTuple):
    """A case: the id of its message, conversation or row, where it was read, and a few words."""

    id: str
    where: str
    words: str


@dataclass(frozen=True, slots=True)
class Cases:
    """How many cases a check found, of how many, an example, and what else there is to say."""

    count: int = 0
    of: int = 0
    example: Example | None = None
    tally: dict[str, int] = field(default_factory=dict)  # cases by kind, where there are kinds
    why: str = ""  # nothing was looked at, if nothing was

    def __add__(self, more: Cases) -> Cases:
        """The cases of both; the example of the first that has any."""
        tally = {
            kind: self.tally.get(kind, 0) + more.tally.get(kind, 0)
            for kind in [*self.tally, *(kind for kind in more.tally if kind not in self.tally)]
        }
        example = self.example or more.example
        numbers = (self.count + more.count, self.of + more.of)
        return Cases(*numbers, example, tally, self.why or more.why)


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a batch of messages or rows of tokens.

    `look` is a pure function from a batch and what is known to the cases in the batch. `needs`
    are the attributes of `Known` without which nothing can be looked at.
    """

    name: str
    about: str  # what is right where nothing was found
    means: str  # what a case means for the training
    way_out: str
    unit: str  # of what is counted, in the plural
    look: Callable[[Any, Any], Cases]
    needs: tuple[str, ...] = ()
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """A check of everything at once: `gather` keeps a small table of a batch, `conclude` looks at
    the tables of all batches."""

    name: str
    about: str
    means: str
    way_out: str
    unit: str
    gather: Gather
    conclude: Callable[[pl.DataFrame], Cases]
    needs: tuple[str, ...] = ()
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a check over all that was read; `why` says why it was skipped."""

    kind: Kind
    check: Check | Comparison
    cases: Cases
    why: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether the check found faults, has a remark, found nothing, or was skipped."""
        if self.why:
            return "skipped"
        if self.check.is_fault:
            return "fault" if self.cases.count else "ok"
        return "remark" if self.cases.count else "ok"

    @property
    def headline(self) -> str:
        """What was found, in a line: what is right, or how many cases of how many."""
        if self.why:
            return f"not looked at: {self.why}"
        if not self.cases.count:
            return f"{self.check.about} ({self.cases.of:,} {self.check.unit})"
        return f"{self.cases.count:,} of {self.cases.of:,} {self.check.unit}"

    @property
    def details(self) -> str:
        """The cases by kind, the most frequent first; empty where there are no kinds."""
        kinds = sorted(self.cases.tally.items(), key=lambda item: (-item[1], item[0]))
        more = len(kinds) - _MOST_KINDS
        shown = [f"{kind} {number:,}" for kind, number in kinds[:_MOST_KINDS]]
        return ", ".join(shown) + (f", and {more} more" if more > 0 else "")

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        check, cases = self.check, self.cases
        return {
            "rows": self.kind,
            "check": check.name,
            "outcome": self.outcome,
            "cases": cases.count,
            "of": cases.of,
            "unit": check.unit,
            "by_kind": cases.tally,
            "example": cases.example and cases.example._asdict(),
            "about": check.about,
            "means": check.means,
            "way_out": check.way_out,
            "why_skipped": self.why or None,
        }


def excerpt(text: str, at: int = 0) -> str:
    """A few words of a text around a place, in a line. Secrets and personal data are masked."""
    start = max(0, at - _MOST_SEARCHED)
    near = text[start : at + _MOST_SEARCHED]
    for finding in secrets.find(pl.Series([near], dtype=pl.String)).get(0, []):
        mask = _MASK * (finding.end - finding.start)
        near = near[: finding.start] + mask + near[finding.end :]
    place = at - start
    first = max(0, place - _BEFORE)
    words = " ".join(near[first : first + _SHOWN].split())
    before = "…" if first or start else ""
    return before + words + ("…" if len(text) > start + first + _SHOWN else "")
