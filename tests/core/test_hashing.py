"""Hashes are those that they were, however they are made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.hashing import hash64, hash64_bytes


@given(st.lists(st.text()))
def test_many_hashes_are_those_of_each_text(texts: list[str]) -> None:
    made = hash64_bytes(texts, "word")
    numbers = [int.from_bytes(made[start : start + 8], "big") for start in range(0, len(made), 8)]
    assert numbers == [hash64(text, "word") for text in texts]
