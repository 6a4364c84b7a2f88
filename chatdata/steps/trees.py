"""Trees to conversations: which replies are followed, and what becomes of the rest.

    all_leaves    one conversation for each path from a root to a leaf
    best_rank     at each fork the best reply
    top_k         the k best replies to a user; every reply to an assistant
    all_prefixes  one conversation for each assistant message

Better is: not marked `drop`, lower rank, ranked before unranked, then earlier, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from chatdata.core.ledger import BECAUSE, outcomes_of
from chatdata.core.schema import MESSAGE_KEY, MESSAGES, SPOKEN
from chatdata.steps.threads import Threaded, Threads

Path = list[int]  # rows of messages, each the parent of the next
Paths = dict[int, Path]  # of conversations, by the row of the last message
Why = tuple[str, str | None]  # reason, detail

# The columns that threading goes by; what the messages say stays in the table.
_STRUCTURE = (
    *("group", "message", "parent", "role", "rank", "created"),
    *("removed_by", "on_removed", "why", "where"),
)


@dataclass(slots=True)
class _Forest:
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

    def is_answer(self, row: int) -> bool:
        """Whether this message is the assistant's."""
        return bool(self.columns["role"][row] == "assistant")

    def filtered(self, row: int) -> Why:
        """The filter that marked this message, and its detail."""
        return self.columns["removed_by"][row], self.columns["why"][row]

    def path(self, row: int) -> Path:
        """The messages from the root to this message."""
        path = [row]
        while path[-1] in self.parents:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def below(self, row: int) -> Iterator[int]:
        """Yields all messages below this message, parents before their replies."""
        waiting = list(self.replies.get(row, ()))
        while waiting:
            reply = waiting.pop()
            yield reply
            waiting += self.replies.get(reply, ())


def linearize(nodes: pl.DataFrame, threads: Threads) -> Threaded:
    """Makes conversations of whole trees, whose messages `filtering.mark` has marked.

    A message marked `cut` or `skip` takes all replies below it along; a message marked `drop` takes
    along every conversation that it stands in. The result does not depend on the order of the rows.
    """
    nodes = nodes.sort("group", "message", "parent", "role", "content", "where")
    forest = _plant(nodes)
    _set_unreachable_aside(forest)
    _prune(forest)
    paths = {leaf: forest.path(leaf) for leaf in _leaves(forest, threads)}
    fallen = _fallen(forest, paths)
    whole = {leaf: path for leaf, path in paths.items() if leaf not in fallen}
    kept, repeated = _trimmed(forest, whole, threads)
    reasons = _reasons(forest, paths, fallen, kept)
    outcomes = _outcomes(nodes, reasons, fallen | repeated)
    return Threaded(_turns(nodes, forest, kept), outcomes, len(paths))


def paths_to(nodes: pl.DataFrame, ids: Collection[str]) -> pl.DataFrame:
    """The (`group`, `message`) of the messages on the paths to the last messages of conversations.

    `ids` name conversations: `GROUP/MESSAGE`.
    """
    name = pl.concat_str("group", "message", separator="/")
    ends = nodes.filter(name.is_in(list(ids))).select(MESSAGE_KEY)
    trees = nodes.filter(pl.col("group").is_in(ends["group"].unique().implode()))
    rows = trees.select("group", "message", "parent").iter_rows()
    parents = {(group, message): parent for group, message, parent in rows}
    on_path: set[tuple[str, str | None]] = set()
    for group, message in ends.iter_rows():
        while (group, message) in parents and (group, message) not in on_path:
            on_path.add((group, message))
            message = parents[group, message]
    schema = dict.fromkeys(MESSAGE_KEY, pl.String)
    return pl.DataFrame(sorted(on_path), schema, orient="row")


# ------------------------------------------------------------------------------- from rows to trees


def _plant(nodes: pl.DataFrame) -> _Forest:
    """The trees of messages; a repeated id and a message without its parent are set aside."""
    columns = nodes.select(_STRUCTURE).to_dict(as_series=False)
    forest = _Forest(columns)
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


def _attach(forest: _Forest, row: int, index: Mapping[tuple[str, str], int], group: str) -> None:
    parent = forest.columns["parent"][row]
    if parent is None:
        forest.roots.append(row)
    elif (group, parent) in index:
        above = index[group, parent]
        forest.parents[row] = above
        forest.replies.setdefault(above, []).append(row)
    else:
        forest.set_aside[row] = "rootless", f"its parent {parent} is not in the input"


def _merit(forest: _Forest, row: int) -> tuple[Any, ...]:
    """Sorts replies: not marked `drop`, ranked, lower rank, dated, earlier, smaller id."""
    rank, created = forest.columns["rank"][row], forest.columns["created"][row]
    is_dropped = forest.is_marked(row, "drop")
    return (is_dropped, rank is None, rank or 0, created is None, created or 0, forest.name(row))


def _set_unreachable_aside(forest: _Forest) -> None:
    """Sets aside what no root leads to: orphans with all below them, and rings."""
    orphans = [row for row, (reason, _) in forest.set_aside.items() if reason == "rootless"]
    for orphan in orphans:
        detail = f"below {forest.name(orphan)}, whose parent is not in the input"
        forest.set_aside.update(dict.fromkeys(forest.below(orphan), ("rootless", detail)))
    reached = set(forest.roots).union(*(forest.below(root) for root in forest.roots))
    for row, parent in enumerate(forest.columns["parent"]):
        if row not in reached and row not in forest.set_aside:
            forest.set_aside[row] = "cycle", f"its ancestors form a ring, through {parent}"


def _prune(forest: _Forest) -> None:
    """Takes messages marked `cut` or `skip`, with all below them, out of the trees."""
    live = [root for root in forest.roots if not _felled(forest, root)]
    forest.roots = list(live)
    while live:
        row = live.pop()
        replies = forest.replies.get(row, [])
        forest.replies[row] = [reply for reply in replies if not _felled(forest, reply)]
        live += forest.replies[row]


def _felled(forest: _Forest, row: int) -> bool:
    """Whether a message is marked `cut` or `skip`; all below it is then set aside with it."""
    if not (forest.is_marked(row, "cut") or forest.is_marked(row, "skip")):
        return False
    reason, detail = forest.filtered(row)
    forest.set_aside[row] = reason, detail
    below = reason, f"below {forest.name(row)}"
    for reply in forest.below(row):
        is_removed = forest.columns["removed_by"][reply]
        forest.set_aside[reply] = forest.filtered(reply) if is_removed else below
    return True


# ------------------------------------------------------------------------------ from trees to paths


def _leaves(forest: _Forest, threads: Threads) -> Iterator[int]:
    """Yields the last message of each conversation of the policy."""
    choose = _chooser(forest, threads)
    waiting = forest.roots[::-1]
    while waiting:
        row = waiting.pop()
        replies = choose(row)
        if forest.is_answer(row) if threads.policy == "all_prefixes" else not replies:
            yield row
        waiting += replies[::-1]


def _chooser(forest: _Forest, threads: Threads) -> Callable[[int], list[int]]:
    """The replies that a policy follows, as a function of a message."""

    def all_replies(row: int) -> list[int]:
        return forest.replies.get(row, [])

    def best_reply(row: int) -> list[int]:
        return all_replies(row)[:1]

    def best_answers(row: int) -> list[int]:
        replies = all_replies(row)
        answers = [reply for reply in replies if forest.is_answer(reply)]
        questions = [reply for reply in replies if not forest.is_answer(reply)]
        return answers[: threads.top_k] + questions

    return {"best_rank": best_reply, "top_k": best_answers}.get(threads.policy, all_replies)


def _fallen(forest: _Forest, paths: Paths) -> dict[int, Why]:
    """Why paths fall that hold a message marked `drop`; the message itself is set aside."""
    fallen: dict[int, Why] = {}
    for leaf, path in paths.items():
        dropped = next((row for row in path if forest.is_marked(row, "drop")), None)
        if dropped is not None:
            reason, detail = forest.filtered(dropped)
            fallen[leaf] = reason, f"{BECAUSE}{forest.name(dropped)}"
            forest.set_aside[dropped] = reason, detail
    return fallen


def _trimmed(forest: _Forest, paths: Paths, threads: Threads) -> tuple[Paths, dict[int, Why]]:
    """The paths, trimmed as the recipe says, and why paths go that are empty or repeat others.

    A path that is trimmed may be the beginning of another path, or end as another does.
    """
    trimmed = {leaf: _trim_path(forest, path, threads) for leaf, path in paths.items()}
    kept = {leaf: path for leaf, path in trimmed.items() if path and path[-1] == leaf}
    covered = {row for path in trimmed.values() for row in path[:-1]} | set(kept)
    repeated: dict[int, Why] = {}
    for leaf in sorted(trimmed.keys() - kept.keys(), key=forest.name):
        path = trimmed[leaf]
        if not path:
            repeated[leaf] = _trim_reason(forest, leaf), "nothing is left of it"
        elif path[-1] in covered:
            repeated[leaf] = "prefix_of_another", f"up to {forest.name(path[-1])}"
        else:
            kept[path[-1]] = path
            covered.add(path[-1])
    return kept, repeated


def _trim_path(forest: _Forest, path: Path, threads: Threads) -> Path:
    roles = [forest.columns["role"][row] for row in path]
    first, end = 0, len(path)
    if threads.start == "user":
        first = roles.index("user") if "user" in roles else end
    if threads.end == "assistant":
        answers = (i + 1 for i, role in enumerate(roles) if role == "assistant" and i >= first)
        end = max(answers, default=0)
    return [
        row for i, row in enumerate(path[:end]) if i >= first or roles[i] in ("system", "developer")
    ]


def _trim_reason(forest: _Forest, row: int) -> str:
    """The reason of a message that was trimmed: answers end a path, so they were at its start."""
    return "leading_turn" if forest.is_answer(row) else "trailing_turn"


# ------------------------------------------------------------------------------- what goes, and why


def _reasons(forest: _Forest, paths: Paths, fallen: dict[int, Why], kept: Paths) -> dict[int, Why]:
    """Why each message is in no conversation that was kept, in the order of the rows.

    A message may have several reasons: of the statements below the last has precedence.
    """
    reasons: dict[int, Why] = dict.fromkeys(range(forest.size()), ("not_selected", None))
    for leaf in reversed(fallen):  # of several paths that fall, the first
        reasons |= dict.fromkeys(paths[leaf], fallen[leaf])
    whole = (path for leaf, path in paths.items() if leaf not in fallen)
    reasons |= {row: (_trim_reason(forest, row), None) for path in whole for row in path}
    reasons |= forest.set_aside
    for row in {row for path in kept.values() for row in path}:
        del reasons[row]
    return reasons


def _with_reasons(nodes: pl.DataFrame, reasons: Mapping[int, Why]) -> pl.DataFrame:
    """The messages that have a reason, with columns `reason` and `detail`; the group stands for
    the conversation, which a message of a tree does not have."""
    reason, detail = [why[0] for why in reasons.values()], [why[1] for why in reasons.values()]
    return nodes[_series(reasons, pl.UInt32)].select(
        "message",
        "source",
        "where",
        "role",
        *SPOKEN,
        conversation="group",
        reason=_series(reason, pl.String),
        detail=_series(detail, pl.String),
    )


def _outcomes(
    nodes: pl.DataFrame, messages: Mapping[int, Why], conversations: Mapping[int, Why]
) -> pl.DataFrame:
    """Rows of OUTCOMES for messages, and for conversations, given by their last message."""
    lost = _with_reasons(nodes, conversations)
    lost = lost.with_columns(message=pl.concat_str("conversation", "message", separator="/"))
    reason, detail = pl.col("reason"), pl.col("detail")
    return pl.concat(
        [
            outcomes_of("message", _with_reasons(nodes, messages), "message", reason, detail),
            outcomes_of("conversation", lost, "message", reason, detail),
        ]
    )


def _turns(nodes: pl.DataFrame, forest: _Forest, kept: Paths) -> pl.DataFrame:
    """The rows of MESSAGES for the paths, in the order of the ids of conversations."""
    groups = forest.columns["group"]
    paths = dict(
        sorted((f"{groups[leaf]}/{forest.name(leaf)}", path) for leaf, path in kept.items())
    )
    turns = nodes[_series([row for path in paths.values() for row in path], pl.UInt32)]
    return turns.with_columns(
        conversation=_series([id for id, path in paths.items() for _ in path], pl.String),
        position=_series([i for path in paths.values() for i in range(len(path))], pl.Int32),
    ).select(MESSAGES.keys())


def _series(values: Iterable[Any], dtype: type[pl.DataType]) -> pl.Series:
    return pl.Series(list(values), dtype=dtype)
