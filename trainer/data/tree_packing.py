"""Trees, trained once: the rows of a group as one sequence in which shared tokens stand once.

    path        a row of a tree (of one `group`); the paths of a tree begin alike
    tree        the tokens of its paths, shared tokens once; a token sees its ancestors alone, and
                has the position that it has in its rows
    target      a trained token and its parent, the token before it. A token at a fork has several
                children, so the loss takes the logits at the parent of each target

A tree is made of tokens alone: paths are sorted by their tokens, and each path adds the tokens
that it does not share with the path before. So loss and gradients are those of the rows, whatever
the template.

A tree of more than `max_tokens` becomes several trees: paths are taken in their order as long as
they fit, the next tree begins again with the tokens that lead to its first path, and every target
is in one tree.
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
Spans = tuple[tuple[int, int], ...]  # the first token of each, and the token after its last


class Lists(Protocol):
    """An array for each row."""

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
    """Paths in the order of their tokens, how many tokens the tree has, and how many of these
    tokens stand in another tree as well."""

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


def make_paths(rows: Sequence[int], ids: Lists, labels: Lists, stop: int | None) -> Iterator[Path]:
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


# -------------------------------------------------------------------------------------- trees


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
    groups: Sequence[str],
    max_tokens: int,
    paths_of: Callable[[Sequence[int]], Iterable[Path]],
    trains: Callable[[Iterable[Path]], Iterable[Path]],
) -> list[Tree]:
    """The trees of rows, in the order of their first rows; `groups` names the group of each row.

    `paths_of` is `make_paths` for these rows. `trains` chooses what the paths of a group train:
    each span once (`train_once`), or all labels (`iter`). Raises ConfigError for a row of more
    than `max_tokens`.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    groups_of_paths = (with_targets(trains(paths_of(numbers))) for numbers in rows.values())
    return [tree for paths in groups_of_paths for tree in make_trees(paths, max_tokens)]


@dataclass(frozen=True, slots=True)
class PackedTree:
    """Trees end to end, token by token: id, depth, and where the tokens below it end; and the
    parent and the child of each target. All of shape (tokens,) or (targets,), int64."""

    ids: Ints
    depths: Ints
    subtree_ends: Ints
    parents: Ints
    children: Ints


def pack_tree(tree: Tree, ids: Lists) -> PackedTree:
    """The tokens of a tree, from the ids of all rows."""
    tokens, depths = np.empty(tree.tokens, np.int64), np.empty(tree.tokens, np.int64)
    subtree_ends = np.full(tree.tokens, tree.tokens, np.int64)
    line = np.empty(max(path.tokens for path in tree.paths), np.int64)  # the path, token by token
    children, parents = [line[:0]], [line[:0]]
    offset = length = 0
    for path in tree.paths:
        new = slice(offset, offset + path.tokens - path.shared)
        subtree_ends[line[path.shared : length]] = offset
        line[path.shared : path.tokens] = np.arange(new.start, new.stop)
        tokens[new] = ids[path.row][path.shared :]
        depths[new] = np.arange(path.shared, path.tokens)
        children += [line[start:end].copy() for start, end in path.trained]
        parents += [line[start - 1 : end - 1].copy() for start, end in path.trained]
        offset, length = new.stop, path.tokens
    return PackedTree(
        tokens, depths, subtree_ends, np.concatenate(parents), np.concatenate(children)
    )


def concatenate(trees: Sequence[PackedTree]) -> PackedTree:
    """Trees end to end; no tree sees another."""
    starts = np.cumsum([0, *(len(tree.ids) for tree in trees)])[:-1]
    pairs = list(zip(trees, starts, strict=True))
    return PackedTree(
        np.concatenate([tree.ids for tree in trees]),
        np.concatenate([tree.depths for tree in trees]),
        np.concatenate([tree.subtree_ends + start for tree, start in pairs]),
        np.concatenate([tree.parents + start for tree, start in pairs]),
        np.concatenate([tree.children + start for tree, start in pairs]),
    )


# -------------------------------------------------------------------------------- for training


class TreeRows(torch.utils.data.Dataset[PackedTree]):
    """Trees to train on, several to an item where they are small; packed when they are taken."""

    def __init__(self, ids: Lists, trees: Sequence[Tree], bins: Bins) -> None:
        self.ids, self.trees, self.bins = ids, trees, bins

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, item: int) -> PackedTree:
        numbers = self.bins.rows[self.bins.offsets[item] : self.bins.offsets[item + 1]]
        return concatenate([pack_tree(self.trees[tree], self.ids) for tree in numbers.tolist()])


def bins_of(trees: Sequence[Tree], max_tokens: int) -> Bins:
    """The bins that say which trees stand in a sequence together."""
    return pack([tree.tokens for tree in trees], max_tokens)


class TreeCollator:
    """Makes batches of trees, padded to the longest, for a model with an attention of
    `tree_attention`. A plain row, a mapping with `input_ids` and `labels`, is a tree of one path.

    A batch holds `input_ids` and `position_ids` (batch, tokens); `attention_mask` (batch, 2,
    tokens), the bounds; `logits_to_keep` and `shift_labels` (batch, targets), the parent of each
    target and its id, by which transformers' loss takes its logits and its Trainer counts; and
    `labels` (batch, tokens). All int64.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, items: Sequence[PackedTree | Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some items."""
        trees = [item if isinstance(item, PackedTree) else tree_of([item]) for item in items]
        tokens = max(len(tree.ids) for tree in trees)
        depths = _padded([tree.depths for tree in trees], tokens, 0)
        targets = max(len(tree.children) for tree in trees)
        target_ids = [tree.ids[tree.children] for tree in trees]
        return {
            "input_ids": _padded([tree.ids for tree in trees], tokens, self.pad_id),
            "position_ids": depths,
            "attention_mask": torch.stack([_padded_ends(trees, tokens), depths], 1),
            "labels": _padded([_labels(tree) for tree in trees], tokens, IGNORE_INDEX),
            "logits_to_keep": _padded([tree.parents for tree in trees], targets, 0),
            "shift_labels": _padded(target_ids, targets, IGNORE_INDEX),
        }


def tree_of(rows: Sequence[Mapping[str, Any]]) -> PackedTree:
    """The tree of plain rows, with `input_ids` and `labels`, trained as they are labelled."""
    ids, labels = ([np.asarray(row[key]) for row in rows] for key in ("input_ids", "labels"))
    paths = tuple(make_paths(range(len(rows)), ids, labels, None))
    tokens = sum(path.tokens - path.shared for path in paths)
    return pack_tree(Tree(paths, tokens, repeated=0), ids)


def _labels(tree: PackedTree) -> Ints:
    labels = np.full(len(tree.ids), IGNORE_INDEX, np.int64)
    labels[tree.children] = tree.ids[tree.children]
    return labels


def _padded_ends(trees: Sequence[PackedTree], size: int) -> torch.Tensor:
    """Where the tokens below each token end; a token of padding has none below it."""
    padding = [np.arange(len(tree.ids), size) + 1 for tree in trees]
    ends = [np.append(tree.subtree_ends, rest) for tree, rest in zip(trees, padding, strict=True)]
    return torch.from_numpy(np.stack(ends))


def _padded(arrays: Sequence[Ints], size: int, value: int) -> torch.Tensor:
    filled = np.full((len(arrays), size), value, np.int64)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(filled)


def counts(trees: Sequence[Tree], bins: Bins, rows: int, tokens: int) -> dict[str, Any]:
    """What tree packing makes of `rows` rows of `tokens` tokens, in numbers.

    `saved` is the share of these tokens that need not be computed; `repeated` is how many tokens
    stand in two trees because one tree would have been too long.
    """
    in_trees = sum(tree.tokens for tree in trees)
    spans = [span for tree in trees for path in tree.paths for span in path.trained]
    return {
        "rows": rows,
        "row_tokens": tokens,
        "trees": len(trees),
        "tokens": in_trees,
        "saved": round(1 - in_trees / tokens, 4) if tokens else 0.0,
        "repeated": sum(tree.repeated for tree in trees),
        "targets": sum(end - start for start, end in spans),
        "sequences": len(bins),
        "max_tokens": bins.max_tokens,
        "fill": round(bins.fill, 4),
    }


def summary(counts: Mapping[str, Any]) -> str:
    """The counts as a line of text."""
    return (
        f"trees: {counts['rows']} rows, {counts['row_tokens']} tokens, as {counts['trees']} trees, "
        f"{counts['tokens']} tokens ({counts['saved']:.1%} saved, {counts['repeated']} repeated), "
        f"in {counts['sequences']} sequences of {counts['max_tokens']}, {counts['fill']:.1%} full; "
        f"{counts['targets']} trained"
    )
