"""Text for a terminal: no character can steer the terminal."""

from __future__ import annotations

from chatdata.core.text import printable

STEERING = "a\x1b]0;title\x07b\u202e\n\té"


def test_characters_that_steer_a_terminal_are_dropped_or_replaced() -> None:
    assert printable(STEERING) == "a]0;titleb\n\té"
    assert printable(STEERING, "�") == "a�]0;title�b�\n\té"
