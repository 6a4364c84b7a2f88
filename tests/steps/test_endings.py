"""Answers that stop before their end, and turns that ask for the rest."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.steps import endings, threads
from chatdata.steps.filtering import Drop, add_columns, mark
from chatdata.steps.filters import FILTERS
from chatdata.steps.threads import Threads
from tests.support.conversations import nodes, table

TRUNCATED = Drop(FILTERS["truncated"], {}, "untrain")
STORY = "Once a boat sailed from the harbour by night, and its light was small and green"
ENDS = f"{STORY}."


def trained(conversations: dict[str, list[tuple[str, str]]], **columns: object) -> pl.DataFrame:
    rows = table(conversations, **columns)
    rows, _ = add_columns(rows, [TRUNCATED], Path("nowhere"))
    return mark(rows, [TRUNCATED])


@pytest.mark.parametrize(
    ("answer", "then", "is_trained"),
    [
        (STORY, "continue", False),
        (STORY, "Please go on.", False),
        (STORY, "You stopped in the middle of it", False),
        (STORY, "Your code is incomplete", False),
        # What ends with a full stop ends, and may go on all the same.
        (ENDS, "continue", True),
        (STORY, "What was its name?", True),
        (STORY, "Continue" + " with what a captain has to know of the sea" * 3, True),
    ],
)
def test_what_is_asked_next_says_that_an_answer_was_cut(
    answer: str, then: str, is_trained: bool
) -> None:
    talk = [("user", "Tell me"), ("assistant", answer), ("user", then), ("assistant", ENDS)]
    rows = trained({"x": talk, "y": [("user", "a"), ("assistant", STORY)]})
    assert rows["train"].to_list() == [False, is_trained, False, True, False, True]
    assert rows["removed_by"].null_count() == rows.height
    assert trained({"x": talk})[::-1]["train"].to_list() == rows["train"].to_list()[3::-1]


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_an_answer_that_ends_within_code_was_cut(fence: str) -> None:
    asked = ("user", f"{fence}\nwhy?")
    talk = [asked, ("assistant", f"{fence}\na.\n{fence}\nb."), asked, ("assistant", f"{fence}\na.")]
    assert trained({"x": talk})["train"].to_list() == [False, True, False, False]


def test_the_conversation_stays_and_only_its_last_answer_is_not_learnt_from() -> None:
    half = "It ends well. But the second sentence of this answer stops in the"
    talk = [("user", "a"), ("assistant", ENDS), ("user", "b"), ("assistant", half)]
    threaded = threads.linearize_turns(trained({"x": talk}), Threads())
    assert threaded.messages["content"].to_list() == ["a", ENDS, "b", half]
    assert threaded.messages["train"].to_list() == [False, True, False, False]
    assert threaded.outcomes.is_empty()


def test_what_the_next_piece_asks_concerns_the_answer_that_both_have() -> None:
    first = [("user", "Tell me"), ("assistant", STORY)]
    second = [("assistant", STORY), ("user", "continue"), ("assistant", ENDS)]
    marked = trained({"x_0": first, "x_1": second}, group="x")
    threaded = threads.linearize_turns(marked, Threads(join="pieces"))
    assert threaded.messages["train"].to_list() == [False, False, False, True]


def test_in_a_tree_nobody_asks_to_go_on() -> None:
    rows = nodes([{"message": "a", "role": "assistant", "content": STORY}])
    assert endings.with_asked_on(rows)[endings.ASKED_ON].to_list() == [False]


WORDS = st.lists(st.sampled_from(["boat", "sails", "by", "night", "light", "green"]), min_size=3)


@given(st.lists(WORDS, min_size=1, max_size=6), st.sampled_from([". ", ".\n\n", ".\n- "]))
@settings(max_examples=60)
def test_sentences_that_end_are_never_cut(sentences: list[list[str]], between: str) -> None:
    text = between.join(" ".join(words) for words in sentences) + "."
    hit = nodes([{"message": "a", "role": "assistant", "content": text}])
    assert not hit.select(TRUNCATED.expression()).item()


@given(st.text(alphabet="ab .\n`~|-1(){}[]\"':<>#*_,", max_size=80))
@settings(max_examples=100)
def test_any_text_has_an_answer(text: str) -> None:
    assert endings.is_cut_off(text) in (True, False)
