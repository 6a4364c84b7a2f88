"""What steps count: small values that add up over the parts of a build.

A step returns the figures of the messages that it was given. `+` gives the figures of both, and
`entry` what the manifest holds of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

Counts = Mapping[str, Mapping[str, int]]  # of each thing that is counted: numbers by their names


class Figures(Protocol):
    """What a step counted."""

    def __add__(self, more: Self) -> Self:
        """The figures of both."""

    def entry(self) -> Any:
        """What the manifest holds of them: plain values, or None for nothing."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The figures of a step that counts nothing."""

    def __add__(self, more: Nothing) -> Nothing:
        """Nothing."""
        return self

    def entry(self) -> None:
        """The manifest holds none of them."""


@dataclass(frozen=True, slots=True)
class FiguresByKey:
    """The figures of several steps, by the key of the manifest that each is under."""

    by_key: Mapping[str, Figures] = field(default_factory=dict)

    def __add__(self, more: FiguresByKey) -> FiguresByKey:
        """The figures of both, key by key."""
        total = dict(self.by_key)
        for key, figures in more.by_key.items():
            total[key] = total[key] + figures if key in total else figures
        return FiguresByKey(total)

    def entry(self, key: str) -> Any:
        """What the manifest holds under this key; None where no step counted for it."""
        return self.by_key[key].entry() if key in self.by_key else None


def add_counts(counts: Counts, more: Counts) -> dict[str, dict[str, int]]:
    """The sum of counts, number by number; what is new in `more` comes last."""
    total = {name: dict(numbers) for name, numbers in counts.items()}
    for name, numbers in more.items():
        sums = total.setdefault(name, {})
        for key, number in numbers.items():
            sums[key] = sums.get(key, 0) + number
    return total
