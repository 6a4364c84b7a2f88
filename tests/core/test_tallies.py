"""The arithmetic: it holds, and where it does not the build says so."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from chatdata.core import tallies
from chatdata.core.errors import BuildError
from chatdata.core.ledger import OUTCOMES

READ = {"records": 3, "messages": 10, "conversations": 4}
TALLY = tallies.Tally(
    kept=Counter(records=2, messages=4, conversations=4),
    dropped={
        "records": Counter(bad_json=1),
        "messages": Counter(deleted=1, empty=3, not_selected=2),
    },
)


def test_a_balanced_ledger_orders_its_reasons() -> None:
    balanced = tallies.balance(READ, TALLY)
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
        tallies.balance(READ, replace(TALLY, kept=kept))


@pytest.mark.parametrize(("limit", "stops"), [(0.3, True), (0.39, True), (0.4, False), (1, False)])
def test_max_dropped_names_the_reason_and_spares_the_policy(limit: float, stops: bool) -> None:
    counts = tallies.balance(READ, TALLY)
    if not stops:
        tallies.check_dropped(counts, limit)
        return
    with pytest.raises(BuildError) as caught:
        tallies.check_dropped(counts, limit)
    words = str(caught.value)
    assert "33.3% of the records" in words if limit < 0.33 else "40.0% of the messages" in words
    assert ("bad_json" in words) == (limit < 0.33)


def test_nothing_left_is_an_error() -> None:
    counts: dict[str, Any] = copy.deepcopy(tallies.balance(READ, TALLY))
    counts["conversations"]["kept"] = 0
    with pytest.raises(BuildError, match="no conversation is left"):
        tallies.check_dropped(counts, 1)


def test_tallies_add_up() -> None:
    rows = [("message", None), ("message", "empty"), ("record", "bad_json"), ("message", None)]
    outcomes = pl.DataFrame(
        [{"unit": unit, "id": "x", "reason": reason} for unit, reason in rows], schema=OUTCOMES
    )
    total = sum([tallies.tally(outcomes), tallies.tally(outcomes)], tallies.Tally())
    assert total.kept == Counter(messages=4)
    assert total.of("messages") == Counter(empty=2)
    assert total.of("records") == Counter(bad_json=2)
    assert total.of("conversations") == Counter()
