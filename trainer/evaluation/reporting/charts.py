"""The geometry of the charts on the page, in units of their drawings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainer.evaluation.rubric import HIGHEST, LOWEST

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 4, 16, 34  # around the bars
_BAR, _GAP = 14, 2
_MOST_TICKS = 5


class Bar(NamedTuple):
    """A bar, whose answers are those of a side."""

    x: float
    y: float
    width: float
    height: float
    side: str
    number: int
    words: str


class Tick(NamedTuple):
    """A place on an axis, with its value."""

    at: float
    value: str


class Histogram(NamedTuple):
    """Two sides' numbers of each score."""

    bars: list[Bar]
    across: list[Tick]
    up: list[Tick]
    bottom: float
    words: str


def histogram(of_sides: Mapping[str, Mapping[str, int]]) -> Histogram:
    """A histogram of scores from 1 to 8, a pair of bars each; halves count upwards."""
    counts = {side: _whole(of) for side, of in of_sides.items()}
    ticks = _ticks(max([1, *(max(of.values()) for of in counts.values())]))
    bottom, scale = HEIGHT - _BOTTOM, (HEIGHT - _TOP - _BOTTOM) / ticks[-1]
    step = (WIDTH - _LEFT - _RIGHT) / (HIGHEST - LOWEST + 1)
    bars = []
    for place, side in enumerate(counts):
        for score, number in counts[side].items():
            middle = _LEFT + (score - LOWEST + 0.5) * step
            x = middle + (place - 1) * _BAR + (place - 0.5) * _GAP
            height = number * scale
            words = f"{side}: score {score}, {number} times"
            bars.append(Bar(x, bottom - height, _BAR, height, side, number, words))
    across = [
        Tick(_LEFT + (score - LOWEST + 0.5) * step, str(score))
        for score in range(LOWEST, HIGHEST + 1)
    ]
    up = [Tick(bottom - number * scale, f"{number:,}") for number in ticks]
    return Histogram(bars, across, up, bottom, "; ".join(bar.words for bar in bars if bar.number))


def _whole(of: Mapping[str, int]) -> dict[int, int]:
    counts = dict.fromkeys(range(LOWEST, HIGHEST + 1), 0)
    for score, number in of.items():
        counts[math.floor(float(score) + 0.5)] += number
    return counts


def _ticks(most: int) -> list[int]:
    """Whole numbers from 0 to `most` or a little above, as far apart as is read with ease."""
    steps = (factor * 10**power for power in range(10) for factor in (1, 2, 5))
    step = next(step for step in steps if step * (_MOST_TICKS - 1) >= most)
    return [step * place for place in range(math.ceil(most / step) + 1)]


def strip(
    name: str, value: float | None, ends: Any, words: str, ring: float | None = None
) -> dict[str, Any]:
    """A line of a chart of shares from 0 to 100 %: a value, its interval, and a second value."""
    low, high = ends or (value, value)
    return {"name": name, "value": value, "low": low, "high": high, "words": words, "ring": ring}
