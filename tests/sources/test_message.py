"""What stands beside the words of a message is carried or refused with a reason."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from chatdata.render.control_tokens import CONTENT_TAGS
from chatdata.sources import _message, _tools
from tests.support.reading import read, say, turns

MARK = "what{}says"
CALL = {"name": MARK, "arguments": "{}"}
# All that holds words beside the content of a message, by its key; {} is its number.
BESIDE: dict[str, Any] = {
    "reasoning_content": MARK,
    "reasoning": [{"type": "text", "text": MARK}],
    "thinking": MARK,
    "thought": MARK,
    "tool_plan": MARK,
    "reasoning_details": [
        {"type": "reasoning.text", "text": MARK, "signature": "x"},
        {"type": "reasoning.summary", "summary": ""},
    ],
    "thinking_blocks": [{"type": "thinking", "thinking": MARK}],
    "tool_calls": [{"id": "c", "type": "function", "function": CALL}],
    "function_call": CALL,
    "function_calls": [CALL],
    "tools": [{"name": MARK}],
    "functions": [{"name": MARK}],
    "refusal": MARK,
    **{
        key: [{"title": MARK}]
        for key in ("images", "image", "videos", "video", "audios", "audio", "documents")
    },
    "attachments": [MARK],
}
WORDLESS = {"name": "x", "score": 0.5, "timestamp": 7, "model": "m", "tool_call_id": "c"}
ROLES = ("system", "user", "assistant", "tool", "function_call", "gpt", "human")


def filled(key: str, number: int) -> Any:
    return json.loads(json.dumps(BESIDE[key]).replace(MARK, MARK.format(number)))


def messages_of(seed: int) -> list[dict[str, Any]]:
    """Messages with some of what can stand beside their words, each of it with words of its own."""
    draw = random.Random(seed)
    roles = draw.choices(["system", "user", "assistant", "tool"], k=draw.randint(1, 4))
    return [
        {
            "role": role,
            "content": draw.choice(["a", "", f"own{number}words"]),
            **{
                key: filled(key, 10 * number + index)
                for index, key in enumerate(draw.sample(sorted(BESIDE), draw.randint(0, 2)))
            },
            **({"score": 1} if draw.random() < 0.5 else {}),
        }
        for number, role in enumerate(roles)
    ]


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("seed", range(60))
def test_what_a_message_says_is_carried_whole_or_refused_with_a_reason(
    source: str, seed: int
) -> None:
    messages = messages_of(seed)
    rows = say(source, *messages).to_dicts()
    assert len(rows) == len(messages)
    for message, row in zip(messages, rows, strict=True):
        marks = set(re.findall(r"what\d+says|own\d+words", json.dumps(message)))
        is_refused = row["content"] is None and row["note"]
        assert is_refused or all(mark in row["content"] for mark in marks)


@pytest.mark.parametrize("seed", range(60))
def test_both_sources_read_a_message_alike(seed: int) -> None:
    jsonl, sharegpt = (say(source, *messages_of(seed)) for source in ("jsonl", "sharegpt"))
    same = ["role", "content", "train", "note"]
    assert_frame_equal(jsonl.select(same), sharegpt.select(same))


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("key", sorted(BESIDE))
def test_no_key_that_holds_words_is_read_over(source: str, role: str, key: str) -> None:
    """In any role: the words are in the content, or there is none, and the ledger says why."""
    (row,) = say(source, {"role": role, "content": "a", key: filled(key, 1)}).to_dicts()
    assert row["note"] if row["content"] is None else MARK.format(1) in row["content"]


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("role", ROLES)
def test_what_holds_no_words_changes_nothing(source: str, role: str) -> None:
    """Ids and scores, nulls and empty lists as tables have them, and settings of reasoning."""
    plain = {"role": role, "content": "a"}
    expected = say(source, plain)
    nothing = {"tool_calls": "[]", "function_call": {"name": None, "arguments": None}}
    settings = {"reasoning": "high", "thinking": True, "image": False, "refusal": True}
    empty = [dict.fromkeys(BESIDE, value) for value in (None, "", [], {}, [None])]
    for beside in (WORDLESS, nothing, settings, *empty):
        assert_frame_equal(say(source, {**plain, **beside}), expected)
    record = {"documents": [], "images": None, "tools": None, "system": "", "refusal": "no"}
    assert_frame_equal(say(source, plain, **record), expected)


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("key", ["images", "image", "videos", "audio", "documents", "attachments"])
def test_images_beside_the_messages_refuse_all_of_them(source: str, key: str) -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = say(source, *messages, **{key: ["x.png"]})
    assert rows["content"].to_list() == [None, None]
    assert set(rows["note"]) == {f"'{key}' cannot be carried as text"}
    nameless = [{"messages": [{**messages[0], "content": content}], key: ["x"]} for content in "ab"]
    assert read(source, nameless)[0]["conversation"].n_unique() == 2


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_a_call_is_learnt_from_with_the_reasoning_before_it(source: str) -> None:
    rows = say(
        source,
        {"role": "system", "content": "Be brief.", "tools": [{"name": "weather"}]},
        {"role": "user", "content": "Warm?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "I look.",
            "tool_calls": [{"function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}],
        },
        {"role": "tool", "content": "19"},
        {"role": "assistant", "content": "Yes.", "reasoning": "19 is warm."},
    )
    assert rows.select("role", "content", "train").rows() == [
        ("system", 'Be brief.\n\n<tools>\n[{"name": "weather"}]\n</tools>', False),
        ("user", "Warm?", False),
        (
            "assistant",
            "<think>\nI look.\n</think>\n\n<tool_call>\n"
            '{"name": "weather", "arguments": {"city": "Lisbon"}}\n</tool_call>',
            True,
        ),
        ("user", "<tool_response>\n19\n</tool_response>", False),
        ("assistant", "<think>\n19 is warm.\n</think>\n\nYes.", True),
    ]


def test_a_call_beside_empty_content_is_no_empty_answer() -> None:
    """`sharegpt` kept the result of a call, and an empty answer in place of the call."""
    message = {"from": "gpt", "value": "", "function_call": {"name": "f", "arguments": "{}"}}
    rows, _ = read("sharegpt", [{"conversations": [message, *turns(("observation", "r"))]}])
    assert rows["content"].to_list() == [
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
        "<tool_response>\nr\n</tool_response>",
    ]


def test_a_turn_with_the_keys_of_both_shapes_says_what_is_not_null() -> None:
    by_value = {"from": "gpt", "value": "a", "role": None, "content": None}
    by_content = {"from": None, "value": None, "role": "assistant", "content": "a"}
    differing = {**by_value, "content": "b"}
    rows, _ = read("sharegpt", [{"conversations": [by_value, by_content, differing]}])
    assert rows.select("role", "content", "note").rows() == [
        *[("assistant", "a", None)] * 2,
        ("assistant", None, "'value' and 'content' say different things"),
    ]


def test_reasoning_under_two_names_is_one_or_refused() -> None:
    answer = {"role": "assistant", "content": "a", "reasoning": "Well, yes."}
    details = [{"type": "reasoning.text", "text": text} for text in ("Well, ", "yes.\n")]
    rows = say("jsonl", {**answer, "reasoning_details": details}, {**answer, "thinking": "No."})
    assert rows.select("content", "note").rows() == [
        ("<think>\nWell, yes.\n</think>\n\na", None),
        (None, "'reasoning' and 'thinking' say different things"),
    ]
    hidden = [{"type": "reasoning.encrypted", "data": "x"}]
    assert "encrypted" in say("jsonl", {**answer, "reasoning_details": hidden})["note"].item()


def test_tools_are_listed_by_the_system_alone() -> None:
    """Elsewhere the filter `tool_use` would not find them."""
    rows = say("jsonl", {"role": "user", "content": "q", "tools": [{"name": "f"}]})
    assert rows["note"].item() == "tools are listed in a message that is not the system's"


def test_a_system_that_says_the_same_beside_and_in_the_messages_is_one() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}]
    assert say("jsonl", *messages, system="Be brief.")["role"].to_list() == ["system", "user"]
    rows = say("jsonl", *messages, system="Be kind.")
    assert rows["content"].to_list() == ["Be kind.", "Be brief.", "q"]


@pytest.mark.parametrize("key", ["arguments", "parameters", "input"])
def test_the_arguments_of_a_call_have_several_names(key: str) -> None:
    call = {"name": "f", key: {"a": 1}}
    both = {"tool_calls": json.dumps([call, call]), "function_call": call}
    content = say("jsonl", {"role": "assistant", "content": None, **both})["content"].item()
    written = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert content == f"{written}\n{written}"


def test_beside_an_instruction_nothing_is_left_out() -> None:
    pair = {"instruction": "q", "output": "a"}
    beside = {"system": "Be brief.", "tools": [{"name": "f"}], "reasoning": "Well."}
    rows, _ = read("jsonl", [{"id": "x", **pair, **beside}])
    assert rows.select("role", "content").rows() == [
        ("system", 'Be brief.\n\n<tools>\n[{"name": "f"}]\n</tools>'),
        ("user", "q"),
        ("assistant", "<think>\nWell.\n</think>\n\na"),
    ]
    rows, _ = read("jsonl", [{"id": "x", **pair, "history": [["q", "a"]]}])
    assert rows["note"].to_list() == ["'history' is not read", None]


def test_what_stands_beside_a_pair_is_the_answers() -> None:
    pair = {"human": "q", "assistant": "a", "reasoning": "Well.", "weight": 0}
    rows, _ = read("sharegpt", [{"conversation": [pair]}])
    assert rows.select("content", "train").rows() == [
        ("q", False),
        ("<think>\nWell.\n</think>\n\na", False),
    ]


def test_reasoning_is_carried_in_tags_before_the_answer() -> None:
    for key in ("reasoning_content", "reasoning", "thinking"):
        message = {"role": "assistant", "content": "\n\nYes.", key: "\nWell\n"}
        rows, _ = read("jsonl", [{"messages": [message]}])
        assert rows["content"].item() == "<think>\nWell\n</think>\n\nYes."


def test_tags_that_sources_write_are_content_to_every_template() -> None:
    """Some tokenizers have tokens for them, and a template may write them as well."""
    message = {
        "tools": [{"name": "weather"}],
        "tool_calls": [{"function": {"name": "weather", "arguments": {}}}],
        "reasoning_content": "hm",
    }
    carried = _message.as_text(message, "a", role="system")
    result = _tools.response({"celsius": 19})
    assert carried.fault is None
    tags = re.findall(r"</?\w+>", f"{carried.text}{result.text}")
    assert len(tags) == 8
    assert set(tags) <= CONTENT_TAGS
