"""The trees of rows, row by row: what `trainer.data.tree_planning` computes on columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chatdata.core.errors import ConfigError
from chatdata.render.token_spans import trained_spans
from trainer.data.dataset import Lists
from trainer.data.tree_planning import Path, Spans, Tree

Ints = npt.NDArray[Any]


def lists(rows: Iterable[Ints]) -> Lists:
    """Rows as a column, in chunks of three."""
    whole = [np.asarray(row).tolist() for row in rows]
    chunks = [whole[at : at + 3] for at in range(0, len(whole), 3)]
    return Lists(pa.chunked_array(chunks, pa.list_(pa.int32())))


class Rows(Protocol):
    """An array for each row."""

    def __getitem__(self, row: int, /) -> Ints: ...


def paths_of(
    ids: Rows, labels: Rows, stop: int | None
) -> Callable[[Sequence[int]], Iterator[Path]]:
    """`make_paths` for these rows."""
    return partial(make_paths, ids=ids, labels=labels, stop=stop)


def target_spans(ids: Ints, labels: Ints, stop: int | None) -> Spans:
    """The spans of trained tokens of a row; they also end after each token `stop`.

    The first token of a row is in no span: nothing stands before it that could predict it.
    """
    is_end = None if stop is None else ids[1:] == stop
    spans = trained_spans(labels[1:], is_end) + 1
    return tuple((start, end) for start, end in spans.tolist())


def make_paths(rows: Sequence[int], ids: Rows, labels: Rows, stop: int | None) -> Iterator[Path]:
    """Yields the rows of a group as paths, in the order of their tokens, trained as labelled."""
    ordered = sorted(rows, key=lambda row: (ids[row].astype(">i4").tobytes(), row))
    before = np.empty(0, np.int32)
    for row in ordered:
        tokens = ids[row]
        spans = target_spans(tokens, labels[row], stop)
        yield Path(row, len(tokens), _shared(before, tokens), spans)
        before = tokens


def _shared(first: Ints, second: Ints) -> int:
    """How many tokens two rows begin with together."""
    size = min(len(first), len(second))
    differs = first[:size] != second[:size]
    return int(differs.argmax()) if differs.any() else size


def train_once(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields paths, each of which trains only the spans that no path before it has trained.

    Two spans are the same where they are the same tokens of the tree. Two replies that begin
    alike are two spans, and the tokens that they share are trained for each.
    """
    done = set[tuple[int, int]]()  # the trained spans on the present path
    for path in paths:
        done = {span for span in done if span[1] <= path.shared}
        new = tuple(span for span in path.trained if span not in done)
        done.update(new)
        yield replace(path, trained=new)


def with_targets(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields the paths that train something."""
    shared = 0
    for path in paths:
        shared = min(shared, path.shared)
        if path.trained:
            yield replace(path, shared=shared)
            shared = path.tokens


def make_trees(paths: Iterable[Path], max_tokens: int) -> Iterator[Tree]:
    """Yields the trees of at most `max_tokens` that the paths of a group become.

    Raises ConfigError for a path of more tokens.
    """
    kept: list[Path] = []
    tokens = repeated = 0
    for path in paths:
        if path.tokens > max_tokens:
            raise ConfigError(
                f"tree_packing: a row has {path.tokens} tokens and a tree may have {max_tokens}; "
                "write tree_packing: N for trees of N tokens."
            )
        if kept and tokens + path.tokens - path.shared > max_tokens:
            yield Tree(tuple(kept), tokens, repeated)
            kept, tokens = [], 0
        if not kept:
            repeated, path = path.shared, replace(path, shared=0)
        kept.append(path)
        tokens += path.tokens - path.shared
    if kept:
        yield Tree(tuple(kept), tokens, repeated)


def plan(
    groups: Sequence[Any],
    max_tokens: int,
    paths_of: Callable[[Sequence[int]], Iterable[Path]],
    trains: Callable[[Iterable[Path]], Iterable[Path]],
) -> list[Tree]:
    """The trees of rows, in the order of their first rows; `groups` names the group of each row.

    `paths_of` is `make_paths` for these rows. `trains` chooses what the paths of a group train:
    each span once (`train_once`), or all labels (`iter`). Raises ConfigError for a row of more
    than `max_tokens`.
    """
    rows: dict[Any, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    groups_of_paths = (with_targets(trains(paths_of(numbers))) for numbers in rows.values())
    return [tree for paths in groups_of_paths for tree in make_trees(paths, max_tokens)]
