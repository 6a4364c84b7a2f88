"""Pairs of ranked answers: each policy against an independent walker, and a reason for each answer
that is in none."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from chatdata import sources
from chatdata.core.ledger import outcomes_of
from chatdata.sources import File
from chatdata.steps import pairs, trees
from chatdata.steps.filtering import Drop, OnRemoved, mark
from chatdata.steps.filters import FILTERS
from chatdata.steps.pairs import Paired, PairPolicy
from chatdata.steps.threads import Threads
from tests.support.conversations import nodes, random_tree
from tests.support.walker import Preferred, preferred

POLICIES: tuple[PairPolicy, ...] = ("best_worst", "adjacent", "all")
policies = st.sampled_from(POLICIES)
seeds, margins = st.integers(0, 2**32), st.integers(1, 3)


def read(rows: list[dict[str, Any]], folder: Path) -> pl.DataFrame:
    path = folder / "trees.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    batches = sources.get("oasst").read([File(path, "trees.jsonl")], "oasst", "oasst1")
    return pl.concat([batch.rows for batch in batches])


def threaded(marked: pl.DataFrame, **threads: Any) -> pl.DataFrame:
    """Marked messages with what was lost of them when they were threaded."""
    made = trees.linearize(marked, Threads(**threads))
    return pairs.with_losses(
        pairs.together([marked.select(pairs.NODES.keys())]), made.messages, made.outcomes
    )


def named(judged: pl.DataFrame, paired: Paired) -> list[Preferred]:
    """Pairs by the ids of their messages."""
    ids = judged["message"].to_list()
    rows = paired.pairs.select("prompt", "chosen", "rejected").iter_rows()
    return [([ids[row] for row in prompt], ids[a], ids[b]) for prompt, a, b in rows]


def fates(paired: Paired) -> dict[str, str]:
    rows = paired.outcomes.select("id", "reason", "detail").iter_rows()
    return {id: " ".join(filter(None, (reason or "kept", detail))) for id, reason, detail in rows}


# ------------------------------------------------------------------------------ one to read

FORK: list[dict[str, Any]] = [
    {"message": "u1"},
    {"message": "good", "parent": "u1", "role": "assistant", "rank": 0},
    {"message": "fair", "parent": "u1", "role": "assistant", "rank": 1},
    {"message": "poor", "parent": "u1", "role": "assistant", "rank": 3},
    {"message": "new", "parent": "u1", "role": "assistant"},
    {"message": "u2", "parent": "fair"},
    {"message": "lone", "parent": "u2", "role": "assistant", "rank": 0},
    {"message": "u3", "parent": "poor"},
    {"message": "better", "parent": "u3", "role": "assistant", "rank": 0},
    {"message": "worse", "parent": "u3", "role": "assistant", "rank": 1},
]
DEEP = (["u1", "poor", "u3"], "better", "worse")


def fork(**on_removed: str) -> pl.DataFrame:
    """The messages of FORK, marked by a filter: `message=on_removed`."""
    to = pl.col("message").replace_strict(on_removed, default=None, return_dtype=pl.String)
    by = pl.when(to.is_not_null()).then(pl.lit("faulty"))
    return mark(nodes(FORK), []).with_columns(on_removed=to, removed_by=by)


def test_a_tree_to_read() -> None:
    judged = threaded(fork())
    assert named(judged, pairs.make(judged, "all")) == [
        (["u1"], "good", "fair"),
        (["u1"], "good", "poor"),
        (["u1"], "fair", "poor"),
        DEEP,
    ]
    assert named(judged, pairs.make(judged, "adjacent")) == [
        (["u1"], "good", "fair"),
        (["u1"], "fair", "poor"),
        DEEP,
    ]
    assert named(judged, pairs.make(judged, "best_worst")) == [(["u1"], "good", "poor"), DEEP]
    assert named(judged, pairs.make(judged, "adjacent", 2)) == [(["u1"], "fair", "poor")]
    made = pairs.make(judged, "best_worst", 2)
    assert made.pairs.drop("prompt", "chosen", "rejected").rows() == [
        ("oasst1/t/good~poor", "oasst1/t", "oasst1/t/u1", 0, 3)
    ]
    assert fates(made) == {
        "good": "kept in 1 pair",
        "fair": "not_paired",
        "poor": "kept in 1 pair",
        "new": "unranked",
        "lone": "no_rival",
        "better": "not_paired",
        "worse": "not_paired",
    }


def test_a_prompt_that_a_filter_cut_has_no_pairs() -> None:
    """Nor has an answer that a filter removed, and the ledger says so."""
    judged = threaded(fork(u3="cut", good="cut"))
    paired = pairs.make(judged, "best_worst")
    assert named(judged, paired) == [(["u1"], "fair", "poor")]
    assert fates(paired) == {
        "good": "faulty",
        "fair": "kept in 1 pair",
        "poor": "kept in 1 pair",
        "new": "unranked",
        "lone": "no_rival",
        "better": "faulty below u3",
        "worse": "faulty below u3",
    }


@pytest.mark.parametrize("policy", ["all_leaves", "best_rank"])
def test_what_stands_below_a_message_marked_drop_is_in_no_pair(policy: str) -> None:
    """The thread policy does not choose `poor`, and would let pass what stands below it."""
    paired = pairs.make(threaded(fork(poor="drop"), policy=policy), "all")
    assert paired.pairs["pair"].to_list() == ["oasst1/t/good~fair"]
    assert fates(paired) | {"good": "", "fair": "", "new": "", "lone": ""} == {
        "good": "",
        "fair": "",
        "poor": "faulty",
        "new": "",
        "lone": "",
        "better": "faulty because of poor",
        "worse": "faulty because of poor",
    }


def test_an_answer_that_may_not_be_learnt_is_in_no_pair() -> None:
    untrained = fork().with_columns(train=pl.col("train") & (pl.col("message") != "good"))
    paired = pairs.make(threaded(untrained), "best_worst")
    assert paired.pairs["pair"].to_list() == ["oasst1/t/fair~poor", "oasst1/t/better~worse"]
    assert fates(paired)["good"] == "untrained"


def test_answers_of_a_rank_are_no_pair() -> None:
    rows: list[dict[str, Any]] = [FORK[0]]
    rows += [*({**FORK[1], "message": name, "rank": 0} for name in "ba"), FORK[2]]
    judged = threaded(mark(nodes(rows), []))
    assert named(judged, pairs.make(judged, "best_worst")) == [(["u1"], "a", "fair")]
    both = [(["u1"], "a", "fair"), (["u1"], "b", "fair")]
    assert named(judged, pairs.make(judged, "all")) == both
    assert named(judged, pairs.make(judged, "adjacent")) == both


def test_a_prompt_begins_where_the_conversation_does() -> None:
    rows: list[dict[str, Any]] = [
        {"message": "hello", "role": "assistant"},
        {**FORK[0], "parent": "hello"},
        *FORK[1:3],
    ]
    judged = threaded(mark(nodes(rows), []), start="user")
    paired = pairs.make(judged, "all")
    assert named(judged, paired) == [(["u1"], "good", "fair")]
    assert fates(paired)["hello"] == "leading_turn"


def test_rings_orphans_and_repeats_are_in_no_pair() -> None:
    ring: list[dict[str, Any]] = [
        {"message": "x", "parent": "y"},
        {"message": "y", "parent": "x", "role": "assistant", "rank": 0},
        {"message": "z", "parent": "x", "role": "assistant", "rank": 1},
        {"message": "v", "parent": "nowhere"},
        {"message": "w0", "parent": "v", "role": "assistant", "rank": 0},
        {"message": "w1", "parent": "v", "role": "assistant", "rank": 1},
    ]
    judged = threaded(mark(nodes([*FORK, FORK[1], *ring]), []))
    paired = pairs.make(judged, "best_worst")
    assert named(judged, paired) == [(["u1"], "good", "poor"), DEEP]
    lost = {name: fate.split()[0] for name, fate in fates(paired).items()}
    assert [lost[name] for name in ("y", "z", "w0", "w1")] == ["cycle"] * 2 + ["rootless"] * 2
    assert paired.outcomes.height == 7 + 4


def test_questions_that_are_ranked_are_no_answers() -> None:
    """OASST ranks what users reply as well, and a source may say that they may be learnt."""
    ranked = {"parent": "good", "train": True}
    asked = [{**ranked, "message": f"v{rank}", "rank": rank} for rank in range(2)]
    judged = threaded(mark(nodes([*FORK, *asked]), []))
    paired = pairs.make(judged, "best_worst")
    assert named(judged, paired) == [(["u1"], "good", "poor"), DEEP]
    assert not {"v0", "v1"} & fates(paired).keys()


def many(number: int) -> pl.DataFrame:
    """A question with so many answers, each with a rank of its own."""
    answers = [
        {"message": f"a{rank:04}", "parent": "u1", "role": "assistant", "rank": rank}
        for rank in range(number)
    ]
    return threaded(mark(nodes([FORK[0], *answers]), []))


def test_a_question_of_too_many_pairs_has_none_and_says_how_many() -> None:
    judged = many(143)
    made = pairs.make(judged, "all")
    assert made.pairs.is_empty()
    why = "too_many_pairs 10,153 pairs of its question, at most 10,000"
    assert set(fates(made).values()) == {why}
    assert pairs.make(judged, "adjacent").pairs.height == 142
    assert pairs.make(many(141), "all").pairs.height == 9870
    assert made.groups["answers"].list.len().to_list() == [143]


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 4), max_size=5), policy=policies)
def test_pairs_are_counted_before_they_are_made(sizes: list[int], policy: PairPolicy) -> None:
    by_rank = [[rank] * size for rank, size in enumerate(sizes)]
    assert pairs._NUMBERS[policy](by_rank) == len(list(pairs._POLICIES[policy](by_rank)))


def test_all_ranked_answers_to_a_question_are_a_group() -> None:
    """Whatever the policy and the margin; an answer that a filter removed is in none."""
    judged = threaded(fork(fair="cut"))
    groups = pairs.make(judged, "best_worst", 9).groups
    ids = judged["message"].to_list()
    rows = groups.select("question", "prompt", "answers", "ranks").iter_rows()
    assert [
        (q, [ids[p] for p in prompt], [ids[a] for a in a_], r) for q, prompt, a_, r in rows
    ] == [
        ("oasst1/t/u1", ["u1"], ["good", "poor"], [0, 3]),
        ("oasst1/t/u3", ["u1", "poor", "u3"], ["better", "worse"], [0, 1]),
    ]


def test_the_outcome_of_a_repeat_is_not_that_of_the_message() -> None:
    """Though it stands before the other in the table; what no outcome names stands elsewhere."""
    marked = fork().select(pairs.NODES.keys())
    rows = marked.with_columns(conversation="group", detail=pl.lit(None, pl.String))
    repeated, chosen = (
        outcomes_of("message", rows.filter(message="good"), "message", pl.lit(reason))
        for reason in ("duplicate_id", "not_selected")
    )
    kept = marked.filter(pl.col("message").is_in(["u1", "fair"]))
    judged = pairs.with_losses(marked, kept, pl.concat([repeated, chosen]))
    lost = dict(judged.select("message", "lost").iter_rows())
    assert [lost[name] for name in ("u1", "good", "fair", "poor")] == [
        *(None, None, None),
        "duplicate_id",
    ]


@pytest.mark.slow
def test_a_very_deep_tree() -> None:
    rows: list[dict[str, Any]] = [{"message": "m0"}]
    for number in range(1, 20_000):
        role = "assistant" if number % 2 else "user"
        rows.append({"message": f"m{number}", "parent": f"m{number - 1}", "role": role, "rank": 0})
    rows.append({**rows[-1], "message": "worse", "rank": 1})
    paired = pairs.make(threaded(mark(nodes(rows), [])), "all")
    assert paired.pairs["prompt"].list.len().to_list() == [19_999]


# --------------------------------------------------------------------------- what holds for all


def random_trees(seed: int, folder: Path, on_removed: OnRemoved = "cut") -> pl.DataFrame:
    return mark(read(random_tree(seed, 20), folder), [Drop(FILTERS["deleted"], {}, on_removed)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


@settings(max_examples=40)
@given(seed=seeds, policy=policies, margin=margins, threads=st.sampled_from(["all_leaves", "best"]))
def test_each_policy_gives_the_pairs_of_the_walker(
    folder: Path, seed: int, policy: PairPolicy, margin: int, threads: str
) -> None:
    """Whichever replies the thread policy chooses."""
    chosen = "best_rank" if threads == "best" else threads
    judged = threaded(random_trees(seed, folder), policy=chosen)
    made = named(judged, pairs.make(judged, policy, margin))
    assert sorted(made) == sorted(preferred(random_tree(seed, 20), policy, margin))


@settings(max_examples=40)
@given(seed=seeds, policy=policies, margin=margins, on_removed=st.sampled_from(["cut", "drop"]))
def test_each_answer_has_one_outcome_and_is_kept_where_it_stands_in_a_pair(
    folder: Path, seed: int, policy: PairPolicy, margin: int, on_removed: OnRemoved
) -> None:
    judged = threaded(random_trees(seed, folder, on_removed))
    paired = pairs.make(judged, policy, margin)
    answers = judged.filter(role="assistant")["message"].to_list()
    assert sorted(paired.outcomes["id"]) == sorted(answers)
    in_pairs = {id for _, better, worse in named(judged, paired) for id in (better, worse)}
    assert set(paired.outcomes.filter(pl.col("reason").is_null())["id"]) == in_pairs
    used = paired.pairs.select(pl.concat_list("prompt", "chosen", "rejected")).to_series()
    rows = pl.Series(used.explode().drop_nulls(), dtype=pl.UInt32)
    assert judged[rows]["lost"].null_count() == len(rows)


@settings(max_examples=30)
@given(seed=seeds, margin=margins)
def test_the_policies_choose_among_all_pairs_and_a_margin_leaves_some_out(
    folder: Path, seed: int, margin: int
) -> None:
    judged = threaded(random_trees(seed, folder))
    ids = {policy: set(pairs.make(judged, policy, margin).pairs["pair"]) for policy in POLICIES}
    assert ids["best_worst"] | ids["adjacent"] <= ids["all"]
    every = pairs.make(judged, "all").pairs
    gap = pl.col("rejected_rank") - pl.col("chosen_rank")
    assert ids["all"] == set(every.filter(gap >= margin)["pair"])


@settings(max_examples=30)
@given(seed=seeds, policy=policies)
def test_the_order_of_the_rows_does_not_matter(folder: Path, seed: int, policy: PairPolicy) -> None:
    judged = threaded(random_trees(seed, folder))
    order = list(range(judged.height))
    random.Random(seed).shuffle(order)
    made, again = pairs.make(judged, policy), pairs.make(judged[order], policy)
    ids = ("pair", "group", "chosen_rank", "rejected_rank")
    assert_frame_equal(made.pairs.select(ids), again.pairs.select(ids))
    assert named(judged, made) == named(judged[order], again)
    assert fates(made) == fates(again)


@pytest.mark.parametrize(
    ("policy", "margin", "expected"),
    [("best_worst", 1, 416), ("all", 1, 1022)],
)
def test_the_validation_trees(
    real_data: Path, policy: PairPolicy, margin: int, expected: int
) -> None:
    """416 forks have at least two ranked answers that are not deleted, and 1,022 ordered pairs."""
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    batches = sources.get("oasst").read([File(path, path.name)], "oasst", "oasst1")
    messages = pl.concat([batch.rows for batch in batches])
    judged = threaded(mark(messages, [Drop(FILTERS["deleted"], {}, "cut")]))
    made = named(judged, pairs.make(judged, policy, margin))
    assert len(made) == expected
    assert sorted(made) == sorted(preferred(rows, policy, margin))
    assert len({tuple(prompt) for prompt, _, _ in made}) == 416
