"""Every step sees all that is spoken: words, reasoning, calls, results and tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chatdata.core import schema
from chatdata.steps import contamination, duplicates, language, redact, threads
from chatdata.steps.filtering import Drop, add_columns, mark
from chatdata.steps.filters import FILTERS
from chatdata.steps.secrets import KINDS
from chatdata.steps.threads import Threads
from tests.support.conversations import marked
from tests.support.evaluation import LONG, index
from tests.support.structured import call, calls, in_short, structured

CALLED = calls(call(a=1))


def hits(name: str, rows: pl.DataFrame, **options: Any) -> list[bool]:
    return rows.select(Drop(FILTERS[name], options, "cut").expression()).to_series().to_list()


# ------------------------------------------------------------------------------- one message


@pytest.mark.parametrize(
    ("turn", "removed_by"),
    [
        ({"role": "assistant", "tool_calls": CALLED}, {"tool_use"}),
        ({"role": "assistant", "reasoning": "Hm."}, set()),
        ({"role": "assistant", "content": " ", "reasoning": "Hm."}, set()),
        ({"role": "assistant", "content": "", "tool_calls": CALLED}, {"tool_use"}),
        ({"role": "assistant", "reasoning": "Hm.", "note": "no text"}, {"bad_content"}),
        ({"role": "assistant"}, {"bad_content"}),
        ({"role": "assistant", "content": ""}, {"empty"}),
        ({"role": "tool", "content": ""}, {"tool_use"}),
        ({"role": "tool", "content": "https://a.example"}, {"tool_use"}),
        ({"role": "user", "content": "https://a.example"}, {"url_only"}),
        ({"role": "system", "content": "a", "tools": "[]"}, {"tool_use"}),
        ({"role": "developer", "content": "a", "tools": "[]"}, {"tool_use"}),
        ({"role": "user", "content": "a", "tools": "[]"}, set()),
        (
            {
                "role": "assistant",
                "content": "One. I look into the file for you, and",
                "tool_calls": "[]",
            },
            {"tool_use"},
        ),
        ({"role": "assistant", "content": "One. I look into the file for you, and"}, {"truncated"}),
        ({"role": "assistant", "content": "network error"}, {"error_answer"}),
    ],
)
def test_what_is_said_beside_the_words_counts(turn: dict[str, Any], removed_by: set[str]) -> None:
    names = ["bad_content", "empty", "tool_use", "url_only", "truncated", "error_answer"]
    rows = structured({"x": [turn]})
    assert {name for name in names if hits(name, rows)[0]} == removed_by


# ------------------------------------------------------------------------- one conversation


@pytest.mark.parametrize(
    ("turns", "alternates"),
    [
        ("ucta", True),
        ("ucttctaua", True),
        ("sductta", True),
        ("duct", True),
        ("uta", False),
        ("uata", False),
        ("tua", False),
        ("uctua", False),
        ("dsua", False),
        ("ucc", False),
    ],
)
def test_results_stand_between_a_call_and_the_answer(turns: str, alternates: bool) -> None:
    rows = structured({"x": in_short(turns)})
    assert set(hits("not_alternating", rows)) == {not alternates}


def test_thoughts_and_calls_have_their_length() -> None:
    rows = structured({"x": [{"role": "assistant", "reasoning": "abc", "tool_calls": "[1]"}]})
    assert hits("too_many_characters", rows, above=5) == [True]
    assert hits("too_many_characters", rows, above=6) == [False]


def test_developers_are_no_turns() -> None:
    assert set(hits("too_few_turns", structured({"x": in_short("dua")}), below=3)) == {True}
    assert set(hits("too_many_turns", structured({"x": in_short("dua")}), above=2)) == {False}


# -------------------------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning": "other"},
        {"tool_calls": calls(call(a=2))},
        {"tools": "[]"},
        {"reasoning": None},
    ],
)
def test_conversations_that_differ_in_any_part_are_no_duplicates(beside: dict[str, Any]) -> None:
    turn = {"role": "assistant", "content": "a", "reasoning": "b", "tool_calls": CALLED}
    rows = structured({"x": [turn], "y": [turn], "z": [{**turn, **beside}]})
    drop = Drop(FILTERS["duplicate"], {}, "drop")
    rows, _ = add_columns(rows, [drop], Path())
    keys = duplicates.keys(rows, drop.filter.expression().first(), by_tree=False)
    x, y, z = duplicates.equal(duplicates.with_digest(keys)).to_list()
    assert x == y != z


def test_calls_are_not_alike_for_their_words_alone() -> None:
    words = [" ".join(f"word{n}" for n in range(start, start + 30)) for start in (0, 100)]
    rows = structured(
        {
            str(n): [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": text}]
            for n, text in enumerate(calls(call(code=code)) for code in words)
        }
    )
    compared = FILTERS["near_duplicate"].expression(keep="longest").first()
    (x, y) = duplicates.keys(rows, compared, by_tree=False)["compared"].to_list()
    assert words[0] in x
    assert words[1] in y


# ------------------------------------------------------------------------------------ threads


def left(turns: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    rows = mark(structured({"x": turns}), [])
    threaded = threads.linearize_turns(rows, Threads.model_validate(options))
    return threaded.messages.select("role", *schema.SPOKEN).to_dicts()


@pytest.mark.parametrize("how", ["merge", "drop"])
def test_results_behind_each_other_are_all_kept(how: str) -> None:
    turns = in_short("ucttctta")
    assert [turn["role"] for turn in left(turns, repeated_role=how)] == [
        turn["role"] for turn in turns
    ]


@pytest.mark.parametrize(
    ("turns", "merged"),
    [
        (
            [{"reasoning": "a"}, {"content": "b"}, {"tool_calls": calls(call(x="]"))}],
            [{"reasoning": "a", "content": "b", "tool_calls": calls(call(x="]"))}],
        ),
        (
            [
                {"tool_calls": calls(call("f"))},
                {"content": "", "tool_calls": calls(call("g"), call())},
            ],
            [{"content": "", "tool_calls": calls(call("f"), call("g"), call())}],
        ),
        (
            [{"reasoning": "a"}, {"reasoning": "b", "content": "c"}],
            [{"reasoning": "a\n\nb", "content": "c"}],
        ),
        ([{"content": "a"}, {"reasoning": "b", "content": "c"}], None),
        ([{"tool_calls": calls(call())}, {"content": "a"}], None),
    ],
)
def test_turns_are_merged_where_their_order_can_be_kept(
    turns: list[dict[str, Any]], merged: list[dict[str, Any]] | None
) -> None:
    """Thoughts come before words and words before calls in a turn; None: nothing is merged."""
    blank = dict.fromkeys(schema.SPOKEN)
    answers = [{"role": "assistant", **turn} for turn in turns]
    expected = [{"role": "assistant", **blank, **turn} for turn in merged or turns]
    assert left([{"role": "user", "content": "q"}, *answers], repeated_role="merge")[1:] == expected


def test_a_call_is_not_dropped_for_the_turn_behind_it() -> None:
    assert len(left(in_short("ucca"), repeated_role="drop")) == 4


@pytest.mark.parametrize(
    ("turns", "skipped", "kept"),
    [
        ("uauctaua", "x_4", [0, 1, 6, 7]),
        ("uauctaua", "x_3", [0, 1, 6, 7]),
        ("uctaua", "x_5", [0, 1, 2, 3]),
        ("uccttaua", "x_4", [6, 7]),
        ("uua", "x_2", []),
        ("sua", "x_0", [1, 2]),
    ],
)
def test_an_exchange_is_skipped_with_its_calls(turns: str, skipped: str, kept: list[int]) -> None:
    rows = marked(structured({"x": in_short(turns)}), **{skipped: "skip"})
    threaded = threads.linearize_turns(rows, Threads())
    assert threaded.messages["message"].to_list() == [f"x#{position}" for position in kept]


def test_records_of_one_id_that_differ_in_a_call_are_two() -> None:
    turns = [
        [*in_short("u"), {"role": "assistant", "tool_calls": calls(call(a=n))}] for n in (1, 2)
    ]
    rows = pl.concat(
        structured({"x": turn}).with_columns(where=pl.lit(f"f:{number}"))
        for number, turn in enumerate(turns)
    )
    threaded = threads.linearize_turns(mark(rows, []), Threads())
    assert threaded.messages["conversation"].n_unique() == 2


# ------------------------------------------------------------------------------------ secrets

MAIL = "ann@acme.io"
CARD = 4539148803436467
KEY = "8fQ2kLmZx7Rt4VbN9cWd1sGh"


def holding() -> pl.DataFrame:
    tools = json.dumps([call(hint=f"as {MAIL}")])
    turns = [
        {"role": "user", "content": f"I am {MAIL}."},
        {
            "role": "assistant",
            "reasoning": f'"{MAIL}"\nagain',
            "tool_calls": calls(call(to=[f'\n{MAIL}\\ "x"'], card=CARD, api_key=KEY, n=1, b=True)),
        },
        {"role": "tool", "content": f"Sent with {KEY}."},
    ]
    return structured({"x": [{**turn, "tools": tools} for turn in turns]})


def test_secrets_are_masked_in_every_part_and_json_stays_json() -> None:
    """A key is known by the name of its argument; a number becomes a string where it is masked."""
    masked, counts = redact.replace(holding(), list(KINDS))
    assert masked["content"].to_list() == ["I am <EMAIL_1>.", None, "Sent with <KEY_1>."]
    assert masked["reasoning"].to_list() == [None, '"<EMAIL_1>"\nagain', None]
    (called,) = json.loads(masked["tool_calls"][1])
    assert called["function"]["arguments"] == {
        "to": ['\n<EMAIL_1>\\ "x"'],
        "card": "<CARD_1>",
        "api_key": "<KEY_1>",
        "n": 1,
        "b": True,
    }
    assert set(masked["tools"]) == {json.dumps([call(hint="as <EMAIL_1>")])}
    assert counts.by_kind["email"] == {"messages": 2, "found": 4, "masked": 4}
    again, none = redact.replace(masked, list(KINDS))
    assert_frame_equal(again, masked)
    assert none.by_kind == {}


def test_a_secret_in_any_part_is_labelled() -> None:
    rows = holding().with_columns(tools=pl.lit(None, pl.String))
    labelled, counts = redact.label(rows, ["email", "card"])
    assert labelled["secret"].to_list() == ["email at character 5", "email in its reasoning", None]
    assert counts.by_kind["card"] == {"messages": 1, "found": 1, "masked": 0}
    labelled, _ = redact.label(holding(), ["email"])
    assert set(labelled["secret"]) == {"email in the tools"}


# --------------------------------------------------------------------------- evaluation, language


@pytest.mark.parametrize(
    "turn",
    [
        {"reasoning": f"Well. {LONG}"},
        {"content": "a", "tool_calls": calls(call(text=[f"b\n{LONG}"]))},
        {"content": LONG, "reasoning": "a"},
    ],
)
def test_an_evaluation_item_is_found_in_every_part(turn: dict[str, Any]) -> None:
    rows = structured({"x": [{"role": "assistant", **turn}, {"role": "assistant", "content": "a"}]})
    labelled, _ = contamination.label(rows, index(LONG))
    first, second = labelled["overlap"]
    assert first.startswith("s, item 0: ")
    assert second is None


def test_reasoning_is_heard_and_calls_and_results_are_not() -> None:
    german = "Ich denke darüber nach, welche Stadt die größte ist."
    english = "The weather in the city is warm and the sky is clear today."
    turns = [
        {"role": "user", "content": german},
        {"role": "assistant", "reasoning": german},
        {"role": "assistant", "tool_calls": calls(call(text=english))},
        {"role": "tool", "content": english},
    ]
    labelled = language.label(structured({"x": turns}), "detected")
    assert labelled["lang"].to_list() == ["de"] * 4
    assert labelled["lang_by"].to_list() == ["detected", "detected", "neighbours", "neighbours"]
