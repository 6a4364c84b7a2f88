"""Nested mappings as a single mapping."""

from __future__ import annotations

from chatdata.core.mappings import flatten


def test_keys_are_joined_by_dots_and_nulls_left_out() -> None:
    nested = {"a": {"b": 1, "c": {"d": [2], "e": None}}, "f": {}, "g": None, "h": 0}
    assert flatten(nested) == {"a.b": 1, "a.c.d": [2], "f": {}, "h": 0}
