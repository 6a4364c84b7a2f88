"""Rows of trees, planned and batched for tree packing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.support.row_by_row import lists
from tests.support.tiny import STOP, Row, arrays, joined, tree
from trainer.data.tree_packing import TreeCollator, TreeRows, bins_of
from trainer.data.tree_planning import Trees, plan

NO_LIMIT = 100_000


def planned(
    rows: Sequence[Row], groups: Sequence[str], limit: int = NO_LIMIT, once: bool = True
) -> Trees:
    ids, labels = lists(arrays(rows, "input_ids")), lists(arrays(rows, "labels"))
    _, numbers = np.unique(groups, return_inverse=True)
    return plan(ids, labels, numbers, limit, STOP, once)


def items_of(rows: Sequence[Row], trees: Trees, limit: int) -> TreeRows:
    return TreeRows(arrays(rows, "input_ids"), trees, bins_of(trees, limit))


def batch_of(rows: Sequence[Row], trees: Trees, limit: int = NO_LIMIT) -> dict[str, Any]:
    items = items_of(rows, trees, limit)
    return TreeCollator(pad_id=0)([items[number] for number in range(len(items))])


def forest(seed: int, trees: int = 2) -> tuple[list[Row], list[Row], list[str]]:
    """Rows of some random trees, each answer trained in all and in the first, and their groups."""
    rng = random.Random(seed)
    grown = [tree(rng) for _ in range(trees)]
    groups = [str(number) for number, (rows, _) in enumerate(grown) for _ in rows]
    return (
        joined(rows for rows, _ in grown),
        joined(rows for _, rows in grown),
        groups,
    )
