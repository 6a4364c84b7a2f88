"""Trees, trained once: the rows of a group as one sequence in which what they share stands once.

    path        a row of a tree (of one `group`); paths begin alike
    tree        the tokens of its paths, what they share once; a token sees its ancestors alone, and
                has the position that it has in its rows
    target      a trained token and its parent, the token before it. A token at a fork has several
                children, so the loss takes the logits at the parent of each target

A tree is made of tokens alone: paths are sorted by their tokens, and each adds what it does not
share with the one before it. So loss and gradients are those of the rows, whatever the template.

A tree of more than `max_tokens` becomes several: paths are taken in their order as long as they
fit, the next tree begins anew with all that leads to its first path, and every target is in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ConfigError
from chatdata.dataset.pack import Bins, pack
from chatdata.render.token_spans import trained_spans

Ints = npt.NDArray[Any]
Spans = tuple[tuple[int, int], ...]  # each from its first token to behind its last


class Lists(Protocol):
    """One array for each row."""

    def __getitem__(self, row: int, /) -> Ints: ...


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
    """Paths in the order of their tokens, the tokens of all, and how many of these stand in
    another tree as well."""

    paths: tuple[Path, ...]
    tokens: int
    repeated: int


# -------------------------------------------------------------------------------------- paths


def target_spans(ids: Ints, labels: Ints, stop: int | None) -> Spans:
    """The spans of trained tokens of a row; they also end after each token `stop`.

    The first token of a row is in no span: nothing stands before it that could predict it.
    """
    is_end = None if stop is None else ids[1:] == stop
    spans = trained_spans(labels[1:], is_end) + 1
    return tuple((start, end) for start, end in spans.tolist())


def lay(numbers: Sequence[int], ids: Lists, labels: Lists, stop: int | None) -> Iterator[Path]:
    """Yields the rows of a group as paths, in the order of their tokens, trained as labelled."""
    ordered = sorted(numbers, key=lambda row: (ids[row].astype(">i4").tobytes(), row))
    before = np.empty(0, np.int32)
    for row in ordered:
        own = ids[row]
        yield Path(row, len(own), _shared(before, own), target_spans(own, labels[row], stop))
        before = own


def _shared(one: Ints, other: Ints) -> int:
    """How many tokens two rows begin with together."""
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    return int(differs.argmax()) if differs.any() else size


def train_once(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields paths of which each trains only the spans that none before it has trained.

    Spans are one where they are the same tokens of the tree. Two replies that begin alike are two
    spans, and what they share is trained for each.
    """
    done = set[tuple[int, int]]()  # the spans on the present path that are trained
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


# -------------------------------------------------------------------------------------- trees


def cut(paths: Iterable[Path], max_tokens: int) -> Iterator[Tree]:
    """Yields the trees of at most `max_tokens` that the paths of a group become.

    Raises ConfigError for a path that has more.
    """
    own: list[Path] = []
    tokens = repeated = 0
    for path in paths:
        if path.tokens > max_tokens:
            raise ConfigError(
                f"tree_packing: a row has {path.tokens} tokens and a tree may have {max_tokens}; "
                "write tree_packing: N for trees of N tokens."
            )
        if own and tokens + path.tokens - path.shared > max_tokens:
            yield Tree(tuple(own), tokens, repeated)
            own, tokens = [], 0
        if not own:
            repeated, path = path.shared, replace(path, shared=0)
        own.append(path)
        tokens += path.tokens - path.shared
    if own:
        yield Tree(tuple(own), tokens, repeated)


def plan(
    groups: Sequence[str],
    max_tokens: int,
    lay_rows: Callable[[Sequence[int]], Iterable[Path]],
    trains: Callable[[Iterable[Path]], Iterable[Path]],
) -> list[Tree]:
    """The trees of rows, of which `groups` names each one's, in the order of their first rows.

    `lay_rows` is `lay` for these rows. `trains` says what is trained of the paths of a group: each
    span once (`train_once`), or what is labelled (`iter`). Raises ConfigError for a row of more
    than `max_tokens`.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    paths = (with_targets(trains(lay_rows(own))) for own in rows.values())
    return [tree for own in paths for tree in cut(own, max_tokens)]


@dataclass(frozen=True, slots=True)
class Grown:
    """Trees end to end, token by token: id, depth, and where what lies below it ends; and the
    parent and the child of each target."""

    ids: Ints
    depths: Ints
    exits: Ints
    parents: Ints
    children: Ints


def grow(tree: Tree, ids: Lists) -> Grown:
    """The tokens of a tree, from those of all rows."""
    depths, exits = np.empty(tree.tokens, np.int64), np.full(tree.tokens, tree.tokens, np.int64)
    tokens = np.empty(tree.tokens, np.int64)
    line = np.empty(max(path.tokens for path in tree.paths), np.int64)  # the path, token by token
    targets = [line[:0]]
    parents = [line[:0]]
    offset = length = 0
    for path in tree.paths:
        new = slice(offset, offset + path.tokens - path.shared)
        exits[line[path.shared : length]] = offset
        line[path.shared : path.tokens] = np.arange(new.start, new.stop)
        tokens[new] = ids[path.row][path.shared :]
        depths[new] = np.arange(path.shared, path.tokens)
        targets += [line[start:end].copy() for start, end in path.trained]
        parents += [line[start - 1 : end - 1].copy() for start, end in path.trained]
        offset, length = new.stop, path.tokens
    return Grown(tokens, depths, exits, np.concatenate(parents), np.concatenate(targets))


def join(trees: Sequence[Grown]) -> Grown:
    """Trees end to end; none sees another."""
    starts = np.cumsum([0, *(len(tree.ids) for tree in trees)])[:-1]
    pairs = list(zip(trees, starts, strict=True))
    return Grown(
        np.concatenate([tree.ids for tree in trees]),
        np.concatenate([tree.depths for tree in trees]),
        np.concatenate([tree.exits + start for tree, start in pairs]),
        np.concatenate([tree.parents + start for tree, start in pairs]),
        np.concatenate([tree.children + start for tree, start in pairs]),
    )


# -------------------------------------------------------------------------------- for training


class TreeRows(torch.utils.data.Dataset[Grown]):
    """Trees to train on, several to an item where they are small; grown when they are taken."""

    def __init__(self, ids: Lists, trees: Sequence[Tree], bins: Bins) -> None:
        self.ids, self.trees, self.bins = ids, trees, bins

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, item: int) -> Grown:
        own = self.bins.rows[self.bins.offsets[item] : self.bins.offsets[item + 1]]
        return join([grow(self.trees[tree], self.ids) for tree in own.tolist()])


def bins_of(trees: Sequence[Tree], max_tokens: int) -> Bins:
    """Which trees stand in one sequence."""
    return pack([tree.tokens for tree in trees], max_tokens)


class TreeCollator:
    """Makes batches of trees, padded to the longest, for a model whose attention is one of
    `tree_mask`'s. A plain row, as a mapping with `input_ids` and `labels`, is a tree of one path.

    A batch holds `input_ids` and `position_ids` (batch, tokens); `attention_mask` (batch, 2,
    tokens), the bounds; `logits_to_keep` and `shift_labels` (batch, targets), the parent of each
    target and its id, by which transformers' own loss takes its logits and its Trainer counts;
    and `labels` (batch, tokens). All int64.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, items: Sequence[Grown | Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some items."""
        trees = [item if isinstance(item, Grown) else tree_of([item]) for item in items]
        tokens = max(len(tree.ids) for tree in trees)
        depths = _padded([tree.depths for tree in trees], tokens, 0)
        exits = [np.append(tree.exits, np.arange(len(tree.ids), tokens) + 1) for tree in trees]
        targets = max(len(tree.children) for tree in trees)
        answers = [tree.ids[tree.children] for tree in trees]
        return {
            "input_ids": _padded([tree.ids for tree in trees], tokens, self.pad_id),
            "position_ids": depths,
            "attention_mask": torch.stack([torch.from_numpy(np.stack(exits)), depths], 1),
            "labels": _padded([_labels(tree) for tree in trees], tokens, IGNORE_INDEX),
            "logits_to_keep": _padded([tree.parents for tree in trees], targets, 0),
            "shift_labels": _padded(answers, targets, IGNORE_INDEX),
        }


def tree_of(rows: Sequence[Mapping[str, Any]]) -> Grown:
    """The tree of plain rows, with `input_ids` and `labels`, trained as they are labelled."""
    ids, labels = ([np.asarray(row[key]) for row in rows] for key in ("input_ids", "labels"))
    paths = tuple(lay(range(len(rows)), ids, labels, None))
    return grow(Tree(paths, sum(path.tokens - path.shared for path in paths), 0), ids)


def _labels(tree: Grown) -> Ints:
    labels = np.full(len(tree.ids), IGNORE_INDEX, np.int64)
    labels[tree.children] = tree.ids[tree.children]
    return labels


def _padded(arrays: Sequence[Ints], size: int, value: int) -> torch.Tensor:
    filled = np.full((len(arrays), size), value, np.int64)
    for row, own in zip(filled, arrays, strict=True):
        row[: len(own)] = own
    return torch.from_numpy(filled)


def counts(trees: Sequence[Tree], bins: Bins, rows: int, tokens: int) -> dict[str, Any]:
    """What tree packing makes of `rows` rows of `tokens` tokens, in numbers.

    `saved` is the share of their tokens that need not be computed; `repeated` how many stand in
    two trees because one would have been too long.
    """
    own = sum(tree.tokens for tree in trees)
    spans_ = [span for tree in trees for path in tree.paths for span in path.trained]
    return {
        "rows": rows,
        "row_tokens": tokens,
        "trees": len(trees),
        "tokens": own,
        "saved": round(1 - own / tokens, 4) if tokens else 0.0,
        "repeated": sum(tree.repeated for tree in trees),
        "targets": sum(end - start for start, end in spans_),
        "sequences": len(bins),
        "max_tokens": bins.max_tokens,
        "fill": round(bins.fill, 4),
    }


def say(own: Mapping[str, Any]) -> str:
    """The counts as a line for people."""
    return (
        f"trees: {own['rows']} rows, {own['row_tokens']} tokens, as {own['trees']} trees, "
        f"{own['tokens']} tokens ({own['saved']:.1%} saved, {own['repeated']} repeated), in "
        f"{own['sequences']} sequences of {own['max_tokens']}, {own['fill']:.1%} full; "
        f"{own['targets']} trained"
    )
