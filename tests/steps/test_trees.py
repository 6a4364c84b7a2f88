"""Threads of trees: each policy against an independent walker, and no message without a reason."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chatdata import sources
from chatdata.sources import File
from chatdata.steps import trees
from chatdata.steps.filtering import Drop, OnRemoved, mark
from chatdata.steps.filters import FILTERS
from chatdata.steps.threads import Threaded, Threads
from tests.support.conversations import nodes, random_tree
from tests.support.walker import conversation_ids

DELETED = Drop(FILTERS["deleted"], {}, "cut")
POLICIES: list[dict[str, Any]] = [
    {"policy": "all_leaves"},
    {"policy": "best_rank"},
    {"policy": "top_k", "top_k": 1},
    {"policy": "top_k", "top_k": 2},
    {"policy": "all_prefixes"},
]


def table(rows: list[dict[str, Any]], folder: Path) -> pl.DataFrame:
    path = folder / "trees.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    batches = sources.get("oasst").read([File(path, "trees.jsonl")], "oasst", "oasst1")
    return pl.concat([batch.rows for batch in batches])


def linearize(messages: pl.DataFrame, **threads: Any) -> Threaded:
    return trees.linearize(messages, Threads(**threads))


def ids(threaded: Threaded) -> set[str]:
    return set(threaded.messages["conversation"])


def reasons(threaded: Threaded, unit: str = "message") -> dict[str, str]:
    outcomes = threaded.outcomes.filter(pl.col("unit") == unit)
    return dict(outcomes.select("id", "reason").iter_rows())


@pytest.mark.slow
@pytest.mark.parametrize("on_removed", ["cut", "drop"])
@pytest.mark.parametrize("end", ["assistant", "any"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_each_policy_gives_the_ids_of_the_walker(
    tmp_path: Path, policy: dict[str, Any], end: str, on_removed: OnRemoved
) -> None:
    for seed in range(60):
        rows = random_tree(seed)
        deleted = Drop(FILTERS["deleted"], {}, on_removed)
        threaded = linearize(mark(table(rows, tmp_path), [deleted]), end=end, **policy)
        top_k = policy.get("top_k", 1)
        expected = conversation_ids(rows, policy["policy"], top_k, end, on_removed)
        assert ids(threaded) == expected, seed


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_message_is_in_a_row_or_has_one_reason(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    for seed in range(60):
        rows = random_tree(seed)
        threaded = linearize(mark(table(rows, tmp_path), [DELETED]), **policy)
        kept = set(threaded.messages["message"])
        dropped = threaded.outcomes.filter(pl.col("unit") == "message")["id"].to_list()
        assert sorted([*kept, *dropped]) == sorted(row["message_id"] for row in rows)
        lost = threaded.outcomes.filter(pl.col("unit") == "conversation").height
        assert threaded.conversations == len(ids(threaded)) + lost


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, policy: dict[str, Any]) -> None:
    for seed in range(30):
        messages = mark(table(random_tree(seed), tmp_path), [DELETED])
        order = list(range(messages.height))
        random.Random(seed).shuffle(order)
        ordered, shuffled = linearize(messages, **policy), linearize(messages[order], **policy)
        assert_frame_equal(ordered.messages.drop("where"), shuffled.messages.drop("where"))
        assert reasons(ordered) == reasons(shuffled)


FORK = [
    {"message": "u"},
    {"message": "second", "parent": "u", "role": "assistant", "rank": 1},
    {"message": "unranked-late", "parent": "u", "role": "assistant", "created": 9},
    {"message": "unranked-early", "parent": "u", "role": "assistant", "created": 3},
    {"message": "undated-b", "parent": "u", "role": "assistant"},
    {"message": "undated-a", "parent": "u", "role": "assistant"},
    {"message": "first", "parent": "u", "role": "assistant", "rank": 0},
]
BEST_FIRST = ["first", "second", "unranked-early", "unranked-late", "undated-a", "undated-b"]


@pytest.mark.parametrize("on_removed", ["cut", "drop", "skip"])
@pytest.mark.parametrize("removed", range(len(BEST_FIRST)))
def test_the_best_reply_that_is_left_is_chosen(removed: int, on_removed: str) -> None:
    is_removed = pl.col("message").is_in(BEST_FIRST[:removed])
    messages = mark(nodes(FORK), []).with_columns(
        on_removed=pl.when(is_removed).then(pl.lit(on_removed)),
        removed_by=pl.when(is_removed).then(pl.lit("faulty")),
    )
    best = linearize(messages, policy="best_rank")
    assert ids(best) == {f"oasst1/t/{BEST_FIRST[removed]}"}
    assert reasons(best, "conversation") == {}
    assert ids(linearize(messages, policy="top_k", top_k=2)) == {
        f"oasst1/t/{name}" for name in BEST_FIRST[removed : removed + 2]
    }


CHAIN = [
    {"message": "u1"},
    {"message": "a1", "parent": "u1", "role": "assistant"},
    {"message": "u2", "parent": "a1"},
    {"message": "a2", "parent": "u2", "role": "assistant"},
    {"message": "a2x", "parent": "u2", "role": "assistant"},
]


def chain(**on_removed: str) -> pl.DataFrame:
    to = pl.col("message").replace_strict(on_removed, default=None, return_dtype=pl.String)
    by = pl.when(to.is_not_null()).then(pl.lit("faulty"))
    return mark(nodes(CHAIN), []).with_columns(on_removed=to, removed_by=by)


def test_cut_takes_along_what_is_below_and_names_it() -> None:
    threaded = linearize(chain(u2="cut"))
    assert ids(threaded) == {"oasst1/t/a1"}
    assert reasons(threaded) == {"u2": "faulty", "a2": "faulty", "a2x": "faulty"}
    assert threaded.outcomes.filter(pl.col("id") == "a2")["detail"].item() == "below u2"


@pytest.mark.parametrize("place", ["root", "below"])
def test_an_instruction_that_says_nothing_goes_alone(place: str) -> None:
    """As in a list; what hangs below it stays, and the path counts its turns from the next."""
    silent = {"message": "s", "role": "system", "content": " "}
    above = {"u1": "s"} if place == "root" else {"u2": "s"}
    silent |= {} if place == "root" else {"parent": "a1"}
    rows = [{**row, "parent": above.get(row["message"], row.get("parent"))} for row in CHAIN]
    threaded = linearize(mark(nodes([silent, *rows]), [Drop(FILTERS["empty"], {}, "cut")]))
    assert ids(threaded) == {"oasst1/t/a2", "oasst1/t/a2x"}
    assert reasons(threaded) == {"s": "empty"}
    whole = linearize(chain())
    columns = ["conversation", "position", "message"]
    assert_frame_equal(threaded.messages.select(columns), whole.messages.select(columns))


def test_a_conversation_has_the_tools_of_a_message_that_goes() -> None:
    rows = [{"message": "hello", "role": "assistant", "tools": "[1]"}]
    rows += [{**row, "parent": row.get("parent", "hello")} for row in CHAIN[:2]]
    rows += [{"message": "ring-a", "parent": "ring-b"}, {"message": "ring-b", "parent": "ring-a"}]
    carried = trees.with_tools(mark(nodes(rows), []))
    assert carried["tools"].to_list() == ["[1]", "[1]", "[1]", None, None]
    threaded = linearize(carried, start="user")
    assert threaded.messages["message"].to_list() == ["u1", "a1"]
    assert threaded.messages["tools"].to_list() == ["[1]", "[1]"]


def test_a_question_whose_answers_are_cut_is_trimmed() -> None:
    threaded = linearize(chain(a2="cut", a2x="cut"))
    assert ids(threaded) == {"oasst1/t/a1"}
    assert reasons(threaded)["u2"] == "trailing_turn"


def test_drop_takes_along_its_conversations_and_spares_the_others() -> None:
    threaded = linearize(chain(a2="drop"))
    assert ids(threaded) == {"oasst1/t/a2x"}
    assert reasons(threaded) == {"a2": "faulty"}
    assert reasons(threaded, "conversation") == {"oasst1/t/a2": "faulty"}


def test_a_dropped_conversation_covers_no_other() -> None:
    rows = [*CHAIN[:3], {"message": "u2b", "parent": "a1"}, {**CHAIN[3], "parent": "u2b"}]
    bad = mark(nodes(rows), []).with_columns(
        on_removed=pl.when(pl.col("message") == "a2").then(pl.lit("drop")),
        removed_by=pl.when(pl.col("message") == "a2").then(pl.lit("faulty")),
    )
    assert ids(linearize(bad)) == {"oasst1/t/a1"}


def test_rings_orphans_repeats_and_self_parents() -> None:
    rows = [
        *CHAIN[:2],
        CHAIN[1],
        {"message": "orphan", "parent": "nowhere"},
        {"message": "child", "parent": "orphan", "role": "assistant"},
        {"message": "x", "parent": "y"},
        {"message": "y", "parent": "x", "role": "assistant"},
        {"message": "self", "parent": "self"},
        {"message": "below-self", "parent": "self", "role": "assistant"},
    ]
    threaded = linearize(mark(nodes(rows), []))
    assert ids(threaded) == {"oasst1/t/a1"}
    assert reasons(threaded) == {
        "a1": "duplicate_id",
        "orphan": "rootless",
        "child": "rootless",
        "x": "cycle",
        "y": "cycle",
        "self": "cycle",
        "below-self": "cycle",
    }


@pytest.mark.slow
def test_a_very_deep_tree() -> None:
    rows: list[dict[str, Any]] = [{"message": "m0"}]
    for i in range(1, 20_000):
        role = "assistant" if i % 2 else "user"
        rows.append({"message": f"m{i}", "parent": f"m{i - 1}", "role": role})
    threaded = linearize(mark(nodes(rows), []))
    assert threaded.messages.height == 20_000


def test_start_user_and_a_tree_whose_root_is_an_assistant() -> None:
    rows = [{"message": "a0", "role": "assistant"}, {**CHAIN[0], "parent": "a0"}, CHAIN[1]]
    threaded = linearize(mark(nodes(rows), []), start="user")
    assert threaded.messages["message"].to_list() == ["u1", "a1"]
    assert reasons(threaded) == {"a0": "leading_turn"}


def test_positions_count_from_zero_and_rows_are_ordered_by_id() -> None:
    threaded = linearize(mark(nodes(CHAIN), []))
    assert threaded.messages.select("conversation", "position", "message").rows() == [
        ("oasst1/t/a2", 0, "u1"),
        ("oasst1/t/a2", 1, "a1"),
        ("oasst1/t/a2", 2, "u2"),
        ("oasst1/t/a2", 3, "a2"),
        ("oasst1/t/a2x", 0, "u1"),
        ("oasst1/t/a2x", 1, "a1"),
        ("oasst1/t/a2x", 2, "u2"),
        ("oasst1/t/a2x", 3, "a2x"),
    ]


# ------------------------------------------------------------------------------ trees too large


def broom(answers: int, group: str = "oasst1/broom") -> list[dict[str, Any]]:
    """A tree of a question, an answer and a question, to which many answers are given."""
    handle = [("u1", None, "user"), ("a1", "u1", "assistant"), ("u2", "a1", "user")]
    bristles = [(f"b{number}", "u2", "assistant") for number in range(answers)]
    return [
        {"message": name, "parent": parent, "role": role, "group": group}
        for name, parent, role in [*handle, *bristles]
    ]


def test_a_tree_of_more_conversations_than_max_paths_goes_and_no_other() -> None:
    trees_ = mark(nodes([*broom(4), *broom(3, "oasst1/small")]), [])
    threaded = linearize(trees_, max_paths=3)
    assert ids(threaded) == {f"oasst1/small/b{number}" for number in range(3)}
    assert reasons(threaded, "conversation") == {"oasst1/broom/u1": "too_many_paths"}
    assert threaded.conversations == 4
    dropped = threaded.outcomes.filter(unit="message")
    assert dropped["conversation"].to_list() == ["oasst1/broom"] * 7
    words = "4 paths, which repeat 9 turns; max_paths is 3"
    assert set(dropped["detail"]) == {words}
    assert len(ids(linearize(trees_, max_paths=4))) == 7


def test_what_goes_anyway_keeps_its_reason_and_is_not_counted() -> None:
    to_mark = pl.col("message").is_in(["b0", "b1"])
    marked = mark(nodes(broom(5)), []).with_columns(
        on_removed=pl.when(to_mark).then(pl.lit("cut")),
        removed_by=pl.when(to_mark).then(pl.lit("faulty")),
    )
    assert len(ids(linearize(marked, max_paths=3))) == 3
    assert reasons(linearize(marked, max_paths=2))["b0"] == "faulty"


def test_replies_that_trimming_takes_away_are_no_conversations() -> None:
    questions = [{**row, "role": "user"} for row in broom(5)[3:]]
    threaded = linearize(mark(nodes([*broom(0), *questions]), []), max_paths=1)
    assert ids(threaded) == {"oasst1/broom/a1"}


def test_a_tree_that_repeats_too_many_turns_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_TURNS", 2)  # for each of four conversations; nine are repeated
    tree = mark(nodes(broom(4)), [])
    assert ids(linearize(tree, max_paths=4)) == set()
    assert len(ids(linearize(tree, max_paths=5))) == 4
