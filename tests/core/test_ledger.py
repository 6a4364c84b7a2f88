"""The arithmetic: it holds, and where it does not the build says so."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from chatdata.core import ledger
from chatdata.core.errors import BuildError
from chatdata.core.ledger import OUTCOMES
from chatdata.steps import filters

READ = {"records": 3, "messages": 10, "conversations": 4}
TALLY = ledger.Tally(
    kept=Counter(records=2, messages=4, conversations=4),
    dropped={
        "records": Counter(bad_json=1),
        "messages": Counter(deleted=1, empty=3, not_selected=2),
    },
)


def test_a_balanced_ledger_orders_its_reasons() -> None:
    balanced = ledger.balance(READ, TALLY)
    assert balanced["messages"] == {
        "read": 10,
        "kept": 4,
        "dropped": {"empty": 3, "not_selected": 2, "deleted": 1},
    }
    assert list(balanced["messages"]["dropped"]) == ["empty", "not_selected", "deleted"]


@pytest.mark.parametrize("unit", READ)
@pytest.mark.parametrize("error", [-1, 1])
def test_a_sum_that_is_off_stops_the_build(unit: str, error: int) -> None:
    kept = TALLY.kept.copy()
    kept[unit] += error
    with pytest.raises(BuildError, match=f"{READ[unit]} {unit} were read"):
        ledger.balance(READ, replace(TALLY, kept=kept))


@pytest.mark.parametrize(("limit", "stops"), [(0.3, True), (0.39, True), (0.4, False), (1, False)])
def test_max_dropped_names_the_reason_and_spares_the_policy(limit: float, stops: bool) -> None:
    counts = ledger.balance(READ, TALLY)
    if not stops:
        ledger.check_dropped(counts, limit)
        return
    with pytest.raises(BuildError) as caught:
        ledger.check_dropped(counts, limit)
    words = str(caught.value)
    assert "33.3% of the records" in words if limit < 0.33 else "40.0% of the messages" in words
    assert ("bad_json" in words) == (limit < 0.33)


def test_nothing_left_is_an_error() -> None:
    counts: dict[str, Any] = copy.deepcopy(ledger.balance(READ, TALLY))
    counts["conversations"]["kept"] = 0
    with pytest.raises(BuildError, match="no conversation is left"):
        ledger.check_dropped(counts, 1)


def test_tallies_add_up() -> None:
    rows = [("message", None), ("message", "empty"), ("record", "bad_json"), ("message", None)]
    outcomes = pl.DataFrame(
        [{"unit": unit, "id": "x", "reason": reason} for unit, reason in rows], schema=OUTCOMES
    )
    total = sum([ledger.tally(outcomes), ledger.tally(outcomes)], ledger.Tally())
    assert total.kept == Counter(messages=4)
    assert total.of("messages") == Counter(empty=2)
    assert total.of("records") == Counter(bad_json=2)
    assert total.of("conversations") == Counter()


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
