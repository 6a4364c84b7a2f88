"""Preferences: an answer that was disliked is never learnt from."""

from __future__ import annotations

from typing import Any

import pytest

from chatdata import sources
from tests.support.reading import read, unread

ASKED = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}

CHOICES = [
    {"prompt": "q", "chosen": "good", "rejected": "bad"},
    {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
]


REFUSED = [(source, record) for source in sources.names() for record in CHOICES]
REFUSED.remove(("auto", CHOICES[2]))  # whose shape says which answer ends the conversation


@pytest.mark.parametrize(("source", "record"), REFUSED)
def test_answers_to_choose_from_are_refused_by_name(source: str, record: Any) -> None:
    rows, problems = read(source, [record])
    assert rows.is_empty()
    assert [(problem.unit, problem.reason) for problem in problems] == [("record", "preference")]
    chosen = next(key for key in record if key in ("chosen", "preferred_output"))
    assert f"'{chosen}'" in problems[0].detail
    assert "`messages`" in problems[0].detail


def test_auto_reads_what_was_preferred_and_nothing_else() -> None:
    rows, problems = read("auto", [CHOICES[2]])
    assert (rows["content"].to_list(), problems) == (["q", "good"], [])
    assert unread("auto", CHOICES[2]) == {"records": {"non_preferred_output": 1}}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "q", "response": "bad", "label": False},
        {"data": ["q", "bad"], "label": False},
        {"conversation": [{"input": "q", "output": "bad"}], "kto_tag": False},
        {"text": "### Human: q### Assistant: bad", "label": False},
        {"chat": [ASKED, BAD], "label": False},
    ],
)
def test_auto_reads_no_answer_that_was_disliked(record: dict[str, Any]) -> None:
    rows, problems = read("auto", [record])
    assert rows.is_empty()
    assert [problem.reason for problem in problems] == ["preference"]


DISLIKED: list[dict[str, Any]] = [
    {"prompt": "q", "completion": "bad", "label": False},
    {"prompt": "q", "completion": "bad", "label": 0},
    {"prompt": "q", "completion": "bad", "label": 0.0},  # a column with nulls, by pandas
    {"prompt": "q", "completion": "bad", "label": "False"},
    {"prompt": [ASKED], "completion": [BAD], "label": False},
    {"messages": [ASKED, BAD], "label": False},
    {"messages": [ASKED, BAD], "kto_tag": 0},
    {"instruction": "q", "output": "bad", "kto_tag": False},
    {"messages": [ASKED, BAD], "rejected": "bad"},
    {"messages": [ASKED, BAD], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"messages": [ASKED], "chosen": GOOD, "rejected": BAD},
    {"messages": [ASKED], "chosen": {"from": "gpt", "value": "good"}, "rejected": BAD},
]


@pytest.mark.parametrize("record", DISLIKED)
def test_an_answer_that_was_disliked_is_never_read(record: dict[str, Any]) -> None:
    for source in ("jsonl", "sharegpt") if "messages" in record else ("jsonl",):
        rows, problems = read(source, [record, {"messages": [ASKED, GOOD]}])
        assert rows["content"].to_list() == ["q", "good"]
        assert [problem.reason for problem in problems] == ["preference"]


LIKED: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({"prompt": "q", "completion": "good", "label": True}, {}),
    ({"messages": [ASKED, GOOD], "label": True, "kto_tag": True}, {}),
    ({"prompt": "q", "completion": "good", "label": 1}, {}),
    ({"prompt": "q", "completion": "good", "label": 2}, {"label": 1}),
    ({"messages": [ASKED, GOOD], "label": 0}, {"label": 1}),  # the number of a class
    ({"messages": [ASKED, GOOD], "label": "sport"}, {"label": 1}),
    ({"messages": [ASKED, GOOD], "score": 0, "rating": -1}, {"score": 1, "rating": 1}),
    ({"messages": [ASKED, GOOD], "rejected_response": "bad"}, {"rejected_response": 1}),
    ({"messages": [ASKED, GOOD], "chosen": [ASKED, GOOD], "rejected": "bad"}, {"rejected": 1}),
    ({"messages": [ASKED, GOOD], "chosen": None, "rejected": []}, {"rejected": 1}),
]


@pytest.mark.parametrize(("record", "counts"), LIKED)
def test_an_answer_that_was_liked_or_only_scored_is_kept(
    record: dict[str, Any], counts: dict[str, int]
) -> None:
    rows, problems = read("jsonl", [record])
    assert problems == []
    assert rows["content"].to_list() == ["q", "good"]
    assert unread("jsonl", record) == ({"records": counts} if counts else {})
