"""Lists of role and content: shapes, what cannot be carried, and what is trained."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatdata.sources import jsonl
from tests.support.reading import read, say


def test_messages_lists_parts_and_our_own_rows() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, messages[1]]
    published = {"id": "sharegpt/x_0", "group": "sharegpt/x", "lang": "en", "messages": messages}
    records = [{"messages": messages}, messages, {"messages": parts}, published]
    rows, problems = read("jsonl", records)
    assert problems == []
    assert rows["content"].to_list() == ["a", "b"] * 4
    assert rows.select("conversation", "group", "lang").rows()[-1] == (
        "jsonl/sharegpt/x_0",
        "sharegpt/x",
        "en",
    )


def test_a_row_that_chatdata_published_is_read_as_it_was_written() -> None:
    """Its id, group, source and language, and each column of its messages."""
    calls = '[{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": null}}}]'
    tools = '[{"type": "function", "function": {"name": "f"}}]'
    columns = (
        "role",
        "content",
        "reasoning_content",
        "tool_calls",
        "tool_call_id",
        "name",
        "train",
    )
    messages = [
        ("user", "a", None, None, None, "Ann", False),
        ("assistant", None, "\nHm. ", calls, None, None, False),
        ("tool", "<tool_response>", None, None, "c", "f", False),
        ("assistant", "<think>b", None, None, None, None, True),
    ]
    published = {"id": "oasst1/x", "group": "t", "source": "oasst", "lang": "de", "tools": tools}
    published["messages"] = [dict(zip(columns, message, strict=True)) for message in messages]
    as_objects = json.loads(json.dumps(published))
    as_objects["tools"] = json.loads(tools)
    as_objects["messages"][1]["tool_calls"] = json.loads(calls)
    for row in (published, as_objects):
        rows, _ = read("jsonl", [row])
        origin = rows.select("conversation", "group", "lang", "lang_by", "source", "tools").unique()
        assert origin.rows() == [("oasst1/x", "t", "de", "declared", "oasst", tools)]
        read_back = rows.rename({"reasoning": "reasoning_content"}).select(columns)
        assert read_back.rows() == messages


def test_instructions_with_an_answer() -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    records = [
        {"id": "dolly", "instruction": "Sum up.", "context": "Long.", "response": "Short."},
        {"id": "alpaca", "instruction": "Add.", "input": "", "output": "3"},
        {"id": "pair", "prompt": "q", "completion": "a"},
        {"id": "lists", "prompt": [*messages, messages[0]], "completion": [messages[1]]},
        {"id": "odd", "instruction": "Sum up.", "context": 3, "response": None},
    ]
    rows, problems = read("jsonl", records)
    assert problems == []
    by_id = {
        id: turns.select("role", "content", "train", "note").rows()
        for (id,), turns in rows.group_by("conversation", maintain_order=True)
    }
    assert by_id["jsonl/dolly"] == [
        ("user", "Sum up.\n\nLong.", False, None),
        ("assistant", "Short.", True, None),
    ]
    assert by_id["jsonl/alpaca"] == [
        ("user", "Add.", False, None),
        ("assistant", "3", True, None),
    ]
    assert [train for *_, train, _ in by_id["jsonl/lists"]] == [False, False, False, True]
    assert by_id["jsonl/odd"] == [
        ("user", None, False, "a context that is not text but int"),
        ("assistant", None, True, "no text"),
    ]


@pytest.mark.parametrize(
    ("message", "note"),
    [
        ({"role": "assistant", "content": "", "tool_calls": [{}]}, "'tool_calls': a call"),
        (
            {"role": "assistant", "content": "a", "reasoning_content": ["b"]},
            "reasoning: not text but list",
        ),
        ({"role": "assistant", "content": "a", "loss_weight": -0.5}, "loss_weight is -0.5"),
        ({"role": "assistant", "content": "a", "train": "no"}, "train is 'no'"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "a part of type 'image_url'"),
        ({"role": "tool", "content": 3}, "not text but int"),
        ({"role": "critic", "content": "a"}, "role 'critic'"),
        ("text", "a str stands where"),
    ],
)
def test_what_cannot_be_carried_is_named_and_not_left_out(message: Any, note: str) -> None:
    rows, _ = read("jsonl", [{"id": "x", "messages": [message]}])
    assert rows["note"].item().startswith(note)
    assert rows["content"].item() is None or rows["role"].item() is None


@pytest.mark.parametrize(
    ("flags", "train"),
    [
        ({}, True),
        ({"train": True}, True),
        ({"train": False}, False),
        ({"trainable": False}, False),
        ({"loss": False}, False),
        ({"loss": None}, True),
        ({"masked": True}, False),
        ({"masked": False}, True),
        ({"loss_weight": 0.0}, False),
        ({"loss_weight": 1.0}, True),
        ({"weight": 0}, False),
        ({"training": False}, False),
        ({"is_trainable": True}, True),
        ({"loss_mask": 0}, False),
        ({"loss_mask": 1}, True),
        ({"step_loss_mask": 0}, False),
        ({"train_detail": None}, True),
        ({"train_detail": []}, True),
        ({"mask": None}, True),
        ({"train": True, "masked": True}, False),
    ],
)
def test_flags_that_others_use_say_what_is_learnt_from(flags: Any, train: bool) -> None:
    """An answer is learnt from unless it says otherwise; a question never is."""
    messages = [{"role": "user", "content": "q", **flags}, {"role": "assistant", "content": "a"}]
    rows, _ = read("jsonl", [{"messages": [messages[0], {**messages[1], **flags}]}])
    assert rows["train"].to_list() == [False, train]
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a", **flags}]
    rows, _ = read("sharegpt", [{"conversations": turns}])
    assert rows["train"].to_list() == [False, train]


@pytest.mark.parametrize(
    "flags",
    [
        {"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]},
        {"training_detail": [{"begin_offset": 0, "end_offset": 1, "train": True}]},
        {"loss_mask": [0, 1] * 5000},
        {"mask": 1},
        {"mask": False},
        {"training": "false"},
        {"loss": float("nan")},
    ],
)
@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_a_flag_that_is_not_plain_is_refused_by_its_name(source: str, flags: Any) -> None:
    (row,) = say(source, {"role": "assistant", "content": "a", **flags}).to_dicts()
    assert row["content"] is None
    assert row["note"].startswith(next(iter(flags)))
    assert len(row["note"]) < 120


@given(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "critic"])},
        optional={
            "content": st.one_of(st.text(max_size=3), st.none()),
            "reasoning_content": st.sampled_from([None, "", "hm"]),
            "tool_calls": st.sampled_from([None, []]),
            "tool_call_id": st.sampled_from([None, "c1"]),
            "name": st.sampled_from([None, "f"]),
            "train": st.sampled_from([None, True, False, 1, 0, "x"]),
        },
    )
)
@example({"role": "assistant", "content": "a", "train": 0})
@example({"role": "assistant", "content": "a", "train": False, "name": None})
@example({"role": "user", "content": "a", "train": True, "tool_calls": None})
def test_the_short_way_reads_what_the_long_way_reads(message: dict[str, Any]) -> None:
    short = jsonl._plain(message)
    assert short is None or short == jsonl._any_turn(message)


def test_plain_messages_are_read_the_short_way() -> None:
    """Else the test above would compare nothing."""
    published = {"role": "assistant", "content": "a", "train": False, "tool_calls": None}
    for message in ({"role": "user", "content": "a"}, published):
        assert jsonl._plain(message) == jsonl._any_turn(message)
