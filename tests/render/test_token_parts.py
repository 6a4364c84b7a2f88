"""The part of an answer that each token of a row is, as `chatdata show --ids` prints it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest

from chatdata.core.constants import IGNORE_INDEX
from chatdata.render import built_in
from chatdata.render.conversation import Message, as_messages
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.parts import TrainParts
from chatdata.render.rows import render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.token_parts import CONTEXT, of_row
from tests.support.structured import call, calls, structured

TALK = [
    {"role": "user", "content": "High water?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning": "Hm.",
        "tool_calls": calls(call()),
    },
    {"role": "tool", "content": "12:40", "name": "tide"},
    {"role": "assistant", "content": "12:40."},
    {"role": "user", "content": "12:40."},
    {"role": "assistant", "content": "Yes é.", "reasoning": "12:40."},
]
TOKENIZER = built_in.load(None, "bytes", BUILT_IN["chatml"], None)
CALL = '\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def row_of(untrained: int = -1, **learnt: bool) -> tuple[dict[str, Any], list[Message]]:
    """The row of the talk and its messages; the turn `untrained` is not learnt."""
    options = Render(tokenizer="bytes", template="chatml", train_on=TrainParts(**learnt))
    pool = TextPool(TOKENIZER)
    is_learnt = pl.col("train") & (pl.col("position") != untrained)
    talk = structured({"talk": TALK}).with_columns(train=is_learnt)
    fitted = fit(talk, pool, options)
    rendered = render(fitted.messages, fitted.windows, pool, options)
    row = {"input_ids": rendered.input_ids.tolist(), "labels": rendered.labels}
    flagged = zip(as_messages(fitted.messages), fitted.messages["train"], strict=True)
    return row, [{**message, "train": train} for message, train in flagged]


def parts(untrained: int = -1, **learnt: bool) -> list[tuple[str, str]]:
    """The parts of the row, each with its text, without the context."""
    row, messages = row_of(untrained, **learnt)
    names, ids = of_row(row, messages, TOKENIZER.full), row["input_ids"]
    assert [name == CONTEXT for name in names] == (row["labels"] == IGNORE_INDEX).tolist()
    groups = itertools.groupby(zip(names, ids, strict=True), key=lambda pair: pair[0])
    texts = [(name, TOKENIZER.decode([id for _, id in pairs])) for name, pairs in groups]
    return [(name, text) for name, text in texts if name != CONTEXT]


END = ("end", "<|im_end|>")
THOUGHTS = [
    ("reasoning", "<think>\nHm.\n</think>\n\n"),
    ("reasoning", "<think>\n12:40.\n</think>\n\n"),
]


def test_each_token_is_of_the_part_that_a_person_would_say() -> None:
    assert parts() == [
        THOUGHTS[0],
        ("answer", "Let me see."),
        ("tool_calls", CALL),
        END,
        ("answer", "12:40."),
        END,
        THOUGHTS[1],
        ("answer", "Yes é."),
        END,
    ]


@pytest.mark.parametrize("left_out", ["reasoning", "tool_calls", "end"])
def test_parts_that_are_not_learnt_are_context(left_out: str) -> None:
    assert parts(**{left_out: False}) == [part for part in parts() if part[0] != left_out]


def test_words_of_an_answer_that_is_not_learnt_are_not_looked_for() -> None:
    """The thought of the last answer is what the untrained answer says."""
    assert parts(untrained=3) == [*parts()[:4], *parts()[6:]]


def test_calls_that_stand_apart_from_reasoning_are_of_the_same_answer() -> None:
    """As in rows whose labels somebody else has made, without the words between the two."""
    row, messages = row_of()
    names = np.asarray(of_row(row, messages, TOKENIZER.full))
    fewer = {**row, "labels": np.where(names == "answer", IGNORE_INDEX, row["labels"])}
    again = np.asarray(of_row(fewer, messages, TOKENIZER.full))
    assert ((again == "tool_calls") == (names == "tool_calls")).all()


def test_a_message_has_no_parts_that_it_does_not_learn() -> None:
    """The second answer says in words what the first, which learns its call alone, says too."""
    talk = [
        {"role": "user", "content": "High water?"},
        {"role": "assistant", "content": "Hm.", "tool_calls": calls(call())},
        {"role": "assistant", "content": "No.", "reasoning": "Hm."},
    ]
    messages = structured({"talk": talk}).with_columns(
        train_parts=pl.Series([None, "tool_calls", None])
    )
    rendered = render(messages, None, TextPool(TOKENIZER), Render(tokenizer="t", template="chatml"))
    row = {"input_ids": rendered.input_ids.tolist(), "labels": rendered.labels}
    given = [dict(message) for message in as_messages(messages)]
    given[1]["train_parts"] = ["tool_calls"]
    names = of_row(row, given, TOKENIZER.full)
    learnt = [name for name, _ in itertools.groupby(name for name in names if name != CONTEXT)]
    assert learnt == ["tool_calls", "reasoning", "answer", "end"]
