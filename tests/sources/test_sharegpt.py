"""ShareGPT: every shape met in the wild becomes the same table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.reading import read, turns


def test_role_aliases_and_pieces() -> None:
    aliases = [
        "human",
        "user",
        "gpt",
        "chatgpt",
        "bing",
        "bard",
        "assistant",
        "system",
        "GPT",
        "judge",
    ]
    record = {"id": "x_4", "conversations": turns(*((alias, "t") for alias in aliases))}
    rows, problems = read("sharegpt", [record], suffix=".json")
    assert rows["role"].to_list() == [
        *("user",) * 2,
        *("assistant",) * 5,
        "system",
        "assistant",
        None,
    ]
    assert rows["note"].to_list()[-1] == "role 'judge'"
    assert rows.select("conversation", "group", "message").row(0) == (
        "sharegpt/x_4",
        "sharegpt/x",
        "sharegpt/x_4#0",
    )
    assert problems == []


@pytest.mark.parametrize(
    ("id", "group"),
    [
        ("abc_0", "abc"),
        ("abc_17", "abc"),
        ("abc12_3", "abc12"),
        ("a1_2_3", "a1_2"),
        ("12_0", "12"),
        ("abc", "abc"),
        ("abc_x", "abc_x"),
        ("abc12", "abc12"),
    ],
)
def test_pieces_of_one_conversation_share_a_group(id: str, group: str) -> None:
    rows, _ = read("sharegpt", [{"id": id, "conversations": turns(("human", "a"))}])
    assert rows["group"].item() == f"sharegpt/{group}"


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": turns(("human", "a"), ("gpt", "b"))},
        {"conversation": [{"human": "a", "assistant": "b"}]},
        {"items": turns(("human", "a"), ("gpt", "b"))},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"conversations": [*turns(("human", [{"type": "text", "value": "a"}]), ("model", "b"))]},
    ],
)
def test_every_shape_of_a_dump_is_the_same_table(record: dict[str, Any]) -> None:
    rows, problems = read("sharegpt", [{"conversation_id": 7, **record}])
    assert problems == []
    assert rows.select("conversation", "role", "content", "train").rows() == [
        ("sharegpt/7", "user", "a", False),
        ("sharegpt/7", "assistant", "b", True),
    ]


def test_tools_are_read_as_what_they_are() -> None:
    """As in a file of OpenAI's form, and a result that is wrapped already is unwrapped once."""
    call = '{"name": "weather", "arguments": {"city": "Lisbon"}}'
    asked = turns(("human", "Warm?"), ("function_call", call))
    record = {
        "id": "x",
        "conversations": [*asked, *turns(("observation", "19"), ("gpt", "Yes."))],
        "tools": '[{"name": "weather"}]',
    }
    result = "<tool_response>\n19\n</tool_response>"
    wrapped = {**record, "conversations": [*asked, *turns(("tool", result), ("gpt", "Yes."))]}
    openai = {
        "id": "x",
        "messages": [
            {"role": "user", "content": "Warm?"},
            {"role": "assistant", "content": None, "function_call": json.loads(call)},
            {"role": "function", "content": "19"},
            {"role": "assistant", "content": "Yes."},
        ],
        "functions": [{"name": "weather"}],
    }
    columns = ("role", "content", "tool_calls", "tools", "train")
    offered = '[{"type": "function", "function": {"name": "weather"}}]'
    called = f'[{{"type": "function", "function": {call}}}]'
    for source, given in (("sharegpt", record), ("sharegpt", wrapped), ("jsonl", openai)):
        rows, _ = read(source, [given])
        assert rows.select(columns).rows() == [
            ("user", "Warm?", None, offered, False),
            ("assistant", None, called, offered, True),
            ("tool", "19", None, offered, False),
            ("assistant", "Yes.", None, offered, True),
        ]


@pytest.mark.parametrize("tools", [None, "", "[]", [], {}])
def test_no_tools_are_no_turn(tools: Any) -> None:
    record = {"conversations": turns(("human", "a")), "tools": tools}
    assert read("sharegpt", [record])[0].height == 1


def test_tools_that_are_none_are_named() -> None:
    rows, _ = read("sharegpt", [{"conversations": turns(("human", "a")), "tools": 3}])
    assert rows.select("role", "note").row(0) == ("system", "tools: int is no tool")
    rows, _ = read("sharegpt", [{"conversations": turns(("function_call", {"a": 1}), ("tool", 4))}])
    assert rows.select("content", "note").rows() == [
        (None, "'function_call': a call does not name its tool"),
        (None, "not text but int"),
    ]


def test_a_record_without_id_is_named_for_its_content() -> None:
    records = [{"conversations": turns(("human", "a"))}, {"conversations": turns(("human", "b"))}]
    rows, _ = read("sharegpt", records)
    reversed_rows, _ = read("sharegpt", records[::-1])
    assert set(rows["conversation"]) == set(reversed_rows["conversation"])
    assert rows["conversation"].n_unique() == 2


def test_values_that_are_no_text_are_named() -> None:
    values = [None, 3, ["a"], {"b": 1}, "\ud800", True]
    record = {"id": "x", "conversations": [*turns(*(("human", v) for v in values)), "turn"]}
    rows, _ = read("sharegpt", [record])
    assert rows["content"].to_list() == [None] * 7
    assert rows["note"].to_list() == [
        "no text",
        "not text but int",
        "not text but list",
        "not text but dict",
        "a lone surrogate (U+D800) at character 0",
        "not text but bool",
        "a str stands where a turn should",
    ]


def test_no_turns_and_a_system_beside_the_turns() -> None:
    records = [
        {"id": "empty", "conversations": []},
        {"id": "s", "system": "Be brief.", "conversations": turns(("human", "a"))},
    ]
    rows, problems = read("sharegpt", records)
    assert [(p.unit, p.id, p.reason) for p in problems] == [
        ("conversation", "sharegpt/empty", "no_turns")
    ]
    assert rows["role"].to_list() == ["system", "user"]
