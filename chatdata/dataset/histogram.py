"""Lengths in few numbers: quantiles, and a histogram in whole steps."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from chatdata.core.document import Number, Part

_QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_MOST_STEPS = 24


class Histogram(Part):
    """Quantiles of whole numbers, and how many of them fall in each step of `width` from 0.

    `steps[i]` counts the numbers from `i * width` up to the next step; the last step, which begins
    at most one step after the 99th percentile, has no end.
    """

    min: Number = Field(description="The least number.")
    median: Number = Field(description="The median.")
    p90: Number = Field(description="Nine of ten are at most this.")
    p99: Number = Field(description="Ninety-nine of a hundred are at most this.")
    max: Number = Field(description="The greatest number.")
    width: Number = Field(description="The width of a step.")
    steps: tuple[Number, ...] = Field(
        description="How many numbers fall in each step; the last has no end."
    )


def quantiles(values: pl.Series) -> dict[str, int]:
    """The least, the median, two high quantiles and the greatest of whole numbers."""
    return {
        name: int(values.quantile(q, interpolation="nearest") or 0)
        for name, q in _QUANTILES.items()
    }


def describe(values: npt.NDArray[np.int64]) -> Histogram:
    """The histogram of whole numbers, none of them below 0."""
    known = quantiles(pl.Series(values))
    width = _width(known["p99"])
    steps = np.minimum(values // width, known["p99"] // width + 1)
    return Histogram(**known, width=width, steps=tuple(np.bincount(steps).tolist()))


def _width(top: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... of which few reach up to `top`."""
    widths = (digit * int(10**zeros) for zeros in itertools.count() for digit in (1, 2, 5))
    return next(width for width in widths if top // width < _MOST_STEPS)
