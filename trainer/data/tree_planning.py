"""The trees of millions of rows: the same steps for all rows of a batch, on columns of numbers.

A batch holds whole groups. Its rows become paths in the order of their group and of their tokens;
what they train, what they share and where a tree ends are computed for all paths at once. Memory
is that of a batch and of the numbers of the plan, however many tokens the rows have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice, pairwise
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chatdata.core import arrow
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ConfigError

Ints = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Spans = tuple[tuple[int, int], ...]  # the first token of each, and the token after its last

BATCH_TOKENS = 1 << 18


class Column(Protocol):
    """A list of whole numbers for each row."""

    def sizes(self) -> Ints:
        """The numbers that each list has."""

    def flat(self, rows: Ints, /) -> Ints:
        """The lists of some rows, end to end."""


@dataclass(frozen=True, slots=True)
class Path:
    """A row in its tree: its number, its tokens, how many of them the path before it shares, and
    the spans of tokens that it trains."""

    row: int
    tokens: int
    shared: int
    trained: Spans


@dataclass(frozen=True, slots=True)
class Tree:
    """Paths in the order of their tokens, how many tokens the tree has, and how many of these
    tokens stand in another tree as well."""

    paths: tuple[Path, ...]
    tokens: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths in order, as columns; and their trained spans in order, each with its path."""

    rows: Ints
    groups: Ints
    tokens: Ints
    shared: Ints
    span_paths: Ints
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Trees(Sequence[Tree]):
    """Trees as columns: tree `i` has the paths from `firsts[i]`, path `j` the spans from
    `span_firsts[j]`. A tree is made when it is taken."""

    firsts: Ints  # of the paths of a tree; the number of paths at the end
    sizes: Ints  # the tokens of each tree
    repeated: Ints
    rows: Ints
    tokens: Ints
    shared: Ints
    span_firsts: Ints  # of the spans of a path; the number of spans at the end
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, number: int) -> Tree: ...
    @overload
    def __getitem__(self, number: slice) -> list[Tree]: ...
    def __getitem__(self, number: int | slice) -> Tree | list[Tree]:
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        at = range(len(self))[number]
        paths = range(int(self.firsts[at]), int(self.firsts[at + 1]))
        made = tuple(self._path(path) for path in paths)
        return Tree(made, int(self.sizes[at]), int(self.repeated[at]))

    def _path(self, path: int) -> Path:
        spans = slice(int(self.span_firsts[path]), int(self.span_firsts[path + 1]))
        trained = zip(self.starts[spans].tolist(), self.ends[spans].tolist(), strict=True)
        row, tokens, shared = (int(of[path]) for of in (self.rows, self.tokens, self.shared))
        return Path(row, tokens, shared, tuple(trained))


def plan(
    ids: Column, labels: Column, groups: Ints, max_tokens: int, stop: int | None, once: bool
) -> Trees:
    """The trees of rows, in the order of the first rows of their groups.

    `groups` holds a number for each row, which names its group. `once`: a span is trained by the
    first path that has it; else every path trains all its labels. A span also ends after each
    token `stop`. Raises ConfigError for a row of more than `max_tokens` tokens.
    """
    numbers, sizes = _by_first_row(np.asarray(groups)), ids.sizes()

    def planned(rows: Ints) -> Trees:
        tokens = ids.flat(rows), labels.flat(rows)
        paths = make_paths(rows, numbers[rows], sizes[rows], *tokens, stop)
        return make_trees(with_targets(train_once(paths) if once else paths), max_tokens)

    return joined(planned(rows) for rows in _batches(numbers, sizes))


def _by_first_row(groups: Ints) -> Ints:
    """The groups, numbered in the order in which they begin."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int32)
    order[np.argsort(first)] = np.arange(len(first))
    return order[number]


def _batches(groups: Ints, sizes: Ints) -> Iterator[Ints]:
    """Yields the rows of some groups after those of the groups before, in order."""
    order = np.argsort(groups, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(groups))  # of each group
    batch = np.cumsum(sizes[order], dtype=np.int64)[ends - 1] // BATCH_TOKENS
    is_last = np.append(batch[1:] != batch[:-1], True)[: len(ends)]
    bounds = [0, *ends[is_last].tolist()]
    for first, end in pairwise(bounds):
        yield np.sort(order[first:end])


# -------------------------------------------------------------------------------------- paths


def make_paths(
    rows: Ints, groups: Ints, sizes: Ints, ids: Ints, labels: Ints, stop: int | None
) -> Paths:
    """Rows as paths, in the order of their groups and tokens, trained as labelled.

    `ids` and `labels` hold the tokens of all rows, end to end. The first token of a row is in no
    span: nothing stands before it that could predict it.
    """
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    order = _order(groups, ids, offsets)
    if order is not None:
        at, offsets = _gather(offsets, order)
        rows, groups, sizes = rows[order], groups[order], sizes[order]
        ids, labels = ids[at], labels[at]
    span_paths, starts, ends = _spans(ids, labels, offsets, stop)
    shared = _shared(ids, offsets, groups)
    return Paths(rows, groups, sizes, shared, span_paths, starts, ends)


def _order(groups: Ints, ids: Ints, offsets: Ints) -> Ints | None:
    """Rows by group, tokens and number; None where they are in this order as they stand."""
    if (groups[1:] > groups[:-1]).all():
        return None
    bounds = arrow.int64(offsets * 4).buffers()[1]
    tokens = pa.py_buffer(ids.astype(">i4"))  # ids are not negative: as bytes in the same order
    keys = {
        "group": arrow.int64(groups),
        "tokens": pa.Array.from_buffers(pa.large_binary(), len(groups), [None, bounds, tokens]),
        "row": arrow.int64(np.arange(len(groups))),
    }
    ascending = [(key, "ascending") for key in keys]
    return arrow.numbers(pc.sort_indices(pa.table(keys), sort_keys=ascending)).astype(np.int64)


def _gather(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Where the tokens of some rows stand among those of all, and the offsets of these rows."""
    sizes = np.diff(offsets)[rows]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return np.repeat(offsets[rows] - ends[:-1], sizes) + np.arange(ends[-1]), ends


def _spans(ids: Ints, labels: Ints, offsets: Ints, stop: int | None) -> tuple[Ints, Ints, Ints]:
    """The trained spans of rows that stand end to end: their row, first token, and end."""
    is_trained = labels != IGNORE_INDEX
    is_trained[offsets[:-1][np.diff(offsets) > 0]] = False
    is_end = np.zeros(len(ids), np.bool_) if stop is None else ids == stop
    goes_on = np.append(is_trained[1:], False) & ~is_end  # in the next token
    starts = np.flatnonzero(is_trained & ~np.append(False, is_trained[:-1] & goes_on[:-1]))
    ends = np.flatnonzero(is_trained & ~goes_on) + 1
    row = np.searchsorted(offsets, starts, "right") - 1
    return row, starts - offsets[row], ends - offsets[row]


def _shared(ids: Ints, offsets: Ints, groups: Ints) -> Ints:
    """How many tokens each row shares with the row before it, where both are of a group."""
    shared = np.zeros(len(groups), np.int64)
    rows = np.flatnonzero(groups[1:] == groups[:-1]) + 1
    sizes = np.diff(offsets)
    size = np.minimum(sizes[rows], sizes[rows - 1])
    ends = np.concatenate([[0], np.cumsum(size)])
    within = np.arange(ends[-1])
    here, before = (np.repeat(offsets[at] - ends[:-1], size) for at in (rows, rows - 1))
    differs = np.flatnonzero(ids[within + here] != ids[within + before])
    first = np.append(differs, ends[-1])[np.searchsorted(differs, ends[:-1])]
    shared[rows] = np.minimum(first, ends[1:]) - ends[:-1]
    return shared


def train_once(paths: Paths) -> Paths:
    """Paths, each of which trains only the spans that no path before it has trained.

    Two spans are the same where they are the same tokens of the tree. Two replies that begin
    alike are two spans, and the tokens that they share are trained for each.
    """
    groups, of = paths.groups[paths.span_paths], paths.span_paths
    order = np.lexsort((paths.ends, paths.starts, groups))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (groups, paths.starts, paths.ends):
        same &= column[order[1:]] == column[order[:-1]]
    earlier, later = order[:-1][same], order[1:][same]
    shared = lowest(paths.shared, of[earlier] + 1, of[later] + 1)
    is_new = np.ones(len(of), np.bool_)
    is_new[later[shared >= paths.ends[later]]] = False
    return _with_spans(paths, is_new)


def _with_spans(paths: Paths, kept: Flags) -> Paths:
    spans = {name: getattr(paths, name)[kept] for name in ("span_paths", "starts", "ends")}
    return replace(paths, **spans)


def lowest(values: Ints, firsts: Ints, ends: Ints) -> Ints:
    """The least of `values[first:end]` for each pair. No range is empty."""
    level = np.frexp(ends - firsts)[1] - 1  # two ranges of 2 ** level cover one
    table, found_at = values, np.empty(len(firsts), values.dtype)
    for power in range(int(level.max(initial=-1)) + 1):
        at = level == power
        found_at[at] = np.minimum(table[firsts[at]], table[ends[at] - 2**power])
        table = np.minimum(table[: -(2**power)], table[2**power :])
    return found_at


def with_targets(paths: Paths) -> Paths:
    """The paths that train something."""
    kept = np.flatnonzero(np.bincount(paths.span_paths, minlength=len(paths)))
    if not len(kept):
        none = slice(0, 0)
        return Paths(*(getattr(paths, field.name)[none] for field in fields(Paths)))
    since = np.append(0, kept[:-1] + 1)  # the paths after the last that was kept
    columns = {name: getattr(paths, name)[kept] for name in ("rows", "groups", "tokens")}
    shared = np.minimum.reduceat(paths.shared[: kept[-1] + 1], since)
    span_paths = np.searchsorted(kept, paths.span_paths)
    return replace(paths, **columns, shared=shared, span_paths=span_paths)


# -------------------------------------------------------------------------------------- trees


def make_trees(paths: Paths, max_tokens: int) -> Trees:
    """The trees of at most `max_tokens` that paths become, of one group each.

    Raises ConfigError for a path of more tokens.
    """
    long = paths.tokens[paths.tokens > max_tokens]
    if len(long):
        raise ConfigError(
            f"tree_packing: a row has {long[0]} tokens and a tree may have {max_tokens}; "
            "write tree_packing: N for trees of N tokens."
        )
    begins = np.append(True, paths.groups[1:] != paths.groups[:-1])[: len(paths)]
    bounds = np.append(np.flatnonzero(begins), len(paths))
    upto = np.cumsum(paths.tokens - paths.shared, dtype=np.int64)
    after = np.searchsorted(upto, upto + max_tokens - paths.tokens, "right")
    after = np.minimum(after, np.repeat(bounds[1:], np.diff(bounds)))  # the tree begun here ends
    tree = bounds[:-1]
    while len(tree):  # the first trees of all groups, then the second trees, ...
        tree = after[tree]
        tree = tree[tree < len(paths)]
        tree = tree[~begins[tree]]
        begins[tree] = True
    return as_trees(paths, np.flatnonzero(begins))


def as_trees(paths: Paths, firsts: Ints) -> Trees:
    """Trees of paths, which begin at the paths `firsts`."""
    shared = paths.shared.copy()
    shared[firsts] = 0
    sizes = np.add.reduceat(paths.tokens - shared, firsts) if len(firsts) else firsts
    spans = np.bincount(paths.span_paths, minlength=len(paths))
    return Trees(
        np.append(firsts, len(paths)).astype(np.int32),
        sizes.astype(np.int32),
        paths.shared[firsts].astype(np.int32),
        paths.rows.astype(np.int32),
        paths.tokens.astype(np.int32),
        shared.astype(np.int32),
        np.append(0, np.cumsum(spans)).astype(np.int64),
        paths.starts.astype(np.int32),
        paths.ends.astype(np.int32),
    )


def joined(parts: Iterable[Trees], at_once: int = 32) -> Trees:
    """All trees of several plans, in order; several small plans become one before others come."""
    remaining, larger = iter(parts), list[Trees]()
    while some := list(islice(remaining, at_once)):
        larger.append(_joined(some))
    return _joined(larger)


def _joined(parts: list[Trees]) -> Trees:
    """All trees of several plans, which are removed from the list."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Trees)}
    parts.clear()
    return Trees(*(_end_to_end(name, columns.pop(name)) for name in list(columns)))


def _end_to_end(name: str, arrays: list[Ints]) -> Ints:
    """A column of all plans; offsets of a plan go on from the last of the plan before."""
    if name not in ("firsts", "span_firsts"):
        return np.concatenate([np.empty(0, np.int32), *arrays])
    sizes = [np.diff(offsets).astype(np.int32) for offsets in arrays]
    return np.append(0, np.cumsum(np.concatenate([np.empty(0, np.int32), *sizes]), dtype=np.int64))
