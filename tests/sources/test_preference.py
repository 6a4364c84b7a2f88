"""Preferences: an answer that was disliked is never learnt from."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from chatdata import sources
from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.steps import filtering, filters, trees
from chatdata.steps.threads import Threaded, Threads
from tests.support.reading import read, unread

ASKED = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}

NO = pl.lit(False)
CHOICES = [
    {"prompt": "q", "chosen": "good", "rejected": "bad"},
    {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
]


@pytest.mark.parametrize("source", [name for name in sources.names() if name != "auto"])
@pytest.mark.parametrize("record", CHOICES)
def test_answers_to_choose_from_are_refused_by_name(source: str, record: Any) -> None:
    rows, problems = read(source, [record])
    assert rows.is_empty()
    assert [(problem.unit, problem.reason) for problem in problems] == [("record", "preference")]
    chosen = next(key for key in record if key in ("chosen", "preferred_output"))
    assert f"'{chosen}'" in problems[0].detail
    assert "`messages`" in problems[0].detail
    assert "`auto`" in problems[0].detail


@pytest.mark.parametrize("record", CHOICES)
def test_auto_reads_a_tree_in_whose_conversations_the_other_answer_never_stands(
    record: Any,
) -> None:
    rows, problems = read("auto", [record])
    assert problems == []
    assert rows.select("content", "rank", "rejected").rows() == [
        ("q", None, False),
        ("good", 0, False),
        ("bad", 1, True),
    ]
    assert unread("auto", record) == {}
    for policy in ("all_leaves", "best_rank", "all_prefixes"):
        made = linearize(rows, policy=policy)
        assert made.messages["content"].to_list() == ["q", "good"]
        assert made.outcomes.select("id", "reason").rows() == [("rejected", "not_selected")]


@pytest.mark.parametrize(
    ("winner", "ranks", "kept"),
    [
        ("model_a", [0, 1], ["q", "good"]),
        ("model_b", [1, 0], ["q", "bad"]),
        ("tie", [None, None], ["q", "good", "q", "bad"]),
        ("tie (bothbad)", [None, None], []),
    ],
)
def test_the_verdict_of_an_arena_says_which_may_stand(
    winner: str, ranks: list[int | None], kept: list[str]
) -> None:
    record = {
        "conversation_a": [ASKED, GOOD],
        "conversation_b": [ASKED, BAD],
        "winner": winner,
    }
    rows, problems = read("auto", [record])
    assert problems == []
    assert rows["rank"].to_list() == [None, *ranks]
    made = linearize(rows, policy="all_leaves")
    assert sorted(made.messages["content"].to_list()) == sorted(kept)


def test_not_even_where_the_best_answer_is_removed() -> None:
    rows, _ = read("auto", [CHOICES[0]])
    made = linearize(rows, pl.col("content") == "good", policy="best_rank")
    assert made.messages.is_empty()


def linearize(rows: pl.DataFrame, is_cut: pl.Expr = NO, **policy: Any) -> Threaded:
    """The conversations of trees of which a filter cuts some messages."""
    nodes = filtering.mark(rows.select(schema.NODES.keys()), filters.always())
    by = pl.when(is_cut).then(pl.lit("faulty"))
    marked = nodes.with_columns(removed_by=by, on_removed=pl.when(is_cut).then(pl.lit("cut")))
    return trees.linearize(marked, Threads(**policy))


# Each with what stands beside: the prompt, and the answers from the best on.
READ: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"question": "q", "system": "s", "chosen": "a", "rejected": "b"}, ["s", "q"], ["a", "b"]),
    ({"instruction": "q", "input": "i", "chosen": "a", "rejected": "b"}, ["q\n\ni"], ["a", "b"]),
    ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, ["q"], ["good", "bad"]),
    ({"prompt": "q", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, ["q"], ["good", "bad"]),
    ({"prompt": [ASKED], "chosen": [ASKED, GOOD], "rejected": BAD}, ["q"], ["good", "bad"]),
    (
        {"messages": [ASKED, GOOD], "prompt": "q", "chosen": [ASKED, GOOD], "rejected": [BAD]},
        ["q"],
        ["good", "bad"],
    ),
    (
        {"prompt": "\n\nHuman: q\n\nAssistant: r\n\nHuman: s\n\nAssistant:", "chosen": "a"}
        | {"rejected": "b"},
        ["q", "r", "s"],
        ["a", "b"],
    ),
    (
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        ["q"],
        ["a", "b"],
    ),
    ({"messages": [ASKED, GOOD], "rejected_response": "bad"}, ["q"], ["good", "bad"]),
    ({"conversations": [ASKED, GOOD], "rejected_response": BAD}, ["q"], ["good", "bad"]),
    ({"messages": [ASKED, GOOD], "rejected_messages": [ASKED, BAD]}, ["q"], ["good", "bad"]),
    (
        {"messages": [ASKED, BAD, ASKED, GOOD], "rejected_messages": [ASKED, BAD, ASKED, BAD]},
        ["q", "bad", "q"],
        ["good", "bad"],
    ),
    (
        {"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 0},
        ["q"],
        ["b", "a"],
    ),
    (
        {"prompt": "q", "answers": [{"answer": "b", "rank": 2}, {"answer": "a", "rank": 1}]},
        ["q"],
        ["a", "b"],
    ),
]


@pytest.mark.parametrize(("record", "prompt", "answers"), READ)
def test_a_prompt_and_its_answers(
    record: dict[str, Any], prompt: list[str], answers: list[str]
) -> None:
    rows, problems = read("auto", [record])
    assert problems == []
    assert rows.filter(pl.col("rank").is_null())["content"].to_list() == prompt
    ranked = rows.filter(pl.col("rank").is_not_null()).sort("rank")
    assert ranked.select("content", "rank").rows() == [*zip(answers, range(2), strict=True)]
    assert rows.filter("train").filter(pl.col("rank").is_null()).is_empty()


def test_scores_become_ranks_and_what_has_none_is_never_the_best() -> None:
    scores = [3, "4.5", None, 4.5, "none"]
    answers = [{"response": f"a{at}", "overall_score": score} for at, score in enumerate(scores)]
    rows, _ = read("auto", [{"instruction": "q", "completions": answers}])
    assert rows.filter(role="assistant").select("rank", "rejected").rows() == [
        (1, True),
        (0, False),
        (None, True),
        (0, False),
        (None, True),
    ]


def test_verdicts_on_answers_to_a_prompt_are_a_tree() -> None:
    """In whichever records they stand; a prompt of its own is a tree of its own."""
    verdicts = [("q", "good", True), ("p", "good", False), ("q", "bad", False)]
    records = [{"prompt": q, "completion": a, "label": label} for q, a, label in verdicts]
    rows, problems = read("auto", records)
    answers = rows.filter(role="assistant")
    assert answers["rank"].to_list() == [0, 1, 1]
    first, second, third = answers["group"]
    assert first == third != second
    assert problems == []


def _calling(number: int, id: str = "c1") -> dict[str, Any]:
    function = {"name": "add", "arguments": json.dumps({"number": number})}
    calls = [{"id": id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _thinking(thought: str) -> dict[str, Any]:
    return {**GOOD, "reasoning_content": thought}


@pytest.mark.parametrize(
    "sides", [(_calling(1), _calling(2)), (_thinking("so"), _thinking("or so"))]
)
def test_answers_that_differ_in_calls_or_thoughts_alone_are_a_choice(sides: tuple[Any]) -> None:
    chosen, rejected = ([ASKED, side] for side in sides)
    rows, problems = read("auto", [{"chosen": chosen, "rejected": rejected}])
    assert problems == []
    assert rows["rank"].to_list() == [None, 0, 1]
    assert rows.select(pl.struct("reasoning", "tool_calls").n_unique()).item() == 3


def test_a_turn_with_another_thought_is_no_common_prompt() -> None:
    more = [{"role": "user", "content": "r"}, BAD]
    sides = {"chosen": [ASKED, _thinking("so"), *more], "rejected": [ASKED, _thinking("or"), *more]}
    rows, problems = read("auto", [sides])
    assert problems == []
    assert rows.filter(role="assistant")["reasoning"].to_list() == ["so", None, "or", None]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "that all say the same"),
        (
            {"prompt": "q", "chosen": [_calling(1)], "rejected": [_calling(1, "c2")]},
            "that all say the same",
        ),
        ({"prompt": "p", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, "do not begin with"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "no prompt"),
        ({"messages": [ASKED], "rejected_response": "a"}, "'messages' that end without an answer"),
        ({"messages": [ASKED, GOOD], "rejected_response": "good"}, "that all say the same"),
        ({"messages": [ASKED, GOOD], "rejected_messages": [BAD]}, "no prompt"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "images": ["x"]}, "not text"),
    ],
)
def test_a_record_without_a_choice_is_refused(record: dict[str, Any], words: str) -> None:
    rows, problems = read("auto", [record])
    assert rows.is_empty()
    assert [problem.reason for problem in problems] == ["preference"]
    assert words in problems[0].detail


def test_of_an_answer_of_several_turns_nobody_says_which_is_meant() -> None:
    longer = [ASKED, GOOD, {"role": "user", "content": "r"}, {**GOOD, "content": "better"}]
    rows, _ = read("auto", [{"chosen": longer, "rejected": [ASKED, BAD]}])
    assert rows["rank"].null_count() == rows.height - 1
    assert linearize(rows).messages["content"].to_list() == ["q", "good", "r", "better"]


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


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": ""}, "nothing stands under 'rejected'"),
        ({"trajectory": [ASKED], "chosen": "a", "rejected": "b"}, "is not what the shape has"),
    ],
)
def test_a_file_of_choices_in_no_known_shape_is_not_sent_to_the_source_that_refuses_it(
    record: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError) as caught:
        read("auto", [record])
    assert words in str(caught.value)
    assert "write the answers to choose from as docs/formats.md has them" in str(caught.value)
    assert "`auto`" not in str(caught.value)
