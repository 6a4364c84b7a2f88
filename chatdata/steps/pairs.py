"""Ranked answers of trees to pairs: an answer that people preferred, and one that they did not.

    best_worst  the best and the worst answer to a question
    adjacent    each answer, and each answer of the next rank
    all         each answer, and each answer that is ranked below

Answers of the same rank are never a pair, nor are answers whose ranks differ by less than `margin`.
A question of more than MOST pairs has none. For losses over lists, the ranked answers to a question
are a group too, whatever the policy.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import polars as pl

from chatdata.core.ledger import ANSWER, BECAUSE, OUTCOMES, outcomes_of
from chatdata.core.schema import MESSAGE_KEY, empty
from chatdata.core.schema import NODES as _NODES

PairPolicy = Literal["best_worst", "adjacent", "all"]

# What `make` needs of a message. `lost` is the reason why the message is in no row, and `lost_why`
# its detail: null where the message is kept, or where the thread policy alone left it out.
_READ = (*MESSAGE_KEY, "parent", "role", "rank", "train", "lost", "lost_why")
# The thread policy left it out, or chose no answer below it: neither says anything against it.
_NOT_LOST = ("not_selected", "trailing_turn")
_LEADING = "leading_turn"  # stands before the conversation, and so before the prompt

# What `with_losses` needs of messages that filters have marked.
NODES: dict[str, pl.DataType | type[pl.DataType]] = {
    **_NODES,
    "removed_by": pl.String,
    "on_removed": pl.String,
    "why": pl.String,
}

PAIRS: dict[str, pl.DataType | type[pl.DataType]] = {
    "pair": pl.String,  # the id: GROUP/CHOSEN~REJECTED
    "group": pl.String,
    "question": pl.String,  # the id of the message that both answer: GROUP/MESSAGE
    "prompt": pl.List(pl.UInt32),  # rows of the messages, from the root to the question
    "chosen": pl.UInt32,  # rows of the answers
    "rejected": pl.UInt32,
    "chosen_rank": pl.Int64,
    "rejected_rank": pl.Int64,
}


GROUPS: dict[str, pl.DataType | type[pl.DataType]] = {
    "question": pl.String,  # as in PAIRS
    "group": pl.String,
    "prompt": pl.List(pl.UInt32),
    "answers": pl.List(pl.UInt32),  # rows of all ranked answers, the best first
    "ranks": pl.List(pl.Int64),
}

MOST = 10_000  # pairs of a question: 142 answers, each with all others


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs as rows of PAIRS, a row of OUTCOMES for each answer of a tree, and the ranked answers
    to each question as rows of GROUPS."""

    pairs: pl.DataFrame
    outcomes: pl.DataFrame
    groups: pl.DataFrame


class _Pair(NamedTuple):
    """The rows of a better and of a worse answer to the same message."""

    chosen: int
    rejected: int


def make(nodes: pl.DataFrame, policy: PairPolicy, margin: int = 1) -> Paired:
    """The pairs of trees, in the order of their questions, and what became of each answer.

    `nodes` are rows of NODES with `lost` and `lost_why`, in which no message stands twice. A pair
    needs both answers and all of their prompt. The pairs do not depend on the order of the rows.
    """
    trees = _Trees.of(nodes)
    forks = trees.forks()
    in_order = {question: _in_order(trees, answers) for question, answers in forks.items()}
    numbers = {question: _NUMBERS[policy](by_rank) for question, by_rank in in_order.items()}
    crowded = {question: number for question, number in numbers.items() if number > MOST}
    choose = _POLICIES[policy]
    pairs = [
        pair
        for question, by_rank in in_order.items()
        if question not in crowded
        for pair in choose(by_rank)
        if trees.gap(pair) >= margin
    ]
    outcomes = _outcomes(nodes, trees, forks, pairs, crowded)
    return Paired(_rows(trees, pairs), outcomes, _groups(trees, in_order))


# ------------------------------------------------------------------------------------- the trees


@dataclass(frozen=True, slots=True)
class _Trees:
    """The structure of some trees: columns, the parents of messages, and for each message the
    lost message that keeps it out of pairs, the message itself or the next above; None: no such."""

    columns: Mapping[str, list[Any]]
    parents: Mapping[int, int]
    culprits: Mapping[int, int | None]

    @classmethod
    def of(cls, nodes: pl.DataFrame) -> _Trees:
        """The structure of the trees of these messages."""
        columns = nodes.select(_READ).to_dict(as_series=False)
        keys = list(zip(columns["group"], columns["message"], strict=True))
        index = {key: row for row, key in enumerate(keys)}
        above = {
            row: index.get((group, columns["parent"][row])) for row, (group, _) in enumerate(keys)
        }
        parents = {row: parent for row, parent in above.items() if parent is not None}
        return cls(columns, parents, _culprits(columns["lost"], parents))

    def answers(self) -> list[int]:
        """The rows of all answers."""
        return [row for row, role in enumerate(self.columns["role"]) if role == "assistant"]

    def forks(self) -> dict[int, list[int]]:
        """The answers to each message that may stand in a pair, by the row of the message."""
        forks: dict[int, list[int]] = {}
        for row in self.answers():
            if row in self.parents and self.fault(row) is None:
                forks.setdefault(self.parents[row], []).append(row)
        return forks

    def fault(self, row: int) -> tuple[str, str | None] | None:
        """Why an answer cannot stand in a pair, whatever the policy: a reason and its detail."""
        culprit = self.culprits[row]
        if culprit is not None:
            because = f"{BECAUSE}{self.columns['message'][culprit]}"
            why = self.columns["lost_why"][culprit] if culprit == row else because
            return self.columns["lost"][culprit], why
        if self.columns["rank"][row] is None:
            return "unranked", None
        return None if self.columns["train"][row] else ("untrained", None)

    def prompt(self, row: int) -> list[int]:
        """The rows of the messages that an answer answers, from the first on."""
        above = list(_upwards(self.parents, self.parents[row]))
        return [at for at in reversed(above) if self.columns["lost"][at] is None]

    def gap(self, pair: _Pair) -> int:
        """How many ranks lie between the answers of a pair."""
        ranks = self.columns["rank"]
        return int(ranks[pair.rejected] - ranks[pair.chosen])


def _culprits(lost: Sequence[str | None], parents: Mapping[int, int]) -> dict[int, int | None]:
    """For each message the lost message that keeps it out of pairs. Nothing above a lost message is
    looked at, so that a ring, whose messages are all lost, has an end."""
    culprits: dict[int, int | None] = {}
    for row in range(len(lost)):
        for at in reversed(_unknown(row, lost, parents, culprits)):
            above = culprits.get(parents[at]) if at in parents else None
            is_before = above is not None and lost[above] == _LEADING
            culprits[at] = at if lost[at] is not None else (None if is_before else above)
    return culprits


def _unknown(
    row: int,
    lost: Sequence[str | None],
    parents: Mapping[int, int],
    culprits: Mapping[int, int | None],
) -> list[int]:
    """A message and those above it, as far as their culprits are not known and none of them is
    lost but the last."""
    way: list[int] = []
    at: int | None = row
    while at is not None and at not in culprits:
        way.append(at)
        at = None if lost[at] is not None else parents.get(at)
    return way


def _upwards(parents: Mapping[int, int], row: int) -> Iterator[int]:
    """Yields a message and those above it, up to the root."""
    at: int | None = row
    while at is not None:
        yield at
        at = parents.get(at)


# ------------------------------------------------------------------------------------- the pairs


def _in_order(trees: _Trees, answers: Iterable[int]) -> list[list[int]]:
    """The answers to a message by rank, the best first, and of a rank by id."""
    ranks, names = trees.columns["rank"], trees.columns["message"]
    ordered = sorted(answers, key=lambda row: (ranks[row], names[row]))
    return [list(equal) for _, equal in itertools.groupby(ordered, key=lambda row: ranks[row])]


def _best_worst(by_rank: list[list[int]]) -> Iterator[_Pair]:
    if len(by_rank) > 1:
        yield _Pair(by_rank[0][0], by_rank[-1][-1])


def _adjacent(by_rank: list[list[int]]) -> Iterator[_Pair]:
    for better, worse in itertools.pairwise(by_rank):
        yield from itertools.starmap(_Pair, itertools.product(better, worse))


def _all(by_rank: list[list[int]]) -> Iterator[_Pair]:
    for better, worse in itertools.combinations(by_rank, 2):
        yield from itertools.starmap(_Pair, itertools.product(better, worse))


_POLICIES: Mapping[PairPolicy, Callable[[list[list[int]]], Iterator[_Pair]]] = {
    "best_worst": _best_worst,
    "adjacent": _adjacent,
    "all": _all,
}


def _of_adjacent(by_rank: list[list[int]]) -> int:
    sizes = map(len, by_rank)
    return sum(better * worse for better, worse in itertools.pairwise(sizes))


def _of_all(by_rank: list[list[int]]) -> int:
    sizes = [len(answers) for answers in by_rank]
    return (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2


# How many pairs a question has, before any is made.
_NUMBERS: Mapping[PairPolicy, Callable[[list[list[int]]], int]] = {
    "best_worst": lambda by_rank: int(len(by_rank) > 1),
    "adjacent": _of_adjacent,
    "all": _of_all,
}


def _groups(trees: _Trees, in_order: Mapping[int, list[list[int]]]) -> pl.DataFrame:
    """The rows of GROUPS, in the order of their questions: of those with answers of two ranks."""
    groups, names, ranks = (trees.columns[name] for name in ("group", "message", "rank"))
    answers = {
        question: [row for equal in by_rank for row in equal]
        for question, by_rank in in_order.items()
        if len(by_rank) > 1
    }
    rows = {
        "question": [f"{groups[question]}/{names[question]}" for question in answers],
        "group": [groups[question] for question in answers],
        "prompt": [trees.prompt(ranked[0]) for ranked in answers.values()],
        "answers": list(answers.values()),
        "ranks": [[ranks[row] for row in ranked] for ranked in answers.values()],
    }
    return pl.DataFrame(rows, GROUPS).sort("question")


def _rows(trees: _Trees, pairs: Sequence[_Pair]) -> pl.DataFrame:
    """The rows of PAIRS, in the order of their questions, and of the ranks of their answers."""
    groups, names, ranks = (trees.columns[name] for name in ("group", "message", "rank"))
    prompts = {trees.parents[pair.chosen]: trees.prompt(pair.chosen) for pair in pairs}
    rows = {
        "pair": [f"{groups[a]}/{names[a]}~{names[b]}" for a, b in pairs],
        "group": [groups[pair.chosen] for pair in pairs],
        "question": [f"{groups[a]}/{names[trees.parents[a]]}" for a, _ in pairs],
        "prompt": [prompts[trees.parents[pair.chosen]] for pair in pairs],
        "chosen": [pair.chosen for pair in pairs],
        "rejected": [pair.rejected for pair in pairs],
        "chosen_rank": [ranks[pair.chosen] for pair in pairs],
        "rejected_rank": [ranks[pair.rejected] for pair in pairs],
    }
    return pl.DataFrame(rows, PAIRS).sort("question", "chosen_rank", "rejected_rank", "pair")


def _outcomes(
    nodes: pl.DataFrame,
    trees: _Trees,
    forks: Mapping[int, list[int]],
    pairs: Sequence[_Pair],
    crowded: Mapping[int, int],
) -> pl.DataFrame:
    """A row of OUTCOMES for each answer: kept where it stands in a pair. Its `conversation` is the
    tree. `crowded` has the number of pairs of questions with too many of them."""
    times = Counter(row for pair in pairs for row in pair)
    rivals = {row: len(answers) - 1 for answers in forks.values() for row in answers}

    def fate(row: int) -> tuple[str | None, str | None]:
        if times[row]:
            return None, f"in {times[row]} pair{'s' if times[row] > 1 else ''}"
        if fault := trees.fault(row):
            return fault
        if number := crowded.get(trees.parents.get(row, -1)):
            return "too_many_pairs", f"{number:,} pairs of its question, at most {MOST:,}"
        return ("not_paired" if rivals.get(row) else "no_rival"), None

    answers = trees.answers()
    fates = [fate(row) for row in answers]
    rows = nodes[pl.Series(answers, dtype=pl.UInt32)].with_columns(
        reason=pl.Series([reason for reason, _ in fates], dtype=pl.String),
        detail=pl.Series([detail for _, detail in fates], dtype=pl.String),
    )
    outcomes = outcomes_of(ANSWER, rows, "message", pl.col("reason"), pl.col("detail"))
    return outcomes.with_columns(conversation=rows["group"]).select(OUTCOMES.keys())


# ------------------------------------------------------------------------------ what was lost


def together(nodes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The messages of several tables of NODES, each once: that of the first table that has it, as
    `trees.linearize` chooses it."""
    order = ("group", "message", "parent", "role", "content", "where")
    table = pl.concat([empty(NODES), *(of_source.sort(order) for of_source in nodes)])
    return table.unique(MESSAGE_KEY, keep="first", maintain_order=True)


def with_losses(nodes: pl.DataFrame, kept: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Messages of NODES, of which none stands twice, with `lost` and `lost_why`.

    `kept` has the (`group`, `message`) of the messages of conversations that stay, and `outcomes`
    are rows of OUTCOMES for those of no conversation. What the thread policy did not choose is not
    lost, nor is a question below which it chose no answer, unless a filter has marked the message.
    An instruction that is skipped is left out of prompts, as what leads is.
    """
    reasons = _with_groups(nodes, outcomes).rename({"reason": "lost", "detail": "lost_why"})
    stands = kept.select(MESSAGE_KEY).unique().with_columns(is_kept=True)
    judged = nodes.join(reasons, on=MESSAGE_KEY, how="left", maintain_order="left")
    judged = judged.join(stands, on=MESSAGE_KEY, how="left", maintain_order="left")
    is_kept = pl.col("is_kept").fill_null(False)
    is_marked = pl.col("removed_by").is_not_null() & is_kept.not_()
    is_skipped = pl.col("role").is_in(["system", "developer"]) & (pl.col("on_removed") == "skip")
    marked_by = pl.when(is_skipped).then(pl.lit(_LEADING)).otherwise("removed_by")
    is_lost = (is_kept | pl.col("lost").is_in(_NOT_LOST).fill_null(False)).not_()
    # What is in no outcome is a message of a conversation that another source has as well.
    reason = pl.coalesce("lost", pl.lit("duplicate_id"))
    return judged.with_columns(
        lost=pl.when(is_marked).then(marked_by).when(is_lost).then(reason),
        lost_why=pl.when(is_marked).then("why").when(is_lost).then("lost_why"),
    ).drop("is_kept")


def _with_groups(nodes: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The first outcome of each message of a tree: `group`, `message`, reason and detail.

    An outcome names the tree, or the conversation of the tree in which the message stood last.
    """
    ids = nodes.select("group", home=pl.concat_str("group", "message", separator="/"))
    homes = pl.concat([ids, nodes.select("group", home="group")]).unique("home", keep="first")
    is_of_another = pl.col("reason") == "duplicate_id"
    dropped = outcomes.filter(pl.col("reason").is_not_null() & is_of_another.not_(), unit="message")
    dropped = dropped.select("reason", "detail", message="id", home="conversation")
    placed = dropped.join(homes, on="home", maintain_order="left").drop("home")
    return placed.unique(MESSAGE_KEY, keep="first", maintain_order=True)
