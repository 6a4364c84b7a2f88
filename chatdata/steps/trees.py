"""Trees to conversations: which replies are followed, and what becomes of the rest.

    all_leaves    one conversation for each path from a root to a leaf
    best_rank     at each fork the best reply
    top_k         the k best replies to a user; every reply to an assistant
    all_prefixes  one conversation for each assistant message

An answer that the source says was rejected is in no conversation, whatever the policy.

Better is: not marked `drop`, lower rank, ranked before unranked, then earlier, then the smaller id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from chatdata.core.ledger import BECAUSE, DISLIKED, outcomes_of
from chatdata.core.schema import MESSAGE_KEY, MESSAGES, SPOKEN
from chatdata.steps.forest import Forest, Why, plant
from chatdata.steps.threads import Threaded, Threads

_TURNS = 1000  # that a tree may repeat for each path that it may have

_NOT_SELECTED: Why = ("not_selected", None)
_DISLIKED: Why = ("not_selected", DISLIKED)


def linearize(nodes: pl.DataFrame, threads: Threads) -> Threaded:
    """Makes conversations of whole trees, whose messages `filtering.mark` has marked.

    A message marked `cut` or `skip` takes all replies below it along, but for an instruction marked
    `skip`, which goes alone; a message marked `drop` takes along every conversation that it stands
    in. A tree of more than `max_paths` conversations goes as a whole. The result does not depend on
    the order of the rows.
    """
    nodes = nodes.sort("group", "message", "parent", "role", "content", "where")
    forest = plant(nodes)
    ways = _ways(forest, threads)
    fate = _fate(forest, ways, list(_leaves(forest, threads)))
    refused = _refused(forest, ways, fate.ends, threads.max_paths)
    if refused:
        fate = fate.without(refused, forest.columns["group"])
    roots = {forest.columns["group"][root]: root for root in reversed(forest.roots)}
    lost = fate.fallen | fate.repeated | {roots[group]: why for group, why in refused.items()}
    outcomes = _outcomes(nodes, _reasons(forest, ways, fate, refused), lost)
    conversations = len(fate.leaves) + len(refused)
    return Threaded(_turns(nodes, forest, ways, fate.ends), outcomes, conversations)


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


def with_tools(nodes: pl.DataFrame) -> pl.DataFrame:
    """The messages with the tools that they list, or else the nearest message above them that lists
    any, so that a conversation has its tools whatever becomes of that message."""
    if nodes["tools"].null_count() in (0, nodes.height):
        return nodes
    keys = list(nodes.select(MESSAGE_KEY).iter_rows())
    parents = dict(zip(keys, zip(nodes["group"], nodes["parent"], strict=True), strict=True))
    offered = {key: tools for key, tools in zip(keys, nodes["tools"], strict=True) if tools}
    for key in keys:
        way, last = {key}, key
        while last not in offered and (above := parents.get(last)) and above not in way:
            way.add(above)
            last = above
        offered |= dict.fromkeys(way, offered.get(last))
    return nodes.with_columns(tools=_series(map(offered.get, keys), pl.String))


# ------------------------------------------------------------------------------ from trees to paths


def _leaves(forest: Forest, threads: Threads) -> Iterator[int]:
    """Yields the last message of each conversation of the policy."""
    choose = _chooser(forest, threads)
    waiting = forest.roots[::-1]
    while waiting:
        row = waiting.pop()
        replies = choose(row)
        if forest.is_answer(row) if threads.policy == "all_prefixes" else not replies:
            yield row
        waiting += replies[::-1]


def _chooser(forest: Forest, threads: Threads) -> Callable[[int], list[int]]:
    """The replies that a policy follows, as a function of a message."""

    def all_replies(row: int) -> list[int]:
        return [reply for reply in forest.replies.get(row, []) if not forest.is_rejected(reply)]

    def best_reply(row: int) -> list[int]:
        return all_replies(row)[:1]

    def best_answers(row: int) -> list[int]:
        replies = all_replies(row)
        answers = [reply for reply in replies if forest.is_answer(reply)]
        questions = [reply for reply in replies if not forest.is_answer(reply)]
        return answers[: threads.top_k] + questions

    return {"best_rank": best_reply, "top_k": best_answers}.get(threads.policy, all_replies)


@dataclass(slots=True)
class _Ways:
    """What is known of the way from a root to each message, by the row of the message.

    dropped  the first message of the way that is marked `drop`
    stays    does the message itself stay where it stands on a way that is kept?
    end      the last message of the way, trimmed as the recipe says; None where nothing is left
    turns    how many messages of the way stay
    """

    dropped: list[int | None]
    stays: list[bool]
    end: list[int | None]
    turns: list[int]


def _ways(forest: Forest, threads: Threads) -> _Ways:
    size = forest.size()
    ways = _Ways([None] * size, [False] * size, [None] * size, [0] * size)
    has_user = [threads.start == "any"] * size
    for root in forest.roots:
        for row in (root, *forest.below(root)):
            above, role = forest.parents.get(row), forest.columns["role"][row]
            has_user[row] |= role == "user" or (above is not None and has_user[above])
            _add_way(forest, ways, row, is_started=has_user[row], ends_on=threads.end)
    return ways


def _add_way(forest: Forest, ways: _Ways, row: int, *, is_started: bool, ends_on: str) -> None:
    """Adds the way to a message, that to its parent being known."""
    above, role = forest.parents.get(row), forest.columns["role"][row]
    stays = (is_started or role in ("system", "developer")) and not forest.is_skipped(row)
    is_end = stays if ends_on == "any" else is_started and forest.is_answer(row)
    dropped = row if forest.is_marked(row, "drop") else None
    ways.stays[row], ways.turns[row] = stays, int(stays)
    ways.end[row], ways.dropped[row] = row if is_end else None, dropped
    if above is not None:
        ways.turns[row] += ways.turns[above]
        ways.end[row] = row if is_end else ways.end[above]
        ways.dropped[row] = dropped if ways.dropped[above] is None else ways.dropped[above]


@dataclass(slots=True)
class _Fate:
    """What becomes of the conversations that the policy chooses, given by their last messages.

    leaves    all of them
    fallen    those that hold a message marked `drop`, and why
    repeated  those of which trimming leaves nothing, or what another has as well, and why
    ends      the last messages of those that are kept, trimmed
    """

    leaves: list[int]
    fallen: dict[int, Why]
    repeated: dict[int, Why]
    ends: list[int]

    def without(self, groups: Collection[str], group_of: list[str]) -> _Fate:
        """The fate of the conversations of all trees but some."""

        def is_left(row: int) -> bool:
            return group_of[row] not in groups

        return _Fate(
            list(filter(is_left, self.leaves)),
            {row: why for row, why in self.fallen.items() if is_left(row)},
            {row: why for row, why in self.repeated.items() if is_left(row)},
            list(filter(is_left, self.ends)),
        )


def _fate(forest: Forest, ways: _Ways, leaves: list[int]) -> _Fate:
    """What becomes of the conversations that end on `leaves`.

    A path that is trimmed may be the beginning of another path, or end as another does.
    """
    fallen = _fallen(forest, ways, leaves)
    ends = {leaf: ways.end[leaf] for leaf in leaves if leaf not in fallen}
    kept = {leaf for leaf, end in ends.items() if leaf == end}
    last = {end for end in ends.values() if end is not None}
    above = (forest.parents[row] for row in last if row in forest.parents)
    covered = {row for row, _ in forest.upwards(above) if ways.stays[row]} | kept
    repeated: dict[int, Why] = {}
    for leaf in sorted(ends.keys() - kept, key=forest.name):
        end = ends[leaf]
        if end is None:
            repeated[leaf] = _trim_reason(forest, leaf), "nothing is left of it"
        elif end in covered:
            repeated[leaf] = "prefix_of_another", f"up to {forest.name(end)}"
        else:
            kept.add(end)
            covered.add(end)
    return _Fate(leaves, fallen, repeated, sorted(kept))


def _fallen(forest: Forest, ways: _Ways, leaves: Iterable[int]) -> dict[int, Why]:
    """Why conversations fall that hold a message marked `drop`; the message itself is set aside.

    A message behind the end of the trimmed way takes nothing along.
    """
    fallen: dict[int, Why] = {}
    for leaf in leaves:
        dropped, end = ways.dropped[leaf], ways.end[leaf]
        if dropped is None:
            continue
        reason, detail = forest.filtered(dropped)
        forest.set_aside[dropped] = reason, detail
        if end is None or ways.dropped[end] is not None:
            fallen[leaf] = reason, f"{BECAUSE}{forest.name(dropped)}"
    return fallen


def _refused(forest: Forest, ways: _Ways, ends: Collection[int], max_paths: int) -> dict[str, Why]:
    """Why trees go that would be too many conversations, or would repeat too many turns in them."""
    paths, read = forest.trees(ends), forest.trees(row for row, _ in forest.upwards(ends))
    written: Counter[str] = Counter()
    for row in ends:
        written[forest.columns["group"][row]] += ways.turns[row]
    refused: dict[str, Why] = {}
    for group, number in paths.items():
        again = written[group] - read[group]
        if number > max_paths or again > max_paths * _TURNS:
            words = f"{number} paths, which repeat {max(0, again)} turns; max_paths is {max_paths}"
            refused[group] = "too_many_paths", words
    return refused


def _trim_reason(forest: Forest, row: int) -> str:
    """The reason of a message that was trimmed: answers end a path, so they were at its start."""
    return "leading_turn" if forest.is_answer(row) else "trailing_turn"


# ------------------------------------------------------------------------------- what goes, and why


def _reasons(
    forest: Forest, ways: _Ways, fate: _Fate, refused: Mapping[str, Why]
) -> dict[int, Why]:
    """Why each message is in no conversation that was kept, in the order of the rows.

    A message may have several reasons: of the statements below the last has precedence.
    """
    groups = forest.columns["group"]
    reasons = dict.fromkeys(range(len(groups)), _NOT_SELECTED) | dict.fromkeys(
        forest.disliked(), _DISLIKED
    )
    reasons |= {row: refused[group] for row, group in enumerate(groups) if group in refused}
    # Of several paths that fall, the first.
    reasons |= {row: fate.fallen[leaf] for row, leaf in forest.upwards(fate.fallen)}
    whole = (leaf for leaf in fate.leaves if leaf not in fate.fallen)
    reasons |= {row: (_trim_reason(forest, row), None) for row, _ in forest.upwards(whole)}
    reasons |= {row: forest.filtered(row) for row in range(len(groups)) if forest.is_skipped(row)}
    reasons |= forest.set_aside
    for row, _ in forest.upwards(fate.ends):
        if ways.stays[row]:
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
        "left_by",
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


def _turns(nodes: pl.DataFrame, forest: Forest, ways: _Ways, ends: Iterable[int]) -> pl.DataFrame:
    """The rows of MESSAGES for the paths to `ends`, in the order of the ids of conversations."""
    groups = forest.columns["group"]
    named = sorted((f"{groups[end]}/{forest.name(end)}", end) for end in ends)
    paths = [_path(forest, ways, end) for _, end in named]
    lengths = np.array([len(path) for path in paths], np.int64)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    names = pl.Series([id for id, _ in named], dtype=pl.String)
    rows = np.concatenate([np.empty(0, np.uint32), *paths])
    turns = nodes.select(name for name in MESSAGES if name not in ("conversation", "position"))
    return (
        turns[rows]
        .with_columns(
            conversation=names[np.repeat(np.arange(len(paths), dtype=np.uint32), lengths)],
            position=pl.Series(np.arange(len(rows)) - starts).cast(pl.Int32),
        )
        .select(MESSAGES.keys())
    )


def _path(forest: Forest, ways: _Ways, end: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The messages that stay of those from a root to `end`."""
    path = [row for row, _ in forest.upwards([end]) if ways.stays[row]]
    return np.array(path[::-1], np.uint32)


def _series(values: Iterable[Any], dtype: type[pl.DataType]) -> pl.Series:
    return pl.Series(list(values), dtype=dtype)
