"""What vendors write beside the words: marks that say nothing, tools that take a text, and what
cannot be carried, which is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.reading import read

ASKED = {"role": "user", "content": "q"}
MARK = {"cachePoint": {"type": "default"}}
CUSTOM = {"name": "shell", "description": "Runs a line."}
CALL = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": '{"a": 1}'}}
SAID = [{"type": "message", "role": "assistant", "content": "a"}]


def test_cache_points_of_bedrock_say_nothing() -> None:
    spec = {"name": "f", "inputSchema": {"json": {"type": "object"}}}
    record = {
        "system": [{"text": "s"}, MARK],
        "messages": [{"role": "user", "content": [{"text": "q"}, MARK]}],
        "toolConfig": {"tools": [{"toolSpec": spec}, MARK]},
    }
    rows, problems = read("auto", [record])
    assert problems == []
    assert rows.select("role", "content", "note").rows() == [
        ("system", "s", None),
        ("user", "q", None),
    ]
    assert [tool["function"]["name"] for tool in json.loads(rows["tools"][0])] == ["f"]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"contents": [{"parts": [{"inlineData": {"data": "x"}}]}]}, "inlineData"),
        ({"contents": [{"parts": [{"text": "a", "fileData": {}}]}]}, "fileData/text"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]}, "image"),
    ],
)
def test_a_part_that_is_no_text_is_named(record: Any, name: str) -> None:
    rows, _ = read("auto", [record])
    assert rows["note"].to_list() == [f"a part of type {name!r} cannot be carried as text"]


def test_a_call_of_a_tool_that_takes_a_text_has_the_text_as_its_argument() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    record = {"messages": [ASKED, called], "tools": [{"type": "custom", "custom": CUSTOM}]}
    rows, problems = read("jsonl", [record])
    assert problems == []
    call = json.loads(rows["tool_calls"][1])[0]
    assert call["function"] == {"name": "shell", "arguments": {"input": '{"a": 1}'}}
    assert json.loads(rows["tools"][0]) == [{"type": "function", "function": CUSTOM}]


def test_a_tool_without_a_name_is_named_by_its_type() -> None:
    record = {"input": "q", "tools": [{"type": "web_search"}], "output": SAID}
    rows, _ = read("auto", [record])
    assert rows["note"][0] == "tools: a tool of type 'web_search' has no name"


@pytest.mark.parametrize("key", ["previous_response_id", "conversation"])
def test_a_response_to_turns_that_stand_elsewhere_is_refused(key: str) -> None:
    record = {"input": "And then?", "output": SAID}
    _, problems = read("auto", [record | {key: "resp_1"}])
    assert [(problem.reason, problem.detail) for problem in problems] == [
        ("unknown_record", f"'{key}' names turns that are not in the record")
    ]
    rows, problems = read("auto", [record | {key: None}])
    assert (rows.height, problems) == (2, [])


def test_parts_of_responses_are_words_in_other_lists_too() -> None:
    told = [{"type": "output_text", "text": "a", "annotations": []}]
    asked = [{"type": "input_text", "text": "q"}]
    record = {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
    }
    rows, problems = read("jsonl", [record])
    assert (rows["content"].to_list(), problems) == (["q", "a"], [])


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response_that_says_nothing_has_no_turns(status: str) -> None:
    record = {"input": [], "output": [{"type": "reasoning", "summary": []}], "status": status}
    rows, problems = read("auto", [record])
    assert rows.is_empty()
    assert [problem.reason for problem in problems] == ["no_turns"]
