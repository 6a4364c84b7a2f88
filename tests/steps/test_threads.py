"""Linear conversations: cuts, ends, shared ids; and what is trained once."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from chatdata.steps import threads
from chatdata.steps.filtering import mark
from chatdata.steps.threads import Threaded, Threads
from tests.support.conversations import marked, table

TALK = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


def messages_of(threaded: Threaded) -> dict[str, list[str]]:
    return {
        str(name): turns["message"].to_list()
        for (name,), turns in threaded.messages.group_by("conversation", maintain_order=True)
    }


def reasons(threaded: Threaded, unit: str = "message") -> dict[str, str]:
    outcomes = threaded.outcomes.filter(pl.col("unit") == unit)
    return dict(outcomes.select("id", "reason").iter_rows())


@pytest.mark.parametrize(
    ("marks", "kept", "lost"),
    [
        ({}, 4, {}),
        ({"x_3": "cut"}, 2, {"x#3": "faulty", "x#2": "trailing_turn"}),
        ({"x_2": "cut"}, 2, {"x#2": "faulty", "x#3": "faulty"}),
        ({"x_0": "cut"}, 0, dict.fromkeys(["x#0", "x#1", "x#2", "x#3"], "faulty")),
        ({"x_3": "drop"}, 0, dict.fromkeys(["x#0", "x#1", "x#2", "x#3"], "faulty")),
        ({"x_2": "cut", "x_3": "drop"}, 2, {"x#2": "faulty", "x#3": "faulty"}),
        ({"x_2": "drop", "x_3": "cut"}, 0, dict.fromkeys(["x#0", "x#1", "x#2", "x#3"], "faulty")),
    ],
)
@pytest.mark.parametrize("end", ["any", "assistant"])
def test_cut_and_drop(marks: dict[str, str], kept: int, lost: dict[str, str], end: Any) -> None:
    """`cut` ends on an assistant turn, whatever `end` says."""
    threaded = threads.linearize_turns(marked(table({"x": TALK}), **marks), Threads(end=end))
    assert len(messages_of(threaded).get("x", [])) == kept
    assert reasons(threaded) == lost
    assert reasons(threaded, "conversation") == ({} if kept else {"x": "faulty"})


@pytest.mark.parametrize(
    ("turns", "start", "end", "kept"),
    [
        (["user", "assistant", "user"], "any", "any", [0, 1, 2]),
        (["user", "assistant", "user"], "any", "assistant", [0, 1]),
        (["assistant", "user", "assistant"], "any", "assistant", [0, 1, 2]),
        (["assistant", "user", "assistant"], "user", "assistant", [1, 2]),
        (["system", "assistant", "user", "assistant"], "user", "any", [0, 2, 3]),
        (["system", "assistant"], "user", "assistant", []),
        (["user", "user"], "user", "assistant", []),
        (["assistant", "assistant"], "user", "any", []),
    ],
)
def test_starts_and_ends(turns: list[str], start: Any, end: Any, kept: list[int]) -> None:
    messages = mark(table({"x": [(role, "t") for role in turns]}), [])
    threaded = threads.linearize_turns(messages, Threads(start=start, end=end))
    assert threaded.messages["message"].to_list() == [f"x#{i}" for i in kept]
    assert threaded.messages["position"].to_list() == list(range(len(kept)))
    assert len(reasons(threaded)) == len(turns) - len(kept)
    assert set(reasons(threaded).values()) <= {"leading_turn", "trailing_turn"}
    assert len(reasons(threaded, "conversation")) == (not kept)


def trimmed(roles: list[str]) -> set[int]:
    """What `start: user` and `end: assistant` trim, as one would tell it."""
    asked = roles.index("user") if "user" in roles else len(roles)
    stays = [i for i, role in enumerate(roles) if i >= asked or role == "system"]
    answers = [i for i in stays if i >= asked and roles[i] == "assistant"]
    return set(range(len(roles))) - {i for i in stays if i <= max(answers, default=-1)}


@pytest.mark.slow
def test_what_is_trimmed_anyway_decides_nothing() -> None:
    ends = Threads(start="user", end="assistant")
    draw = random.Random(5)
    for _ in range(200):
        roles = draw.choices(["user", "assistant", "system"], [4, 4, 1], k=draw.randint(2, 7))
        rows = table({"x": [(role, str(i)) for i, role in enumerate(roles)]})
        marks = {f"x_{i}": draw.choice(["cut", "drop"]) for i in range(7) if draw.random() < 0.3}
        both = marked(rows, **{key: how for key, how in marks.items() if int(key[2:]) < len(roles)})
        without = both.filter(pl.col("position").is_in(list(trimmed(roles))).not_())
        if without.height:
            kept = messages_of(threads.linearize_turns(both, ends))
            assert kept == messages_of(threads.linearize_turns(without, ends)), (roles, marks)


def test_what_goes_alone_has_its_reason() -> None:
    turns = [("assistant", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    rows = marked(table({"x": turns}), x_0="cut", x_3="drop")
    threaded = threads.linearize_turns(rows, Threads(start="user"))
    assert messages_of(threaded) == {"x": ["x#1", "x#2"]}
    assert reasons(threaded) == {"x#0": "faulty", "x#3": "faulty"}
    assert reasons(threaded, "conversation") == {}


def twice() -> pl.DataFrame:
    """Three records that all claim the id `x`: two say the same."""
    parts = [table({"x": TALK}, where="f:1"), table({"x": TALK}, where="f:2")]
    different = [("user", "different"), ("assistant", "b")]
    return mark(pl.concat([*parts, table({"x": different}, where="f:3"), table({"y": TALK})]), [])


def test_one_id_for_several_conversations() -> None:
    threaded = threads.linearize_turns(twice(), Threads())
    names = list(messages_of(threaded))
    assert len(names) == 3
    assert sorted(name.partition("~")[0] for name in names) == ["x", "x", "y"]
    assert all(
        m.startswith(name + "#") for name, turns in messages_of(threaded).items() for m in turns
    )
    assert reasons(threaded, "conversation") == {"x": "duplicate_id"}
    outcomes = threaded.outcomes.filter(pl.col("unit") == "message")
    assert threaded.messages.height + outcomes.height == 14


def test_shared_ids_do_not_depend_on_the_order() -> None:
    messages = twice()
    order = list(range(messages.height))
    random.Random(0).shuffle(order)
    assert messages_of(threads.linearize_turns(messages[order], Threads())) == messages_of(
        threads.linearize_turns(messages, Threads())
    )


def test_a_repeat_alone_keeps_its_id() -> None:
    threaded = threads.linearize_turns(twice().filter(pl.col("where") != "f:3"), Threads())
    assert set(messages_of(threaded)) == {"x", "y"}


def test_train_once_trains_each_message_in_the_first_row_that_holds_it() -> None:
    rows = table({"r1": TALK, "r2": TALK}).with_columns(
        group=pl.lit("t"), message=pl.Series(["u", "a", "v", "b", "u", "a", "w", "c"])
    )
    trained = threads.train_once(rows).filter("train")
    assert trained.select("conversation", "message").rows() == [
        ("r1", "a"),
        ("r1", "b"),
        ("r2", "c"),
    ]


# ---------------------------------------------------------------------- turns of one role in a row


def spoken(threaded: Threaded) -> list[tuple[str, str]]:
    """What is left: a letter for the role, and the content."""
    rows = threaded.messages.select(pl.col("role").cast(pl.String).str.head(1), "content").rows()
    return [(str(role), str(content)) for role, content in rows]


def in_turn(*turns: str) -> list[tuple[str, str]]:
    """Turns, written `u: a`; the letter is that of the role."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    return [(roles[turn[0]], turn[3:]) for turn in turns]


@pytest.mark.parametrize(
    ("turns", "merged", "last"),
    [
        (["u: a", "a: b"], ["u: a", "a: b"], ["u: a", "a: b"]),
        (["u: a", "u: b", "a: c"], ["u: a\n\nb", "a: c"], ["u: b", "a: c"]),
        (["u: a", "a: b", "a: c", "a: d"], ["u: a", "a: b\n\nc\n\nd"], ["u: a", "a: d"]),
        (["u: a", "u:  ", "a: c"], ["u: a", "a: c"], ["u: a", "a: c"]),
        (["u:  ", "u: a", "a: c"], ["u: a", "a: c"], ["u: a", "a: c"]),
        (["u:  ", "u: \n", "a: c"], ["u:  \n\n\n", "a: c"], ["u: \n", "a: c"]),
        (["s: x", "s: y", "u: a", "a: b"], ["s: x\n\ny", "u: a", "a: b"], ["s: y", "u: a", "a: b"]),
    ],
)
def test_turns_of_one_role_are_merged_or_dropped_but_the_last(
    turns: list[str], merged: list[str], last: list[str]
) -> None:
    messages = mark(table({"x": in_turn(*turns), "y": in_turn("u: q", "a: r")}), [])
    kept = threads.linearize_turns(messages, Threads())
    assert len(spoken(kept)) == len(turns) + 2
    for how, expected in (("merge", merged), ("drop", last)):
        threaded = threads.linearize_turns(messages, Threads.model_validate({"repeated_role": how}))
        roles_and_words = [(turn[0], turn[3:]) for turn in [*expected, "u: q", "a: r"]]
        assert spoken(threaded) == roles_and_words
        assert threaded.messages["position"].to_list() == [*range(len(expected)), 0, 1]
        lost = threaded.outcomes.filter(unit="message")
        assert lost.height == len(turns) - len(expected)
        reason = {"merge": "merged", "drop": "repeated_role"}[how]
        assert set(lost["reason"]) <= {reason}


def test_what_is_merged_is_learnt_from_where_all_of_it_is_and_removed_where_any_is() -> None:
    rows = table({"x": in_turn("u: a", "a: b", "a: c", "u: d", "u: e", "a: f")})
    rows = rows.with_columns(train=(pl.col("role") == "assistant") & (pl.col("position") != 2))
    threaded = threads.linearize_turns(marked(rows, x_4="cut"), Threads(repeated_role="merge"))
    assert spoken(threaded) == [("u", "a"), ("a", "b\n\nc")]
    assert threaded.messages["train"].to_list() == [False, False]
    assert reasons(threaded) == {"x#2": "merged", "x#3": "faulty", "x#4": "merged", "x#5": "faulty"}


def test_unknown_roles_do_not_make_a_run() -> None:
    rows = mark(table({"x": [("user", "a"), (None, "b"), (None, "c"), ("assistant", "d")]}), [])
    assert len(spoken(threads.linearize_turns(rows, Threads(repeated_role="merge")))) == 4


# ---------------------------------------------------------------------------------- exchanges


@pytest.mark.parametrize(
    ("skipped", "left", "lost"),
    [
        ("x_1", "cd", {"x#0": "faulty", "x#1": "faulty"}),
        ("x_2", "ab", {"x#2": "faulty", "x#3": "faulty"}),
        ("x_3", "ab", {"x#2": "faulty", "x#3": "faulty"}),
    ],
)
def test_skip_takes_an_exchange_and_leaves_the_rest(
    skipped: str, left: str, lost: dict[str, str]
) -> None:
    threaded = threads.linearize_turns(marked(table({"x": TALK}), **{skipped: "skip"}), Threads())
    assert "".join(threaded.messages["content"]) == left
    assert reasons(threaded) == lost
    assert reasons(threaded, "conversation") == {}


def test_skip_takes_a_system_message_alone_and_gives_way_to_drop() -> None:
    talk = [("system", "s"), *TALK]
    threaded = threads.linearize_turns(marked(table({"x": talk}), x_0="skip"), Threads())
    assert "".join(threaded.messages["content"]) == "abcd"
    threaded = threads.linearize_turns(
        marked(table({"x": talk}), x_0="skip", x_2="drop"), Threads()
    )
    assert threaded.messages.is_empty()
    assert reasons(threaded, "conversation") == {"x": "faulty"}
    both = threads.linearize_turns(marked(table({"x": TALK}), x_1="skip", x_3="skip"), Threads())
    assert reasons(both, "conversation") == {"x": "faulty"}
    assert len(reasons(both)) == 4
