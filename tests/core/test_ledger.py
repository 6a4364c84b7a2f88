"""What became of everything that was read: an outcome each, and reasons in words."""

from __future__ import annotations

import polars as pl

from chatdata.core import ledger
from chatdata.core.ledger import OUTCOMES
from chatdata.steps import filters

READ = {"records": 3, "messages": 10, "conversations": 4}


def conversations(**messages: str) -> pl.DataFrame:
    """Conversations by their messages, a letter each."""
    return pl.DataFrame(
        {
            "group": "g",
            "conversation": conversation,
            "position": position,
            "message": message,
            "source": "s",
        }
        for conversation, letters in messages.items()
        for position, message in enumerate(letters)
    )


def test_a_conversation_goes_with_the_messages_that_stand_in_no_other() -> None:
    messages = conversations(a="uv", b="uw", c="xy")
    kept, outcomes = ledger.drop_with_messages(
        messages, messages.filter(pl.col("conversation") != "b"), "empty", pl.lit("why")
    )
    assert kept.equals(messages.filter(pl.col("conversation") == "b"))
    assert outcomes.select("unit", "id", "conversation", "reason", "detail").rows() == [
        ("conversation", "a", None, "empty", "why"),
        ("conversation", "c", None, "empty", "why"),
        ("message", "v", "a", "empty", "why"),
        ("message", "x", "c", "empty", "why"),
        ("message", "y", "c", "empty", "why"),
    ]


def test_where_nothing_is_dropped_nothing_changes() -> None:
    messages = conversations(a="uv")
    for drop in (ledger.drop, ledger.drop_with_messages):
        kept, outcomes = drop(messages, messages.clear(), "empty")
        assert kept.equals(messages)
        assert outcomes.is_empty()
        assert outcomes.schema == pl.Schema(OUTCOMES)


def test_a_merged_message_has_the_outcome_of_the_one_that_it_is_in() -> None:
    rows = [
        {"id": "x#0", "reason": None, "detail": None},
        {"id": "x#1", "reason": "merged", "detail": "x#0"},
        {"id": "y#0", "reason": "duplicate", "detail": "says the same"},
        {"id": "y#1", "reason": "merged", "detail": "y#0"},
        {"id": "y#2", "reason": "merged", "detail": "y#0"},
        {"id": "y#0", "reason": "duplicate_id", "detail": "again in f:2"},
    ]
    outcomes = pl.DataFrame(
        [{"unit": "message", "source": "s", **row} for row in rows], schema=OUTCOMES
    )
    followed = ledger.follow(outcomes)
    merged = followed.filter(pl.col("detail").str.starts_with("merged into"))
    assert merged.select("id", "reason", "detail").rows() == [
        ("x#1", None, "merged into x#0"),
        ("y#1", "duplicate", "merged into y#0"),
        ("y#2", "duplicate", "merged into y#0"),
    ]
    assert followed.height == outcomes.height


def test_every_reason_is_said_in_words() -> None:
    for reason in [*filters.FILTERS, *ledger.REASONS]:
        assert filters.about(reason) != reason
    # Trees and renderings drop what the filter drops, by themselves.
    assert set(filters.FILTERS) & set(ledger.REASONS) == {"prefix_of_another"}
    assert set(ledger.REASONS) >= ledger.CHOSEN
