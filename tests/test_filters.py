"""Filters: for each a row that goes, a row that stays, and the edge."""

from __future__ import annotations

from typing import Any

import pytest

from chatdata import filters
from chatdata.filters import FILTERS, Drop
from tests.conversations import nodes, table

MESSAGE_CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    # filter: options, messages that it removes, messages that it leaves
    "bad_content": ({}, [{"content": None}], [{"content": ""}, {"content": "a"}]),
    "unknown_role": ({}, [{"role": None}], [{"role": "system"}, {"role": "tool"}]),
    "deleted": ({}, [{"deleted": True}], [{"deleted": False}, {"deleted": None}]),
    "not_reviewed": (
        {},
        [{"review_result": False}, {"review_result": None}],
        [{"review_result": True}],
    ),
    "synthetic": ({}, [{"synthetic": True}], [{"synthetic": False}, {"synthetic": None}]),
    "unfinished_tree": (
        {},
        [{"tree_state": "growing"}, {"tree_state": "aborted_low_grade"}],
        [{"tree_state": "ready_for_export"}, {"tree_state": None}],
    ),
    "empty": (
        {},
        [{"content": ""}, {"content": " \n\t\u00a0\u3000"}],
        [{"content": "a"}, {"content": None}],
    ),
    "error_answer": (
        {},
        [
            {"role": "assistant", "content": content}
            for content in (
                "Too many requests in 1 hour. Try again later.",
                "network error\n\nOnly one message at a time. Please allow any other responses to "
                "complete before sending another message, or wait one minute.",
                "!An error occurred. If this issue persists please contact us.",
                "Something went wrong.",
                "EmptyMarkdownContent",
            )
        ],
        [
            {"role": "user", "content": "network error"},
            {"role": "assistant", "content": "Network errors have many causes."},
            {"role": "assistant", "content": "Something went wrong in the war room that day."},
            {"role": "assistant", "content": "Too many requests in 1 hour. " + "So we wait. " * 40},
            {"role": "assistant", "content": "The server answers 'Too many requests in 1 hour'."},
            {"role": "assistant", "content": None},
        ],
    ),
    "tool_use": (
        {},
        [
            {"role": "assistant", "content": "<tool_call>\n{}\n</tool_call>"},
            {"role": "user", "content": "<tool_response>\n{}\n</tool_response>"},
            {"role": "system", "content": "Be brief.\n\n<tools>\n[{}]\n</tools>"},
        ],
        [
            {"role": "assistant", "content": "Write <tool_call> before it."},
            {"role": "user", "content": "<tools>\nhammer\n</tools>"},
            {"role": "system", "content": "You may use <tools>."},
        ],
    ),
    "wrong_language": (
        {"allow": ["en", "pt"]},
        [{"lang": "de"}, {"lang": "zh-cn"}, {"lang": "eng"}, {"lang": "und"}, {"lang": ""}],
        [{"lang": "en"}, {"lang": "EN"}, {"lang": "pt-BR"}, {"lang": "pt"}, {"lang": None}],
    ),
}

CONVERSATION_CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    # filter: options, conversations that it removes (a letter a turn), those that it leaves
    "not_alternating": ({}, ["uu", "uaa", "au", "usa", "uas", "ssua"], ["ua", "u", "suaua", "s"]),
    "no_assistant": ({}, ["u", "su", "s"], ["ua", "a"]),
    "too_few_turns": ({"below": 3}, ["ua", "sua", "u"], ["uau", "suau"]),
    "duplicate": ({}, [], []),
}
ROLES = {"u": "user", "a": "assistant", "s": "system"}


def test_every_filter_has_a_case_and_a_line_about_it() -> None:
    assert set(FILTERS) == set(MESSAGE_CASES) | set(CONVERSATION_CASES)
    assert all(own.about.endswith(".") for own in FILTERS.values())


@pytest.mark.parametrize("name", MESSAGE_CASES)
def test_a_message_filter_removes_what_it_is_named_for(name: str) -> None:
    options, removed, left = MESSAGE_CASES[name]
    rows = nodes(
        [{"message": str(i), "content": "a", **own} for i, own in enumerate([*removed, *left])]
    )
    hit = rows.select(Drop(FILTERS[name], options, "cut").expression()).to_series().to_list()
    assert hit == [True] * len(removed) + [False] * len(left)


@pytest.mark.parametrize("name", CONVERSATION_CASES)
def test_a_conversation_filter_removes_what_it_is_named_for(name: str) -> None:
    options, removed, left = CONVERSATION_CASES[name]
    if FILTERS[name].unit == "corpus":
        return
    said = {turns: [(ROLES[letter], "t") for letter in turns] for turns in [*removed, *left]}
    rows = table(said)
    hit = rows.filter(Drop(FILTERS[name], options, "drop").expression())
    assert set(hit["conversation"]) == set(removed)
    assert hit.height == sum(len(turns) for turns in removed)  # whole conversations


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([("user", "a  b")], [("user", "a\n\tb ")], True),
        ([("user", "a b")], [("user", "ab")], False),
        ([("user", "a")], [("assistant", "a")], False),
        ([("user", "a"), ("assistant", "b")], [("user", "a\nassistant\tb")], True),
    ],
)
def test_duplicate_compares_roles_and_folded_content(one: Any, other: Any, same: bool) -> None:
    rows = table({"x": one, "y": other})
    keys = rows.group_by("conversation", maintain_order=True).agg(
        key=FILTERS["duplicate"].expression().first()
    )
    assert (keys["key"].n_unique() == 1) == (same and len(one) == len(other))


def test_the_first_filter_that_hits_is_the_reason() -> None:
    rows = nodes([{"message": "m", "content": "", "deleted": True, "lang": "de"}])
    drops = [Drop(FILTERS[name], {}, "cut") for name in ("empty", "deleted", "wrong_language")]
    for order in (drops, drops[::-1]):
        marked = filters.mark(rows, order)
        assert marked["removed_by"].to_list() == [order[0].filter.name]


def test_untrain_leaves_the_message_as_context() -> None:
    rows = nodes([{"message": "m", "role": "assistant", "deleted": True}])
    marked = filters.mark(rows, [Drop(FILTERS["deleted"], {}, "untrain")])
    assert marked.select("train", "removed_by").rows() == [(False, None)]


def test_an_empty_system_message_goes_alone_and_no_other() -> None:
    turns = [("system", " "), ("user", "a"), ("assistant", "")]
    for on_removed, expected in (("cut", ["skip", None, "cut"]), ("drop", ["drop", None, "drop"])):
        drop = Drop(FILTERS["empty"], {}, on_removed)  # type: ignore[arg-type]
        assert filters.mark(table({"x": turns}), [drop])["on_removed"].to_list() == expected


def test_a_filter_for_columns_that_a_source_lacks_leaves_it_alone() -> None:
    rows = table({"x": [("user", "a")]})
    marked = filters.mark(rows, [Drop(FILTERS["deleted"], {}, "cut")])
    assert marked["removed_by"].null_count() == 1


@pytest.mark.parametrize(
    ("allow", "lang", "is_removed"),
    [
        (["pt"], "pt-BR", False),
        (["pt-BR"], "pt_br", True),
        (["pt-BR"], "pt-br", False),
        (["pt-BR"], "pt", True),
        (["no"], "nb", False),
        (["nb"], "no", False),
        (["zh"], "zh-tw", False),
        ([], "en", True),
        ([], None, False),
    ],
)
def test_codes_that_mean_one_language_are_one(
    allow: list[str], lang: str | None, is_removed: bool
) -> None:
    row = nodes([{"message": "m", "lang": lang}])
    drop = Drop(FILTERS["wrong_language"], {"allow": allow}, "cut")
    assert row.select(drop.expression()).item() is is_removed
