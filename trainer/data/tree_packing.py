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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from chatdata.core.constants import IGNORE_INDEX
from chatdata.dataset.pack import Bins, pack
from trainer.data import tree_planning
from trainer.data.tree_planning import Tree, Trees

Ints = npt.NDArray[Any]


class Lists(Protocol):
    """An array for each row."""

    def __getitem__(self, row: int, /) -> Ints: ...


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

    def __init__(self, ids: Lists, trees: Trees, bins: Bins) -> None:
        self.ids, self.trees, self.bins = ids, trees, bins

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, item: int) -> PackedTree:
        numbers = self.bins.rows[self.bins.offsets[item] : self.bins.offsets[item + 1]]
        return concatenate([pack_tree(self.trees[tree], self.ids) for tree in numbers.tolist()])


def bins_of(trees: Trees, max_tokens: int) -> Bins:
    """The bins that say which trees stand in a sequence together."""
    return pack(trees.sizes, max_tokens)


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
    sizes = np.array([len(row) for row in ids])
    numbers, group = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    ends = np.concatenate(ids), np.concatenate(labels)
    paths = tree_planning.make_paths(numbers, group, sizes, *ends, None)
    return pack_tree(tree_planning.as_trees(paths, np.zeros(1, np.int64))[0], ids)


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


def counts(trees: Trees, bins: Bins, rows: int, tokens: int) -> dict[str, Any]:
    """What tree packing makes of `rows` rows of `tokens` tokens, in numbers.

    `saved` is the share of these tokens that need not be computed; `repeated` is how many tokens
    stand in two trees because one tree would have been too long.
    """
    in_trees = int(trees.sizes.sum(dtype=np.int64))
    return {
        "rows": rows,
        "row_tokens": tokens,
        "trees": len(trees),
        "tokens": in_trees,
        "saved": round(1 - in_trees / tokens, 4) if tokens else 0.0,
        "repeated": int(trees.repeated.sum(dtype=np.int64)),
        "targets": int((trees.ends - trees.starts).sum(dtype=np.int64)),
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
