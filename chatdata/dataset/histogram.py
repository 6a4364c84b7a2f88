"""How long things are, in few numbers: quantiles, and a histogram in whole steps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_MOST_STEPS = 24


def quantiles(values: pl.Series) -> dict[str, int]:
    """The least, the median, two high quantiles and the greatest of whole numbers."""
    return {
        name: int(values.quantile(q, interpolation="nearest") or 0)
        for name, q in _QUANTILES.items()
    }


def describe(values: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Quantiles, and how many values there are in each step of `width`, counted from 0.

    `steps[i]` counts the values from `i * width` up to the next step; the last step, which begins
    at most one step behind the 99th percentile, has no end.
    """
    own = quantiles(pl.Series(values))
    width = _width(own["p99"])
    steps = np.minimum(values // width, own["p99"] // width + 1)
    return {**own, "width": width, "steps": np.bincount(steps).tolist()}


def _width(top: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... of which few reach up to `top`."""
    widths = (digit * int(10**zeros) for zeros in itertools.count() for digit in (1, 2, 5))
    return next(width for width in widths if top // width < _MOST_STEPS)
