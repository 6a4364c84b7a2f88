"""Filters: for each a row that goes, a row that stays, and the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.sources import File
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.filtering import Column, Drop, add_columns, define, mark, prepare_columns
from chatdata.steps.filters import FILTERS
from tests.support.conversations import nodes, table

SENTENCES = " ".join(f"This is sentence {i} of {i * i}, and it says {i % 7}." for i in range(60))


def answers(*contents: str | None) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": content} for content in contents]


MESSAGE_CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    # filter: options, messages that it removes, messages that it leaves
    "bad_content": ({}, [{"content": None}], [{"content": ""}, {"content": "a"}]),
    "unknown_role": ({}, [{"role": None}], [{"role": "system"}, {"role": "tool"}]),
    "matches": (
        {"pattern": r"\bas an ai\b", "role": "user"},
        [{"content": "as an ai, no", "role": "user"}],
        [{"content": "as an aim", "role": "user"}, {"content": "as an ai", "role": "assistant"}],
    ),
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
            {"role": "assistant", "content": "I look.\n<tool_call>\n{}\n</tool_call>"},
            {"role": "user", "content": "<tool_response>\n{}\n</tool_response>"},
            {"role": "system", "content": "Be brief.\n\n<tools>\n[{}]\n</tools>"},
        ],
        [
            {"role": "assistant", "content": "Write <tool_call> before it."},
            {"role": "assistant", "content": "So:\n<tool_call>\n{}\n</tool_call>\nThat is all."},
            {"role": "user", "content": "What is\n<tool_call>\n{}\n</tool_call>"},
            {"role": "user", "content": "<tools>\nhammer\n</tools>"},
            {"role": "system", "content": "You may use <tools>."},
        ],
    ),
    "wrong_language": (
        {"allow": ["en", "pt"]},
        [{"lang": "de"}, {"lang": "zh-cn"}, {"lang": "eng"}, {"lang": "und"}, {"lang": ""}],
        [{"lang": "en"}, {"lang": "EN"}, {"lang": "pt-BR"}, {"lang": "pt"}, {"lang": None}],
    ),
    "refusal": (
        {},
        answers(
            "As an AI language model, I do not have feelings.",
            "Roses are red. But I'm just an AI assistant, so",
            "I’m sorry, but I can’t assist with that.",
            "I apologize for the trouble, but I am unable to browse the internet.",
            "Unfortunately not. I am a large language model, trained by others.",
        ),
        [
            *answers(
                "I'm sorry to hear that. Here is what helps.",
                "An AI language model predicts the next word.",
                "You cannot divide by zero, and I will show you why.",
                "Sorry! The corrected code is below.",
                None,
            ),
            {"role": "user", "content": "As an AI language model, what can you do?"},
        ],
    ),
    "boilerplate_opening": (
        {},
        answers(
            "Certainly! Here is it.",
            "Sure, here is a list",
            "**Of course:**",
            "Great question!",
            "I'd be happy to help you with that. First",
        ),
        [
            *answers(
                "Certain things are so.", "Surely.", "Sure enough it rained.", "No, of course!", ""
            ),
            {"role": "user", "content": "Sure, go on"},
        ],
    ),
    "repetition": (
        {},
        answers("to be or not " * 30, "ha " * 50, "Here it is.\n" + "| O | X " * 60),
        [
            *answers("to be or not " * 12, SENTENCES, "", None),
            {"role": "user", "content": "error at line one\n" * 50},
        ],
    ),
    "truncated": (
        {},
        answers(
            "It ends well. But the second sentence of this answer stops in the",
            "One.\n\nThe list of what is to be done here begins with the first,",
            "Look:\n```python\nprint(1)",
            "A:\n```\na\n```\nand\n~~~ c\nb",
            # Half sentences, short ones too.
            "The first thing that anybody who comes to our harbour sees is the light. At night",
            "A long sentence that says a good deal about the harbour and its light.\n\nIn the",
            "This line of code encodes the",
            "Sure, here is",
            "Sure! Here is the example that you asked for:",
            # Lists and tables.
            "Do this:\n1. Open the box.\n2. Take out the cable.\n3. Put",
            "Do this:\n1. Open the box.\n2.",
            "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |",
            # Blocks of code that a dump has closed.
            "Look:\n```python\ndef double(values):\n    return [2 * value for\n```",
            "Look:\n```js\nconst size = 2;\nfunction area() {\n  return size *\n```",
            "Look:\n```kv\nBox:\n    size: 2\n    Label:\n```",
            "Look:\n```html\n<html>\n<body>\n<p>Hello</p>\n```",
            "Look:\n```python\nimport peewee\nlevel = 3\nname = peew\n```",
            "Look:\n```\n```",
            "Look:\n```python\nsize = 2\ndef main():\n    # Begin at the light\n```",
            "It ends well.\n\n1. Open the box.\n\n2. Take out the cable.\n\n3",
            "The tests of this interface look at each of its functions in order to determine",
            # Marks that nothing closes, and the first item of a list alone.
            "It ends well. To begin with, pass the name of the harbour to `",
            "It ends well.\n\n* On lights of harbours [[1](<https://harbours.example/li>",
            "It ends well (see <https://harbours.example/li>",
            "It ends well.\n\n[The boat",
            "<Boats>\n <Boat>\n </Bo",
            "Here is what you can do about it:\n1. Look at the light",
            "| a | b |\n|---|---|\n| 1 | 2 |\n| The light of it is on for the | |",
            # More code.
            "Look:\n```text\nharbour/\n├── light\n├─\n```",
            "Look:\n```html\n<table>\n  <tr>\n    <th>Boat</th>\n```",
            "Look:\n```python\nimport pandas as pd\nboats = pd\n```",
            "Look:\n```python\nsail(boat)\n\n# Close\n```",
        ),
        [
            *answers(
                "It ends well. And so does the second sentence of this answer, as it must.",
                "It ends well. Here is the list that you asked for:\n\n- milk and honey and bread",
                "Paris",
                "Dear Ms Roe. Thank you.\n\nYours sincerely,\nJohn",
                "Look:\n```python\nprint(1)\n```",
                "We sail at nine. Come and join us at the harbour for a day! #sailing #summer",
                "A line of verse that ends as verses do\nand not as a sentence has to end",
                "It ends well. The answer to your question is as follows: | a table | b |",
                "To help you I need to know more. Please tell me the following:",
                "The plan follows.\n\n1. Milk\n2. Bread\n3. Honey",
                "Do this:\n1. Open the box.\n2. Take out the cable.\n3. Plug it in.",
                "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
                "Look:\n```python\ndef double(x):\n    return [2 * y for y in x]\n```",
                "Look:\n```sh\nif true; then\n  echo yes\nfi\n```",
                "It says:\n```\nThe light of it is on.\nThe boat may (or may not sail.\n```",
                "Name:\nAddress:\nPhone:",
                "A long story about a harbour, its light and all of its boats.\n\nThe end",
                "My sixth guess is:\n1. harbour",
                'How about this title:\n1. "The light of the harbour"',
                "The light is on, the boat is in (and [here](https://harbours.example) it is)",
                "<Boats>\n <Boat/>\n</Boats>",
                "Call `sail()` of the `Boat`",
                "**Boats of the harbour**",
                "| a | b |\n|---|---|\n| 1 | |\n| The light of it is on | |",
                "Look:\n```text\nharbour/\n├── light\n└── boat\n```",
                "Look:\n```html\n<tr>\n  <th>Boat</th>\n</tr>\n```",
                "Look:\n```python\nsail(boat)\n# The boat is at sea\n```",
            ),
            {"role": "user", "content": "It ends well. But the second sentence stops in the"},
        ],
    ),
    "url_only": (
        {},
        [
            {"content": "https://a.example/b?c=d"},
            {"content": " <https://a.example>\n- www.b.example "},
        ],
        [{"content": "See https://a.example"}, {"content": ""}, {"content": "http"}],
    ),
}
# What they go by is made by a step; their cases are in test_redact and test_contamination.
LOOKED_INTO = {"secret", "contaminated", "labels"}

CONVERSATION_CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    # filter: options, conversations that it removes (a letter a turn), those that it leaves
    "not_alternating": ({}, ["uu", "uaa", "au", "usa", "uas", "ssua"], ["ua", "u", "suaua", "s"]),
    "no_assistant": ({}, ["u", "su", "s"], ["ua", "a"]),
    "too_few_turns": ({"below": 3}, ["ua", "sua", "u"], ["uau", "suau"]),
    "too_many_turns": ({"above": 2}, ["uau", "suau"], ["ua", "sua"]),
    "too_many_characters": ({"above": 3}, ["uaua", "suau"], ["uau", "ua", "s"]),
}
ROLES = {"u": "user", "a": "assistant", "s": "system"}


def test_every_filter_has_a_case_and_a_line_about_it() -> None:
    corpus = {name for name, filter_ in FILTERS.items() if filter_.unit == "corpus"}
    assert set(FILTERS) == set(MESSAGE_CASES) | set(CONVERSATION_CASES) | corpus | LOOKED_INTO
    assert all(filter_.about.endswith(".") for filter_ in FILTERS.values())


@pytest.mark.parametrize("name", MESSAGE_CASES)
def test_a_message_filter_removes_what_it_is_named_for(name: str) -> None:
    options, removed, left = MESSAGE_CASES[name]
    rows = nodes(
        [{"message": str(i), "content": "a", **row} for i, row in enumerate([*removed, *left])]
    )
    hit = rows.select(Drop(FILTERS[name], options, "cut").expression()).to_series().to_list()
    assert hit == [True] * len(removed) + [False] * len(left)


@pytest.mark.parametrize("name", CONVERSATION_CASES)
def test_a_conversation_filter_removes_what_it_is_named_for(name: str) -> None:
    options, removed, left = CONVERSATION_CASES[name]
    conversations = {
        turns: [(ROLES[letter], "t") for letter in turns] for turns in [*removed, *left]
    }
    rows = table(conversations)
    hit = rows.filter(Drop(FILTERS[name], options, "drop").expression())
    assert set(hit["conversation"]) == set(removed)
    assert hit.height == sum(len(turns) for turns in removed)  # whole conversations


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ([("user", "a  b")], [("user", "a\n\tb ")], True),
        ([("user", "a b")], [("user", "ab")], False),
        ([("user", "a")], [("assistant", "a")], False),
        ([("user", "a"), ("assistant", "b")], [("user", "a\nassistant\tb")], True),
    ],
)
def test_duplicate_compares_roles_and_folded_content(left: Any, right: Any, same: bool) -> None:
    drop = Drop(FILTERS["duplicate"], {}, "drop")
    rows, _ = add_columns(table({"x": left, "y": right}), [drop], Path())
    keys = rows.group_by("conversation", maintain_order=True).agg(
        key=drop.filter.expression().first()
    )
    assert (keys["key"].n_unique() == 1) == (same and len(left) == len(right))


def test_the_first_filter_that_hits_is_the_reason() -> None:
    rows = nodes([{"message": "m", "content": "", "deleted": True, "lang": "de"}])
    drops = [Drop(FILTERS[name], {}, "cut") for name in ("empty", "deleted", "wrong_language")]
    for order in (drops, drops[::-1]):
        marked = mark(rows, order)
        assert marked["removed_by"].to_list() == [order[0].filter.name]


def test_a_filter_that_looks_into_texts_says_why() -> None:
    rows = nodes([{"message": "m"}, {"message": "n"}]).with_columns(
        secret=pl.Series(["email at character 3", None]), overlap=pl.Series([None, "a set"])
    )
    drops = [
        Drop(FILTERS["secret"], {}, "cut"),
        Drop(FILTERS["contaminated"], {"against": ["x"]}, "drop"),
    ]
    marked = mark(rows, drops)
    assert marked.select("removed_by", "on_removed", "why").rows() == [
        ("secret", "cut", "email at character 3"),
        ("contaminated", "drop", "a set"),
    ]


def test_untrain_leaves_the_message_as_context() -> None:
    rows = nodes([{"message": "m", "role": "assistant", "deleted": True}])
    marked = mark(rows, [Drop(FILTERS["deleted"], {}, "untrain")])
    assert marked.select("train", "removed_by").rows() == [(False, None)]


def test_an_empty_system_message_goes_alone_and_no_other() -> None:
    turns = [("system", " "), ("user", "a"), ("assistant", "")]
    for on_removed, expected in (("cut", ["skip", None, "cut"]), ("drop", ["drop", None, "drop"])):
        drop = Drop(FILTERS["empty"], {}, on_removed)  # type: ignore[arg-type]
        assert mark(table({"x": turns}), [drop])["on_removed"].to_list() == expected


def test_a_filter_for_columns_that_a_source_lacks_leaves_it_alone() -> None:
    rows = table({"x": [("user", "a")]})
    marked = mark(rows, [Drop(FILTERS["deleted"], {}, "cut")])
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


# ------------------------------------------------------------------------------- made columns


@dataclass(frozen=True)
class Swearing:
    """Figures of a filter that is not ours: how many words are listed, how often they were met."""

    listed: int
    met: int

    def __add__(self, more: Swearing) -> Swearing:
        return Swearing(self.listed + more.listed, self.met + more.met)

    def entry(self) -> dict[str, int]:
        return {"listed": self.listed, "met": self.met}


def list_words(options: Mapping[str, Any], files: Any, folder: Path) -> Swearing:
    words = [word for file in files["words"] for word in file.path.read_text().split()]
    (folder / "words.txt").write_text("\n".join(words))
    return Swearing(len(words), 0)


def count_words(
    messages: pl.DataFrame, options: Mapping[str, Any], folder: Path
) -> tuple[pl.DataFrame, Swearing]:
    words = "|".join((folder / "words.txt").read_text().split())
    messages = messages.with_columns(swearing=pl.col("content").str.count_matches(words))
    return messages, Swearing(0, int(messages["swearing"].sum()))


def swears(words: list[str], above: int = 0) -> pl.Expr:
    """Messages that swear."""
    return pl.col("swearing") > above


SWEARS = define(
    "message",
    swears,
    column=Column("swearing", count_words, list_words),
    key="swearing",
    files=["words"],
)


def test_a_filter_has_its_column_made_and_its_figures_added_up(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("darn heck")
    drop = Drop(SWEARS, {"words": ["words.txt"]}, "cut")
    files = {"swears": {"words": [File(tmp_path / name, name) for name in drop.files()["words"]]}}
    figures = prepare_columns([drop], files, tmp_path / "columns")
    for content, removed_by in (("darn darn", "swears"), ("a", None)):
        rows = nodes([{"message": "m", "content": content}])
        assert mark(rows, [drop])["removed_by"].to_list() == [None]  # not made: left alone
        rows, more = add_columns(rows, [drop], tmp_path / "columns")
        assert mark(rows, [drop])["removed_by"].to_list() == [removed_by]
        figures += more
    assert figures.entry("swearing") == {"listed": 2, "met": 2}
    assert figures.entry("secrets") is None


def test_a_column_is_made_once_for_the_first_filter_that_declares_it(tmp_path: Path) -> None:
    drops = [
        Drop(FILTERS["secret"], {"kinds": kinds, "countries": None}, "cut")
        for kinds in (["email"], ["phone"])
    ]
    figures = prepare_columns(drops, {}, tmp_path)
    rows = nodes([{"message": "m", "content": "Write to jane.doe@gmail.com or +44 20 7946 0958"}])
    labelled, more = add_columns(rows, drops, tmp_path)
    assert labelled["secret"].to_list() == ["email at character 9"]
    assert list((figures + more).entry("secrets")) == ["email"]


def test_figures_without_a_key_are_nobodys(tmp_path: Path) -> None:
    drop = Drop(define("message", swears, column=SWEARS.column), {"words": []}, "cut")
    figures = prepare_columns([drop], {"swears": {"words": []}}, tmp_path)
    assert figures == FiguresByKey()
