"""Rows to trees: who replies to whom, and which messages are in no tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from chatdata.core.ledger import BELOW

_INSTRUCTIONS = ("system", "developer")
Why = tuple[str, str | None]  # reason, detail

# The columns that threading goes by; what the messages say stays in the table.
_STRUCTURE = (
    *("group", "message", "parent", "role", "rank", "rejected", "created"),
    *("removed_by", "on_removed", "why", "where"),
)


@dataclass(slots=True)
class Forest:
    """The structure of some trees as columns, and who replies to whom, best reply first.

    `set_aside` has the messages that are in no tree or cut out of one, and why.
    """

    columns: dict[str, list[Any]]
    roots: list[int] = field(default_factory=list)
    replies: dict[int, list[int]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    set_aside: dict[int, Why] = field(default_factory=dict)

    def size(self) -> int:
        """How many messages there are."""
        return len(self.columns["message"])

    def name(self, row: int) -> str:
        """The id of a message."""
        return str(self.columns["message"][row])

    def is_marked(self, row: int, on_removed: str) -> bool:
        """Whether a filter marked this message so."""
        return bool(self.columns["on_removed"][row] == on_removed)

    def is_skipped(self, row: int) -> bool:
        """Whether a filter takes this message out of its conversations and nothing else, as it does
        with instructions."""
        return self.is_marked(row, "skip") and self.columns["role"][row] in _INSTRUCTIONS

    def is_answer(self, row: int) -> bool:
        """Whether this message is the assistant's."""
        return bool(self.columns["role"][row] == "assistant")

    def is_rejected(self, row: int) -> bool:
        """Whether this message is an answer to which people preferred another."""
        return bool(self.columns["rejected"][row])

    def filtered(self, row: int) -> Why:
        """The filter that marked this message, and its detail."""
        return self.columns["removed_by"][row], self.columns["why"][row]

    def disliked(self) -> Iterator[int]:
        """Yields the answers to which people preferred another, and all messages below these."""
        for row in filter(self.is_rejected, range(self.size())):
            yield row
            yield from self.below(row)

    def upwards(self, rows: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Yields each message that stands on the way from a root to one of `rows` once, with the
        first of `rows` below it or the same."""
        seen: set[int] = set()
        for last in rows:
            row: int | None = last
            while row is not None and row not in seen:
                seen.add(row)
                yield row, last
                row = self.parents.get(row)

    def trees(self, rows: Iterable[int]) -> Counter[str]:
        """How many of the messages stand in each tree."""
        return Counter(self.columns["group"][row] for row in rows)

    def below(self, row: int) -> Iterator[int]:
        """Yields all messages below this message, parents before their replies."""
        waiting = list(self.replies.get(row, ()))
        while waiting:
            reply = waiting.pop()
            yield reply
            waiting += self.replies.get(reply, ())


def plant(nodes: pl.DataFrame) -> Forest:
    """The trees of messages that `filtering.mark` has marked, best reply first.

    Set aside are repeated ids, what no root leads to, and messages marked `cut` or `skip` with all
    below them.
    """
    forest = _with_replies(nodes)
    _set_unreachable_aside(forest)
    _prune(forest)
    return forest


def _with_replies(nodes: pl.DataFrame) -> Forest:
    """The trees of messages; a repeated id and a message without its parent are set aside."""
    columns = nodes.select(_STRUCTURE).to_dict(as_series=False)
    forest = Forest(columns)
    index: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(columns["group"], columns["message"], strict=True)):
        if key in index:
            forest.set_aside[row] = "duplicate_id", f"also in {columns['where'][index[key]]}"
        else:
            index[key] = row
    for (group, _), row in index.items():
        _attach(forest, row, index, group)
    for replies in forest.replies.values():
        replies.sort(key=lambda row: _merit(forest, row))
    return forest


def _attach(forest: Forest, row: int, index: Mapping[tuple[str, str], int], group: str) -> None:
    parent = forest.columns["parent"][row]
    if parent is None:
        forest.roots.append(row)
    elif (group, parent) in index:
        above = index[group, parent]
        forest.parents[row] = above
        forest.replies.setdefault(above, []).append(row)
    else:
        forest.set_aside[row] = "rootless", f"its parent {parent} is not in the input"


def _merit(forest: Forest, row: int) -> tuple[Any, ...]:
    """Sorts replies: not marked `drop`, ranked, lower rank, dated, earlier, smaller id."""
    rank, created = forest.columns["rank"][row], forest.columns["created"][row]
    is_dropped = forest.is_marked(row, "drop")
    return (is_dropped, rank is None, rank or 0, created is None, created or 0, forest.name(row))


def _set_unreachable_aside(forest: Forest) -> None:
    """Sets aside what no root leads to: orphans with all below them, and rings."""
    orphans = [row for row, (reason, _) in forest.set_aside.items() if reason == "rootless"]
    for orphan in orphans:
        detail = f"{BELOW}{forest.name(orphan)}, whose parent is not in the input"
        forest.set_aside.update(dict.fromkeys(forest.below(orphan), ("rootless", detail)))
    reached = set(forest.roots).union(*(forest.below(root) for root in forest.roots))
    for row, parent in enumerate(forest.columns["parent"]):
        if row not in reached and row not in forest.set_aside:
            forest.set_aside[row] = "cycle", f"its ancestors form a ring, through {parent}"


def _prune(forest: Forest) -> None:
    """Takes messages marked `cut` or `skip`, with all below them, out of the trees; an instruction
    that is skipped stays, for what is below it."""
    live = [root for root in forest.roots if not _felled(forest, root)]
    forest.roots = list(live)
    while live:
        row = live.pop()
        replies = forest.replies.get(row, [])
        forest.replies[row] = [reply for reply in replies if not _felled(forest, reply)]
        live += forest.replies[row]


def _felled(forest: Forest, row: int) -> bool:
    """Whether a message is marked `cut` or `skip`, and no instruction that goes alone; all below it
    is then set aside with it."""
    marks = (forest.is_marked(row, "cut"), forest.is_marked(row, "skip"))
    if not any(marks) or forest.is_skipped(row):
        return False
    reason, detail = forest.filtered(row)
    forest.set_aside[row] = reason, detail
    below = reason, f"{BELOW}{forest.name(row)}"
    for reply in forest.below(row):
        is_removed = forest.columns["removed_by"][reply]
        forest.set_aside[reply] = forest.filtered(reply) if is_removed else below
    return True
