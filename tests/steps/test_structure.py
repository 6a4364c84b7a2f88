"""Tags that say what a message is become columns, and what cannot be read stays as words."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chatdata import build_dataset, load_recipe
from chatdata.dataset import report
from chatdata.steps import cleaning
from tests.support.conversations import Turns, table

CALL = {"name": "f", "arguments": {"a": "é\n</x>"}}
TAGGED = f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"
LIFTED = json.dumps([{"type": "function", "function": CALL}], ensure_ascii=False)
TOOL = '{"type": "function", "function": {"name": "f"}}'


def run(turns: Turns, *names: str) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    steps = [cleaning.step(name, {}) for name in names]
    messages, cleaned = cleaning.run(table({"x": turns}), steps)
    return messages, dict(cleaned.by_cleaner)


@pytest.mark.parametrize(
    ("content", "reasoning", "words"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("\n<think>Hm.</think>Yes.", "Hm.", "Yes."),
        ("<think>\n a\n\nb \n</think>\n\n  c\n", " a\n\nb ", "  c\n"),
        ("<think>\n\n</think>\n\nYes.", None, "Yes."),
        ("<think>Hm.</think>", "Hm.", None),
        ("<think></think>", None, ""),
        ("<think>Hm.</think>Write <think>x</think>.", "Hm.", "Write <think>x</think>."),
    ],
)
def test_a_thought_before_an_answer_is_its_reasoning(
    content: str, reasoning: str | None, words: str | None
) -> None:
    messages, counts = run([("user", content), ("assistant", content)], "lift_reasoning")
    assert messages.select("content", "reasoning").rows() == [(content, None), (words, reasoning)]
    fewer = len(content) - len(reasoning or "") - len(words or "")
    assert counts == {"lift_reasoning": {"messages": 1, "characters": fewer, "left": 0}}
    again, _ = cleaning.run(messages, [cleaning.step("lift_reasoning", {})])
    assert_frame_equal(again, messages)


@pytest.mark.parametrize(
    "content",
    [
        "<think>Hm. Yes.",
        "Hm.</think>Yes.",
        "<think>a<think>b</think>c</think>d",
        "<think>a</think>b</think>c",
    ],
)
def test_a_thought_that_is_not_closed_stays(content: str) -> None:
    messages, counts = run([("assistant", content)], "lift_reasoning")
    assert messages.select("content", "reasoning").row(0) == (content, None)
    assert counts["lift_reasoning"] == {"messages": 0, "characters": 0, "left": 1}


@pytest.mark.parametrize(
    ("content", "words", "calls"),
    [
        (TAGGED, None, 1),
        (f"I look.\n{TAGGED}\n{TAGGED}\n", "I look.", 2),
        ("<tool_call>" + json.dumps(CALL) + "</tool_call>", None, 1),
    ],
)
def test_calls_at_the_end_of_an_answer_are_calls(content: str, words: str, calls: int) -> None:
    messages, counts = run([("user", content), ("assistant", content)], "lift_tools")
    written = "[" + ", ".join([LIFTED[1:-1]] * calls) + "]"
    assert messages.select("content", "tool_calls").rows() == [(content, None), (words, written)]
    assert counts["lift_tools"]["messages"] == 1
    assert counts["lift_tools"]["left"] == 0


@pytest.mark.parametrize(
    "content",
    [
        "<tool_call>\n{'name': 'f'}\n</tool_call>",
        '<tool_call>\n{"arguments": {}}\n</tool_call>',
        f"{TAGGED}\nThat is all.",
        f"{TAGGED}\n<tool_call>\n",
    ],
)
def test_calls_that_cannot_be_read_stay(content: str) -> None:
    messages, counts = run([("assistant", content)], "lift_tools")
    assert messages.select("content", "tool_calls").row(0) == (content, None)
    assert counts["lift_tools"] == {"messages": 0, "characters": 0, "left": 1}


def test_results_and_lists_of_tools_in_tags() -> None:
    """Words around a list of tools stay; two results in a turn stay as words."""
    two = "<tool_response>1</tool_response>\n<tool_response>2</tool_response>"
    turns = [
        ("system", f"Be brief.\n\n<tools>\n{TOOL}\n{TOOL}\n</tools>\n\nCall them in tags."),
        ("user", "<tool_response>\n19\n</tool_response>"),
        ("tool", "<tool_response>20</tool_response>"),
        ("user", two),
        ("user", "What is <tool_response>?"),
    ]
    messages, counts = run(turns, "lift_tools")
    assert messages.select("role", "content").rows() == [
        ("system", "Be brief.\n\nCall them in tags."),
        ("tool", "19"),
        ("tool", "20"),
        ("user", two),
        ("user", "What is <tool_response>?"),
    ]
    assert set(messages["tools"]) == {f"[{TOOL}, {TOOL}]"}
    assert (counts["lift_tools"]["messages"], counts["lift_tools"]["left"]) == (3, 1)


@pytest.mark.parametrize("block", ["[{}]", "[", "f(x)", "[1]"])
def test_lists_of_tools_that_cannot_be_read_stay(block: str) -> None:
    content = f"<tools>{block}</tools>"
    messages, _ = run([("system", content), ("user", "q")], "lift_tools")
    assert messages["content"].to_list() == [content, "q"]
    assert messages["tools"].to_list() == [None, None]


def test_tools_are_those_of_a_conversation_alone() -> None:
    listed = [("system", f"<tools>[{TOOL}]</tools>"), ("user", "q")]
    messages = table({"x": listed, "y": [("user", "q")]})
    lifted, _ = cleaning.run(messages, [cleaning.step("lift_tools", {})])
    assert lifted["tools"].to_list() == [f"[{TOOL}]"] * 2 + [None]
    assert lifted["content"].to_list() == ["", "q", "q"]


def test_reasoning_may_be_dropped_and_texts_are_cleaned_between() -> None:
    """The list of a recipe is run in its order: what is lifted late was cleaned as words."""
    turns = [
        ("assistant", "<think>\u200b\nHm. \n</think>\n\nYes. "),
        ("assistant", "<think>a</think>"),
    ]
    messages, counts = run(turns, "lift_reasoning", "invisible", "white_space")
    assert messages.select("content", "reasoning").rows() == [("Yes.", "Hm."), (None, "a")]
    assert list(counts) == ["lift_reasoning", "invisible", "white_space"]
    messages, _ = run([("assistant", "<think>\u200b</think>a")], "lift_reasoning", "invisible")
    assert messages.select("content", "reasoning").rows() == [("a", None)]
    messages, counts = run(turns, "lift_reasoning", "drop_reasoning")
    assert messages.select("content", "reasoning").rows() == [("Yes. ", None), (None, None)]
    assert messages["note"][1] == "nothing is left of it without its reasoning"
    assert counts["drop_reasoning"]["messages"] == 2


def test_what_was_left_is_counted_in_manifest_and_card(tmp_path: Path) -> None:
    turns = [("human", "q"), ("gpt", "<think>a"), ("human", "q"), ("gpt", "<think>b</think>c")]
    record = {"id": "x", "conversations": [{"from": who, "value": text} for who, text in turns]}
    (tmp_path / "talks.json").write_text(json.dumps([record]))
    recipe = load_recipe("sharegpt", ["drop=[]", "redact=null"])
    manifest = build_dataset(recipe, tmp_path / "out", inputs=[str(tmp_path / "talks.json")])
    entry = manifest.as_json()["cleaned"]["lift_reasoning"]
    assert entry == {"messages": 1, "characters": 15, "left": 1}
    assert "left" not in manifest.as_json()["cleaned"]["invisible"]
    assert "1 stayed as words." in (tmp_path / "out" / "README.md").read_text()
    assert "lift_reasoning (1 left as words)" in report.page(tmp_path / "out")
