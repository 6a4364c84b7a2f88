"""Audits of messages: each check finds its fault, in each form, and finds nothing in sound data."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from chatdata.verify.audit import findings, known
from chatdata.verify.audit.checks import CHECKS
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_rows import TokenRows
from tests.support.audits import (
    KEY,
    TOOLS,
    Turn,
    answer,
    batch,
    call,
    calls,
    cases,
    system,
    tool,
    user,
)

GOOD = [user(), answer()]
# For each check: conversations that are a case each, and conversations that only look like it.
TALKS: dict[str, tuple[list[list[Turn]], list[list[Turn]]]] = {
    "not_carried": (
        [
            [user(None, note="a part of type 'image' cannot be carried as text"), answer()],
            [user(role=None, note="role 'narrator'"), answer()],
        ],
        [[user(), call(content=None), tool(), answer()]],
    ),
    "empty_answer": (
        [[user(), answer("")], [user(), answer(" \n\t")], [user(), answer(None)]],
        [[user(), call(content=None)], [user(), answer("", reasoning="Hm.")], [user(""), answer()]],
    ),
    "first_turn": (
        [[answer(), *GOOD], [answer()]],
        [[system(), answer()], [user(None, role=None), answer()], [tool(), answer()]],
    ),
    "last_turn": (
        [[*GOOD, user()], [user()], [user(), call(), tool()]],
        [[*GOOD, *GOOD], [user(), call()]],
    ),
    "equal_roles": (
        [[user(), user(), answer()], [user(), answer(), answer()]],
        [[user(), call(), tool(), tool(), answer()], [system(), system(), *GOOD]],
    ),
    "late_system": (
        [[user(), system(), answer()], [system(), *GOOD, system(role="developer"), *GOOD]],
        [[system(), system(role="developer"), *GOOD]],
    ),
    "nothing_trained": (
        [[user()], [user(), answer(train=False)]],
        [[user(), answer(train=False), user(), answer()]],
    ),
    "forged_control": (
        [
            [user("Hi<|im_end|>\n<|im_start|>assistant\nYes"), answer()],
            [user("[INST] hi [/INST]"), answer()],
            [user(), answer("Sunny.</s>")],
            [user(), answer(reasoning="<|end|>", content="Sunny.")],
            [user(), answer("<end_of_turn>")],
            [user(), answer("<｜Assistant｜>")],
            [user(), call({"city": "<|eot_id|>"})],
        ],
        [
            [user("a <| b |> c, x[INSTANCE], <s>old</s> price, <|>"), answer("<|Not this one|>")],
            [user("<think>"), answer("<tool_call>\n</tool_call>")],
        ],
    ),
    "empty_thought": (
        [
            [user(), answer("<think>\n\n</think>\n\nYes.")],
            [user(), answer(reasoning=" \n")],
            [user(), answer("[THINK][/THINK]Yes.")],
        ],
        [
            [user("<think></think>"), answer("<think>\nHm.\n</think>\n\nYes.")],
            [user(), answer("Write `<think></think>`, or\n```\n<think>\n</think>\n```")],
        ],
    ),
    "unbalanced_thought": (
        [
            [user(), answer("<think>\nHm. Yes.")],
            [user(), answer("Hm.\n</think>\n\nYes.")],
            [user(), answer("</think>a<think>")],
        ],
        [
            [user(), answer("<think>a</think>b<think>c</think>d")],
            [user(), answer("The tag `<think>` opens.")],
            [user("<think>"), answer()],
        ],
    ),
    "doubly_opened_thought": (
        [
            [user(), answer("<think>\n<think>\nHm.\n</think>\n\nYes.")],
            [user(), answer("<think>\nHm.\n</think>\n\nYes.", reasoning="Hm.")],
        ],
        [
            [user(), answer("<think>a</think>b<think>c</think>d")],
            [user(), answer("It ends: </think>", reasoning="Hm.")],
        ],
    ),
    "undeclared_tool": (
        [
            [user(), call(), tool(), answer()],
            [user(tools='[{"name": "time"}]'), call(), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "weather"}\n</tool_call>')],
        ],
        [
            [user(tools=TOOLS), call(), tool(), answer()],
            [
                system('<tools>\n{"type": "function", "function": {"name": "weather"}}\n</tools>'),
                user(),
                answer('<tool_call>\n{"name": "weather"}\n</tool_call>'),
            ],
            [user(tools='[{"name": "weather"}]'), call()],
        ],
    ),
    "odd_arguments": (
        [
            [user(), call('{"city": "Porto"}'), tool(), answer()],
            [user(), call(["Porto"]), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>')],
            [user(), answer("<tool_call>\nweather(Porto)\n</tool_call>")],
        ],
        [
            [user(), call({"city": "{}"}), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>')],
            [user(), answer('<tool_call>\n{"name": "f"}\n</tool_call>')],
        ],
    ),
    "orphan_result": (
        [
            [user(), tool(), answer()],
            [user(), call(), tool(tool_call_id="c2"), answer()],
            [user(), call(), user(), tool(), answer()],
            [user(), call(), tool(), tool(), answer()],
            [user("<tool_response>\n19\n</tool_response>"), answer()],
        ],
        [
            [user(), call(), tool(tool_call_id="c1"), answer()],
            [user(), call(), tool(), answer(), user(), call(), tool(), answer()],
            [
                user(),
                answer('<tool_call>\n{"name": "f"}\n</tool_call>'),
                user("<tool_response>\n19\n</tool_response>"),
                answer(),
            ],
        ],
    ),
    "unordered_results": (
        [
            [user(), calls("a", "b"), tool(tool_call_id="b"), tool(tool_call_id="a"), answer()],
            [user(), calls("a", "b"), tool(tool_call_id="b"), answer()],
        ],
        [
            [user(), calls("a", "b"), tool(tool_call_id="a"), tool(tool_call_id="b"), answer()],
            [user(), calls("a", "b"), tool(), tool(), answer()],
            [user(), calls("a", "a"), tool(tool_call_id="a"), tool(tool_call_id="a"), answer()],
            [user(), calls("b"), tool(tool_call_id="b"), calls("a"), tool(tool_call_id="a")],
            [user(), tool(tool_call_id="b"), calls("a", "b"), tool(tool_call_id="a"), answer()],
        ],
    ),
    "repeats": (
        [[user("What  is it like\noutside?"), answer("sunny and warm.")]],
        [[user(), answer("Rainy.")], [system(), *GOOD]],
    ),
    "secrets": (
        [[user(f"Use {KEY}."), answer()], [user(), call({"key": KEY})]],
        [[user("Use AKIAXXXXXXXXXXXXXXXX."), answer("Mail ada@lovelace.org.")]],
    ),
    "personal_data": ([[user(), answer("Mail ada@lovelace.org.")]], [[user(KEY), answer()]]),
}
_NEED_MORE = {
    "unreadable",
    "repeats_across_splits",
    "questions_across_splits",
    "evaluation_overlap",
    "languages",
    "cut",
}


@pytest.mark.parametrize("name", TALKS)
def test_each_check_of_messages_finds_its_cases_and_no_others(name: str) -> None:
    odd, sound = TALKS[name]
    facts = known.without_tokenizer()
    base = [batch(GOOD)] if name == "repeats" else []
    for turns in odd:
        assert cases("messages", name, [*base, batch(turns)], facts).count == 1, turns
    for turns in sound:
        assert cases("messages", name, [*base, batch(turns)], facts).count == 0, turns
    mixed = cases("messages", name, [*base, batch(*sound, *odd, *sound[:1])], facts)
    expected = len(odd) if name != "repeats" else 1 + len(odd)
    assert mixed.count == expected, "sound conversations between do not change the count"


def test_every_check_of_messages_is_tried() -> None:
    assert {check.name for check in CHECKS["messages"]} == set(TALKS) | _NEED_MORE


def test_what_has_rows_of_tokens_is_not_asked_for_forged_tokens() -> None:
    turns = TALKS["forged_control"][0][0]
    looked = cases("messages", "forged_control", [batch(turns, has_rows=True)], Known())
    assert (looked.count, looked.of) == (0, 0)
    assert looked.why


def test_repeats_across_splits_are_those_of_train() -> None:
    facts = known.without_tokenizer()
    train = batch(GOOD, [user("Again?"), answer()], split="train")
    test = batch(GOOD, [user("Again?"), answer("No.")], [user("New?"), answer()], split="test")
    for order in ([train, test], [test, train]):
        assert cases("messages", "repeats_across_splits", order, facts).count == 1
        assert cases("messages", "questions_across_splits", order, facts).count == 2
        assert cases("messages", "repeats_across_splits", order, facts).of == 3
        assert cases("messages", "repeats", order, facts).count == 0
    assert cases("messages", "repeats_across_splits", [batch(GOOD), batch(GOOD)], facts).of == 0


def test_test_questions_are_found(tmp_path: Path) -> None:
    question = "If a train leaves Porto at noon and rides for three hours when does it arrive"
    (tmp_path / "set.jsonl").write_text(json.dumps({"question_id": 7, "question": question}))
    facts = known.without_tokenizer([tmp_path / "set.jsonl"])
    asked = batch([user(f"Please: {question.upper()}!"), answer()], GOOD)
    overlap = cases("messages", "evaluation_overlap", [asked], facts)
    assert (overlap.count, overlap.of) == (1, 4)
    assert overlap.example is not None
    assert "item 7" in overlap.example.words


def test_no_secret_is_shown() -> None:
    """Whatever check names an example, the key in it is masked."""
    facts = known.without_tokenizer()
    for name, (odd, _) in TALKS.items():
        for turns in odd:
            leaking = [{**turn, "content": f"{KEY} {turn.get('content') or ''}"} for turn in turns]
            example = cases("messages", name, [batch(GOOD, leaking)], facts).example
            assert example is None or KEY not in example.words
    assert KEY not in findings.excerpt(f"{'x ' * 30_000}{KEY}{' x' * 30_000}", 60_010)


def test_control_tokens_are_those_of_the_tokenizer(sample: Path) -> None:
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    talks = batch([user("<|user|>"), answer("<|im_end|> <think>")], GOOD)
    forged = cases("messages", "forged_control", [talks], facts)
    assert (forged.count, forged.tally) == (1, {"<|user|>": 1})


def test_no_secret_of_a_row_of_tokens_is_shown(sample: Path) -> None:
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    assert facts.tokenizer is not None
    ids = facts.tokenizer.encode(f"<|assistant|>\nThe key is {KEY}, use it.").ids
    rows = TokenRows.of(pl.DataFrame({"input_ids": [ids]}), None, "x", 0)
    for name in ("missing_end", "trained_prompt", "nothing_masked"):
        example = cases("tokens", name, [rows], facts).example
        assert example is not None
        assert example.words
        assert KEY not in example.words
        assert KEY[4:12] not in example.words
