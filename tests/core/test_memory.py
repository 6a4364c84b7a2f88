"""Memory that is given back: what is held stays as it was, also where there is nothing to call."""

from __future__ import annotations

import pytest

from chatdata.core import memory


def test_what_is_held_stays() -> None:
    held = [bytes([number % 256]) * 5000 for number in range(2000)]
    expected = [len(piece) for piece in held]
    del held[::2]
    memory.give_back()
    assert [len(piece) for piece in held] == expected[1::2]
    assert {piece[0] for piece in held} == {number % 256 for number in range(1, 2000, 2)}


def test_where_there_is_no_such_call_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.give_back()
