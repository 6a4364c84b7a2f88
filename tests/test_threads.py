"""Linear conversations: cuts, ends, shared ids; and what is trained once."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from chatdata import threads
from chatdata.filters import mark
from chatdata.threads import Laid, Threads
from tests.conversations import marked, table

TALK = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


def said(laid: Laid) -> dict[str, list[str]]:
    return {
        str(name): own["message"].to_list()
        for (name,), own in laid.messages.group_by("conversation", maintain_order=True)
    }


def reasons(laid: Laid, unit: str = "message") -> dict[str, str]:
    own = laid.events.filter(pl.col("unit") == unit)
    return dict(own.select("id", "reason").iter_rows())


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
    laid = threads.cut(marked(table({"x": TALK}), **marks), Threads(end=end))
    assert len(said(laid).get("x", [])) == kept
    assert reasons(laid) == lost
    assert reasons(laid, "conversation") == ({} if kept else {"x": "faulty"})


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
    laid = threads.cut(messages, Threads(start=start, end=end))
    assert laid.messages["message"].to_list() == [f"x#{i}" for i in kept]
    assert laid.messages["position"].to_list() == list(range(len(kept)))
    assert len(reasons(laid)) == len(turns) - len(kept)
    assert set(reasons(laid).values()) <= {"leading_turn", "trailing_turn"}
    assert len(reasons(laid, "conversation")) == (not kept)


def twice() -> pl.DataFrame:
    """Three records that all claim the id `x`: two say the same."""
    parts = [table({"x": TALK}, where="f:1"), table({"x": TALK}, where="f:2")]
    other = [("user", "other"), ("assistant", "b")]
    return mark(pl.concat([*parts, table({"x": other}, where="f:3"), table({"y": TALK})]), [])


def test_one_id_for_several_conversations() -> None:
    laid = threads.cut(twice(), Threads())
    names = list(said(laid))
    assert len(names) == 3
    assert sorted(name.partition("~")[0] for name in names) == ["x", "x", "y"]
    assert all(m.startswith(name + "#") for name, own in said(laid).items() for m in own)
    assert reasons(laid, "conversation") == {"x": "duplicate_id"}
    assert laid.messages.height + len(laid.events.filter(pl.col("unit") == "message")) == 14


def test_shared_ids_do_not_depend_on_the_order() -> None:
    messages = twice()
    order = list(range(messages.height))
    random.Random(0).shuffle(order)
    assert said(threads.cut(messages[order], Threads())) == said(threads.cut(messages, Threads()))


def test_a_repeat_alone_keeps_its_id() -> None:
    laid = threads.cut(twice().filter(pl.col("where") != "f:3"), Threads())
    assert set(said(laid)) == {"x", "y"}


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
