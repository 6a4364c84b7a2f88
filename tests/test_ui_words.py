"""The words of pages that `tests.bench.ui_words` proposes."""

from __future__ import annotations

from tests.bench.ui_words import Proposal, glued_ends, lines

WORDS = ["the sea", "a boat.", "its light", "rain?", "night", "the pier", "harbour", "fog"]


def test_a_button_that_is_glued_to_many_turns_is_proposed_and_nothing_else() -> None:
    turns = [(f"c{number}", f"Tell me of {word}Share It") for number, word in enumerate(WORDS)]
    turns += [(f"d{number}", f"Tell me of {word} here") for number, word in enumerate(WORDS)]
    turns += [("c0", "Tell me moreShare It")] * 9  # a conversation counts once
    assert glued_ends(turns, least=5) == [Proposal("Share It", 8, 8)]


def test_a_last_line_that_many_conversations_share_is_proposed() -> None:
    turns = [(f"c{number}", f"Tell me of {word}\n\n Go on ") for number, word in enumerate(WORDS)]
    turns += [("c0", "A\nB"), ("c1", "Go on")]
    assert lines(turns, least=5) == [Proposal("Go on", 8, 0)]
