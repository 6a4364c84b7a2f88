"""MinHash signatures of sets of numbers, and which of them agree in a band.

One permutation (Li, Owen and Zhang 2012): the numbers are hashes already, so a set is cut into as
many bins as a signature has places, by size, and the smallest number of each bin is its place. An
empty bin takes the number of the bin that comes first in an order of its own (Shrivastava 2017).
Two signatures agree in a place as often as their sets are alike, with one look at each number.
All of it is arithmetic of integers: the same on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from chatdata.steps import ngrams

Numbers = npt.NDArray[np.uint32]
Signatures = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

_AT_ONCE = 2**22  # looks at bins


def signatures(values: Numbers, offsets: Rows, places: int) -> Signatures:
    """The signature of each set, a row each; an empty set has zeros.

    `values` are the numbers of each set in order, one set after the other from `offsets`.
    """
    sets = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    bins = (values.astype(np.uint64) * np.uint64(places)) >> np.uint64(32)
    cells = sets * places + bins.astype(np.int64)
    first = np.flatnonzero(np.diff(cells, prepend=-1))
    cells = cells[first]
    made = np.zeros((len(offsets) - 1, places), np.uint32)
    made.ravel()[cells] = values[first]
    _fill(made, cells)
    return made


def _fill(made: Signatures, cells: Rows) -> None:
    """Fills the empty places of signatures, of which these cells are filled."""
    places = made.shape[1]
    counts = np.bincount(cells // places, minlength=len(made))
    ends = np.cumsum(counts)
    sparse = np.flatnonzero((counts > 0) & (counts < places))
    step = max(1, _AT_ONCE // places**2)
    turns, bins = _turns(places)
    for start in range(0, len(sparse), step):
        rows = sparse[start : start + step]
        length = counts[rows]
        begins = np.cumsum(length) - length
        held = np.repeat(ends[rows] - length - begins, length) + np.arange(length.sum())
        first = np.minimum.reduceat(turns[cells[held] % places], begins, axis=0)
        source = bins[np.arange(places), first]
        made[rows] = np.take_along_axis(made[rows], source, axis=1)


@functools.lru_cache(maxsize=4)
def _turns(places: int) -> tuple[npt.NDArray[np.unsignedinteger], Rows]:
    """When each bin (a row) is looked at by each place (a column), and which bin each place (a row)
    looks at in each turn (a column).

    A place looks at its bin first, so that a filled place stays as it is.
    """
    draws = ngrams.mixed(np.arange(places * places, dtype=np.uint64)).reshape(places, places)
    np.fill_diagonal(draws, 0)
    bins = np.argsort(draws, axis=1)
    turns = np.argsort(bins, axis=1).astype(np.min_scalar_type(places))
    return np.ascontiguousarray(turns.T), bins


def buckets(made: Signatures, bands: int, width: int) -> Iterator[Rows]:
    """Yields the rows that agree in a band, for all bands, where there are several; the same rows
    once. By sorting, band after band, which needs no index."""
    seen = set[bytes]()
    for band in range(bands):
        part = np.ascontiguousarray(made[:, band * width : (band + 1) * width])
        for bucket in equal_rows(part):
            name = bucket.tobytes()
            if name not in seen:
                seen.add(name)
                yield bucket


def equal_rows(table: npt.NDArray[np.generic]) -> Iterator[Rows]:
    """Yields the numbers of the rows of a table that are equal, where there are several."""
    words = table.view(f"V{table.dtype.itemsize * table.shape[1]}").ravel()
    order = np.argsort(words, kind="stable")
    ends = np.append(np.flatnonzero(words[order][1:] != words[order][:-1]) + 1, len(order))
    sizes = np.diff(ends, prepend=0)
    several = sizes > 1  # of few rows
    for end, size in zip(ends[several].tolist(), sizes[several].tolist(), strict=True):
        yield order[end - size : end]
