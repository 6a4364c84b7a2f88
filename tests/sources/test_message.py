"""What stands beside the words of a message is carried or refused with a reason."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from polars.testing import assert_frame_equal

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
WORDLESS = {"score": 0.5, "timestamp": 7, "model": "m", "is_error": True}
ROLES = ("system", "user", "assistant", "tool", "function_call", "gpt", "human")


def filled(key: str, number: int) -> Any:
    return json.loads(json.dumps(BESIDE[key]).replace(MARK, MARK.format(number)))


SPOKEN = ("content", "reasoning", "tool_calls")


def spoken(row: dict[str, Any]) -> str:
    return "\n".join(row[name] for name in (*SPOKEN, "tools") if row[name])


def is_refused(row: dict[str, Any]) -> bool:
    return row["note"] is not None and all(row[name] is None for name in SPOKEN)


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
    tools = rows[0]["tools"] or ""
    for message, row in zip(messages, rows, strict=True):
        marks = set(re.findall(r"what\d+says|own\d+words", json.dumps(message)))
        assert is_refused(row) or all(mark in spoken(row) + tools for mark in marks)


@pytest.mark.parametrize("seed", range(60))
def test_both_sources_read_a_message_alike(seed: int) -> None:
    jsonl, sharegpt = (say(source, *messages_of(seed)) for source in ("jsonl", "sharegpt"))
    same = ["role", *SPOKEN, "tool_call_id", "name", "tools", "train", "note"]
    assert_frame_equal(jsonl.select(same), sharegpt.select(same))


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("key", sorted(BESIDE))
def test_no_key_that_holds_words_is_read_over(source: str, role: str, key: str) -> None:
    """In any role: the words are in a column, or there are none, and the ledger says why."""
    (row,) = say(source, {"role": role, "content": "a", key: filled(key, 1)}).to_dicts()
    assert row["note"] or MARK.format(1) in spoken(row)
    assert is_refused(row) or row["role"] is None or not row["note"]


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


WEATHER = {"name": "weather", "arguments": {"city": "Lisbon"}}
CALLED = json.dumps([{"type": "function", "function": WEATHER}])
OFFERED = '[{"type": "function", "function": {"name": "weather"}}]'


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_a_call_is_learnt_from_with_the_reasoning_before_it(source: str) -> None:
    call = {"id": "c1", "function": {**WEATHER, "arguments": '{"city": "Lisbon"}'}}
    rows = say(
        source,
        {"role": "system", "content": "Be brief.", "tools": [{"name": "weather"}]},
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": "", "reasoning_content": "I look.", "tool_calls": [call]},
        {"role": "tool", "content": "19", "tool_call_id": "c1", "name": "weather"},
        {"role": "assistant", "content": "Yes.", "reasoning": "\n19 is warm.\n"},
    )
    called = json.dumps([{"id": "c1", "type": "function", "function": WEATHER}])
    assert rows.select("role", *SPOKEN, "tool_call_id", "name", "train").rows() == [
        ("system", "Be brief.", None, None, None, None, False),
        ("user", "Warm?", None, None, None, None, False),
        ("assistant", "", "I look.", called, None, None, True),
        ("tool", "19", None, None, "c1", "weather", False),
        ("assistant", "Yes.", "\n19 is warm.\n", None, None, None, True),
    ]
    assert rows["tools"].to_list() == [OFFERED] * 5


def test_a_call_beside_empty_content_is_no_empty_answer() -> None:
    """`sharegpt` kept the result of a call, and an empty answer in place of the call."""
    message = {"from": "gpt", "value": "", "function_call": {"name": "f", "arguments": "{}"}}
    rows, _ = read("sharegpt", [{"conversations": [message, *turns(("observation", "r"))]}])
    assert rows.select("role", "content", "tool_calls").rows() == [
        ("assistant", "", '[{"type": "function", "function": {"name": "f", "arguments": {}}}]'),
        ("tool", "r", None),
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
    assert rows.select("content", "reasoning", "note").rows() == [
        ("a", "Well, yes.", None),
        (None, None, "'reasoning' and 'thinking' say different things"),
    ]
    hidden = [{"type": "reasoning.encrypted", "data": "x"}]
    assert "encrypted" in say("jsonl", {**answer, "reasoning_details": hidden})["note"].item()


def test_tools_are_listed_by_the_system_alone() -> None:
    """What a user lists beside words is no offer to the assistant."""
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
    row = say("jsonl", {"role": "assistant", "content": None, **both}).to_dicts()[0]
    written = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    assert row["content"] is None
    assert row["tool_calls"] == json.dumps([written, written])


@pytest.mark.parametrize("times", range(3))
def test_arguments_are_an_object_however_often_they_were_encoded(times: int) -> None:
    """Keys keep their order, and a null that was written stays."""
    arguments: Any = {"b": None, "a": {"é": [1, 2.5, "x"]}}
    for _ in range(times):
        arguments = json.dumps(arguments)
    call = {"function": {"name": "f", "arguments": arguments}}
    calls = say("jsonl", {"role": "assistant", "tool_calls": [call]})["tool_calls"].item()
    assert calls == (
        '[{"type": "function", "function": {"name": "f", '
        '"arguments": {"b": null, "a": {"é": [1, 2.5, "x"]}}}}]'
    )


@pytest.mark.parametrize(
    ("calls", "note"),
    [
        ("look", "'tool_calls': str is no call of a tool"),
        ([{"arguments": {}}], "'tool_calls': a call does not name its tool"),
        ([{"name": 3}], "'tool_calls': a call does not name its tool"),
        ([{"name": "f", "arguments": "{"}], "the arguments of 'f' are no JSON object"),
        ([{"name": "f", "arguments": [1]}], "the arguments of 'f' are no JSON object"),
        ([{"name": "f", "arguments": {"a": float("nan")}}], "a number that JSON cannot write"),
        ([{"name": "f", "arguments": {"a": "\ud800"}}], "a lone surrogate"),
    ],
)
def test_what_is_no_call_is_refused_with_its_key(calls: Any, note: str) -> None:
    row = say("jsonl", {"role": "assistant", "content": "a", "tool_calls": calls}).to_dicts()[0]
    assert is_refused(row)
    assert note in row["note"]


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "f", "parameters": {"type": "object"}}],
        [{"name": "f", "input_schema": {"type": "object"}}],
        [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        ['{"name": "f", "parameters": {"type": "object"}}'],
    ],
)
def test_tools_have_a_single_form(tools: list[Any]) -> None:
    """Of a record or of a system message, also as JSON in a string, and each tool once."""
    expected = '[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]'
    system = {"role": "system", "content": "s", "tools": tools}
    user = {"role": "user", "content": "q"}
    for source in ("jsonl", "sharegpt"):
        for rows in (
            say(source, user, tools=tools),
            say(source, user, functions=json.dumps(tools)),
            say(source, system, user, tools=json.dumps(tools)),
        ):
            assert set(rows["tools"]) == {expected}


def test_beside_an_instruction_nothing_is_left_out() -> None:
    pair = {"instruction": "q", "output": "a"}
    beside = {"system": "Be brief.", "tools": [{"name": "weather"}], "reasoning": "Well."}
    rows, _ = read("jsonl", [{"id": "x", **pair, **beside}])
    assert rows.select("role", "content", "reasoning", "tools").rows() == [
        ("system", "Be brief.", None, OFFERED),
        ("user", "q", None, OFFERED),
        ("assistant", "a", "Well.", OFFERED),
    ]


def test_what_stands_beside_a_pair_is_the_answers() -> None:
    pair = {"human": "q", "assistant": "a", "reasoning": "Well.", "weight": 0}
    rows, _ = read("sharegpt", [{"conversation": [pair]}])
    assert rows.select("content", "reasoning", "train").rows() == [
        ("q", None, False),
        ("a", "Well.", False),
    ]


def test_reasoning_alone_is_an_answer_and_blank_reasoning_is_none() -> None:
    rows = say(
        "jsonl",
        {"role": "assistant", "content": None, "reasoning": "Hm."},
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes.", "reasoning": "\n"},
    )
    assert rows.select("content", "reasoning", "note").rows() == [
        (None, "Hm.", None),
        ("<think>\nHm.\n</think>\n\nYes.", None, None),
    ]


# -------------------------------------------------------------------- Anthropic, Harmony, Mistral


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_blocks_of_anthropic_become_what_they_are(source: str) -> None:
    use = {"type": "tool_use", "id": "u1", "name": "weather", "input": {"city": "Lisbon"}}
    rows = say(
        source,
        {"role": "user", "content": [{"type": "text", "text": "Warm?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "x"},
                {"type": "text", "text": "A moment."},
                use,
                {**use, "id": "u2"},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "u1", "content": "19"},
                {
                    "type": "tool_result",
                    "tool_use_id": "u2",
                    "content": [{"type": "text", "text": "20"}],
                },
                {"type": "text", "text": "In short?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
    )
    calls = [{"id": id, "type": "function", "function": WEATHER} for id in ("u1", "u2")]
    assert rows.select("role", *SPOKEN, "tool_call_id", "note").rows() == [
        ("user", "Warm?", None, None, None, None),
        ("assistant", "A moment.", "I look.", json.dumps(calls), None, None),
        ("tool", "19", None, None, "u1", None),
        ("tool", "20", None, None, "u2", None),
        ("user", "In short?", None, None, None, None),
        ("assistant", "Yes.", None, None, None, None),
    ]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "tool_use", "name": "f", "input": {}}, {"type": "text", "text": "so"}],
        [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}],
        [{"type": "thinking", "thinking": "t"}, {"type": "image", "source": {}}],
    ],
)
def test_blocks_that_cannot_be_carried_are_refused(content: list[Any]) -> None:
    row = say("jsonl", {"role": "assistant", "content": content}).to_dicts()[0]
    assert is_refused(row)
    assert "a part of type" in row["note"]


def test_channels_of_harmony_are_thoughts_calls_and_answers() -> None:
    say_so = {"role": "assistant", "channel": "analysis"}
    rows = say(
        "jsonl",
        {"role": "user", "content": "Warm?"},
        {**say_so, "content": "I look."},
        {
            "role": "assistant",
            "channel": "commentary",
            "recipient": "functions.weather",
            "content": '{"city": "Lisbon"}',
        },
        {"role": "tool", "name": "functions.weather", "channel": "commentary", "content": "19"},
        {**say_so, "content": "19 is"},
        {**say_so, "content": "warm."},
        {"role": "assistant", "channel": "final", "content": "Yes."},
        {**say_so, "content": "Not done.", "train": False},
    )
    assert rows.select("role", *SPOKEN, "name", "train").rows() == [
        ("user", "Warm?", None, None, None, False),
        ("assistant", None, "I look.", CALLED, None, True),
        ("tool", "19", None, None, "weather", False),
        ("assistant", "Yes.", "19 is\n\nwarm.", None, None, True),
        ("assistant", None, "Not done.", None, None, False),
    ]


def test_thoughts_in_parts_of_parts_as_mistral_writes_them() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    rows = say("jsonl", {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]})
    assert rows.select(SPOKEN).rows() == [("a", "Hm.", None)]


def test_results_that_are_objects_are_json() -> None:
    rows = say("jsonl", *({"role": "tool", "content": value} for value in ({"é": 1}, [1, {}], "")))
    assert rows["content"].to_list() == ['{"é": 1}', "[1, {}]", ""]
