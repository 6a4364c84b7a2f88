"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import copy
import re

import pytest

from chatdata.core.patterns import lazy


@pytest.mark.parametrize("flags", [0, re.IGNORECASE])
def test_it_answers_as_the_pattern_does(flags: int) -> None:
    eager, late = re.compile(r"(a)(?P<b>b)?", flags), lazy(r"(a)(?P<b>b)?", flags)
    for text in ("", "ab", "xAB a"):
        assert late.findall(text) == eager.findall(text)
        assert late.sub(r"<\1>", text) == eager.sub(r"<\1>", text)
        assert bool(late.search(text)) == bool(eager.search(text))
    assert (late.pattern, late.flags, late.groupindex) == (
        eager.pattern,
        eager.flags,
        eager.groupindex,
    )


def test_a_fault_in_it_is_seen_when_it_is_first_used() -> None:
    late = lazy("(")
    with pytest.raises(re.error):
        late.search("")


def test_it_can_be_copied() -> None:
    assert copy.deepcopy(lazy(b"a+")).findall(b"aab") == [b"aa"]


def test_a_second_use_costs_what_that_of_a_pattern_does() -> None:
    late = lazy("a")
    late.search("")
    assert "search" in vars(late)
