"""Trees to conversations: which replies are followed, and what becomes of the others.

    all_leaves    one conversation for each path from a root to a leaf
    best_rank     at each fork the best reply
    top_k         the k best replies to a user; every reply to an assistant
    all_prefixes  one conversation for each assistant message

Better is: lower rank, ranked before unranked, then earlier, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from chatdata.core.ledger import EVENTS
from chatdata.core.schema import MESSAGES
from chatdata.steps.threads import Laid, Threads

Columns = dict[str, list[Any]]


@dataclass(slots=True)
class _Forest:
    """The messages of some trees as columns, and who replies to whom, best reply first."""

    columns: Columns
    roots: list[int] = field(default_factory=list)
    replies: dict[int, list[int]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    out: dict[int, tuple[str, str | None]] = field(default_factory=dict)  # row: reason, detail

    def name(self, row: int) -> str:
        """The id of a message."""
        return str(self.columns["message"][row])

    def marked(self, row: int, on_removed: str) -> bool:
        """Whether a filter marked this message so."""
        return bool(self.columns["on_removed"][row] == on_removed)

    def path(self, row: int) -> list[int]:
        """The messages from the root to this one."""
        path = [row]
        while path[-1] in self.parents:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def below(self, row: int) -> Iterator[int]:
        """Yields all messages below one, parents before their replies."""
        waiting = list(self.replies.get(row, ()))
        while waiting:
            reply = waiting.pop()
            yield reply
            waiting += self.replies.get(reply, ())


def lay(nodes: pl.DataFrame, threads: Threads) -> Laid:
    """Lays the threads of whole trees, whose messages `filtering.mark` has marked.

    A message marked `cut` or `skip` takes all replies below it along; one marked `drop` takes along
    every conversation that it stands in. The result does not depend on the order of the rows.
    """
    forest = _plant(nodes.sort("group", "message", "parent", "role", "content", "where"))
    _leave_unreachable(forest)
    _prune(forest)
    paths = {leaf: forest.path(leaf) for leaf in _leaves(forest, threads)}
    whole, lost = _without_dropped(forest, paths)
    kept, repeats = _ended(forest, whole, threads)
    _say_why(forest, whole, lost, kept)
    return Laid(
        _rows(forest, kept),
        pl.concat([_message_events(forest), _conversation_events(forest, lost | repeats)]),
        len(paths),
    )


def _plant(nodes: pl.DataFrame) -> _Forest:
    columns = nodes.to_dict(as_series=False)
    forest = _Forest(columns)
    index: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(columns["group"], columns["message"], strict=True)):
        if key in index:
            forest.out[row] = "duplicate_id", f"also in {columns['where'][index[key]]}"
        else:
            index[key] = row
    for (group, _), row in index.items():
        _attach(forest, row, index, group)
    for replies in forest.replies.values():
        replies.sort(key=lambda row: _merit(forest, row))
    return forest


def _attach(forest: _Forest, row: int, index: dict[tuple[str, str], int], group: str) -> None:
    parent = forest.columns["parent"][row]
    if parent is None:
        forest.roots.append(row)
    elif (group, parent) in index:
        above = index[group, parent]
        forest.parents[row] = above
        forest.replies.setdefault(above, []).append(row)
    else:
        forest.out[row] = "rootless", f"its parent {parent} is not in the input"


def _merit(forest: _Forest, row: int) -> tuple[Any, ...]:
    """Sorts replies: not marked `drop`, ranked, lower rank, dated, earlier, smaller id."""
    rank, created = forest.columns["rank"][row], forest.columns["created"][row]
    dropped = forest.marked(row, "drop")
    return (dropped, rank is None, rank or 0, created is None, created or 0, forest.name(row))


def _leave_unreachable(forest: _Forest) -> None:
    """Leaves out what no root leads to: orphans with all below them, and rings."""
    for orphan in [row for row, (reason, _) in forest.out.items() if reason == "rootless"]:
        detail = f"below {forest.name(orphan)}, whose parent is not in the input"
        forest.out.update(dict.fromkeys(forest.below(orphan), ("rootless", detail)))
    reached = set(forest.roots).union(*(forest.below(root) for root in forest.roots))
    for row, parent in enumerate(forest.columns["parent"]):
        if row not in reached and row not in forest.out:
            forest.out[row] = "cycle", f"its ancestors form a ring, through {parent}"


def _prune(forest: _Forest) -> None:
    """Takes messages marked `cut`, with all below them, out of the trees."""
    live = [root for root in forest.roots if not _felled(forest, root)]
    forest.roots = list(live)
    while live:
        row = live.pop()
        replies = forest.replies.get(row, [])
        forest.replies[row] = [reply for reply in replies if not _felled(forest, reply)]
        live += forest.replies[row]


def _felled(forest: _Forest, row: int) -> bool:
    if not (forest.marked(row, "cut") or forest.marked(row, "skip")):
        return False
    reasons, why = forest.columns["removed_by"], forest.columns["why"]
    forest.out[row] = reasons[row], why[row]
    below = reasons[row], f"below {forest.name(row)}"
    for reply in forest.below(row):
        forest.out[reply] = (reasons[reply], why[reply]) if reasons[reply] else below
    return True


def _leaves(forest: _Forest, threads: Threads) -> Iterator[int]:
    """Yields the last message of each conversation of the policy."""
    choose = _chooser(forest, threads)
    roles = forest.columns["role"]
    waiting = forest.roots[::-1]
    while waiting:
        row = waiting.pop()
        replies = choose(row)
        if roles[row] == "assistant" if threads.policy == "all_prefixes" else not replies:
            yield row
        waiting += replies[::-1]


def _chooser(forest: _Forest, threads: Threads) -> Callable[[int], list[int]]:
    def all_replies(row: int) -> list[int]:
        return forest.replies.get(row, [])

    def best_reply(row: int) -> list[int]:
        return all_replies(row)[:1]

    def best_answers(row: int) -> list[int]:
        is_answer = {r: forest.columns["role"][r] == "assistant" for r in all_replies(row)}
        answers = [reply for reply, is_answer in is_answer.items() if is_answer]
        return answers[: threads.top_k] + [r for r in is_answer if not is_answer[r]]

    return {"best_rank": best_reply, "top_k": best_answers}.get(threads.policy, all_replies)


Paths = dict[int, list[int]]  # the last message of a conversation, and all of them in order
Lost = dict[int, tuple[str, str]]  # the last message of a conversation, reason, detail


def _without_dropped(forest: _Forest, paths: Paths) -> tuple[Paths, Lost]:
    """Parts the paths that hold no message marked `drop` from those that do."""
    lost: Lost = {}
    for leaf, path in paths.items():
        bad = next((row for row in path if forest.marked(row, "drop")), None)
        if bad is not None:
            reason = forest.columns["removed_by"][bad]
            lost[leaf] = reason, f"because of {forest.name(bad)}"
            own = forest.columns["why"][bad]
            forest.out.setdefault(bad, (reason, own))
    return {leaf: path for leaf, path in paths.items() if leaf not in lost}, lost


def _ended(forest: _Forest, paths: Paths, threads: Threads) -> tuple[Paths, Lost]:
    """Trims the paths as the recipe says; drops what is then empty or the start of another."""
    ended = {leaf: _trim_path(forest, path, threads) for leaf, path in paths.items()}
    kept = {leaf: path for leaf, path in ended.items() if path and path[-1] == leaf}
    covered = {row for path in ended.values() for row in path[:-1]} | set(kept)
    lost: Lost = {}
    for leaf in sorted(ended.keys() - kept.keys(), key=forest.name):
        path = ended[leaf]
        if not path:
            lost[leaf] = _trimmed(forest, leaf), "nothing is left of it"
        elif path[-1] in covered:
            lost[leaf] = "prefix_of_another", f"up to {forest.name(path[-1])}"
        else:
            kept[path[-1]] = path
            covered.add(path[-1])
    return kept, lost


def _trim_path(forest: _Forest, path: list[int], threads: Threads) -> list[int]:
    roles = [forest.columns["role"][row] for row in path]
    first, last = 0, len(path)
    if threads.start == "user":
        first = roles.index("user") if "user" in roles else last
    if threads.end == "assistant":
        answers = (i + 1 for i, role in enumerate(roles) if role == "assistant" and i >= first)
        last = max(answers, default=0)
    return [row for i, row in enumerate(path[:last]) if i >= first or roles[i] == "system"]


def _trimmed(forest: _Forest, row: int) -> str:
    is_answer = forest.columns["role"][row] == "assistant"
    return "leading_turn" if is_answer else "trailing_turn"


def _say_why(forest: _Forest, whole: Paths, lost: Lost, kept: Paths) -> None:
    """Gives a reason to each message that stands in no conversation that was kept."""
    in_rows = {row for path in kept.values() for row in path}
    for row in {row for path in whole.values() for row in path} - in_rows:
        forest.out[row] = _trimmed(forest, row), None
    for leaf, (reason, detail) in lost.items():
        for row in forest.path(leaf):
            if row not in in_rows:
                forest.out.setdefault(row, (reason, detail))
    for row in range(len(forest.columns["message"])):
        if row not in in_rows:
            forest.out.setdefault(row, ("not_selected", None))


def _rows(forest: _Forest, kept: Paths) -> pl.DataFrame:
    """The rows of MESSAGES for the paths, in the order of their ids."""
    columns = forest.columns
    paths = {f"{columns['group'][leaf]}/{forest.name(leaf)}": path for leaf, path in kept.items()}
    paths = dict(sorted(paths.items()))
    flat = [row for path in paths.values() for row in path]
    rows = {name: [columns[name][row] for row in flat] for name in MESSAGES if name in columns}
    rows["conversation"] = [id for id, path in paths.items() for _ in path]
    rows["position"] = [position for path in paths.values() for position in range(len(path))]
    return pl.DataFrame(rows, schema=MESSAGES)


def _message_events(forest: _Forest) -> pl.DataFrame:
    rows = sorted(forest.out)
    columns = {
        "unit": ["message"] * len(rows),
        "id": [forest.name(row) for row in rows],
        "conversation": [forest.columns["group"][row] for row in rows],
        "reason": [forest.out[row][0] for row in rows],
        "detail": [forest.out[row][1] for row in rows],
        "source": [forest.columns["source"][row] for row in rows],
    }
    return pl.DataFrame(columns, schema=EVENTS)


def _conversation_events(forest: _Forest, lost: Lost) -> pl.DataFrame:
    columns = {
        "unit": ["conversation"] * len(lost),
        "id": [f"{forest.columns['group'][leaf]}/{forest.name(leaf)}" for leaf in lost],
        "conversation": [None] * len(lost),
        "reason": [reason for reason, _ in lost.values()],
        "detail": [detail for _, detail in lost.values()],
        "source": [forest.columns["source"][leaf] for leaf in lost],
    }
    return pl.DataFrame(columns, schema=EVENTS)
