"""What stands beside the messages of a record: carried where its meaning is plain, else counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.reading import read, unread

ASKED = {"role": "user", "content": "What is it about?"}
ANSWERED = {"role": "assistant", "content": "A river."}
SYSTEM = {"role": "system", "content": "Be kind."}
PASSAGE = "The river is long. It has no name."

Rows = list[tuple[Any, ...]]


def spoken(source: str, record: dict[str, Any]) -> Rows:
    rows, problems = read(source, [record])
    assert problems == []
    return rows.select("role", "content").rows()


CARRIED: list[tuple[dict[str, Any], Rows]] = [
    (
        {"messages": [ASKED, ANSWERED], "system_prompt": "Answer briefly."},
        [
            ("system", "Answer briefly."),
            ("user", "What is it about?"),
            ("assistant", "A river."),
        ],
    ),
    (
        {"messages": [ASKED, ANSWERED], "context": PASSAGE},
        [("user", f"What is it about?\n\n{PASSAGE}"), ("assistant", "A river.")],
    ),
    (
        {"messages": [SYSTEM, ASKED, ANSWERED, ASKED], "input": PASSAGE},
        [
            ("system", "Be kind."),
            ("user", f"What is it about?\n\n{PASSAGE}"),
            ("assistant", "A river."),
            ("user", "What is it about?"),
        ],
    ),
    (
        {"messages": [SYSTEM, ASKED, ANSWERED], "history": [["Hello.", "Hello!"]]},
        [
            ("system", "Be kind."),
            ("user", "Hello."),
            ("assistant", "Hello!"),
            ("user", "What is it about?"),
            ("assistant", "A river."),
        ],
    ),
    (
        {"messages": [ASKED, ANSWERED], "history": [ASKED, ANSWERED], "system_prompt": "S"},
        [("system", "S"), ("user", "What is it about?"), ("assistant", "A river.")],
    ),
]


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize(("record", "expected"), CARRIED)
def test_what_has_a_plain_meaning_is_carried(
    source: str, record: dict[str, Any], expected: Rows
) -> None:
    assert spoken(source, record) == expected
    assert unread(source, record) == {}


REPEATED: list[dict[str, Any]] = [
    {"messages": [SYSTEM, ASKED], "system_prompt": "Be kind."},
    {"messages": [SYSTEM, ASKED], "context": "it about"},
    {"messages": [SYSTEM, ASKED], "system_prompt": "", "context": None, "history": []},
]


@pytest.mark.parametrize("record", REPEATED)
def test_what_the_messages_say_already_is_not_said_again(record: dict[str, Any]) -> None:
    for source in ("jsonl", "sharegpt"):
        assert spoken(source, record) == [("system", "Be kind."), ("user", "What is it about?")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system_prompt", "Be brief."),  # the messages have another
        ("context", "customer-support"),  # a label
        ("context", [PASSAGE]),
        ("context", {"topic": "rivers"}),
        ("input", "User: What is it about?\nAssistant:"),  # tells the messages again
        ("history", ["Hello."]),
        ("history", [["Hello."]]),
        ("history", [["Hello.", None]]),
        ("history", {"version": 3}),
    ],
)
def test_what_has_no_plain_meaning_is_counted(key: str, value: Any) -> None:
    record = {"messages": [SYSTEM, ASKED], key: value}
    for source in ("jsonl", "sharegpt"):
        assert spoken(source, record) == [("system", "Be kind."), ("user", "What is it about?")]
        assert unread(source, record) == {"records": {key: 1}}


def test_of_two_contexts_the_first_is_carried() -> None:
    record = {"messages": [ASKED], "context": PASSAGE, "input": "It is cold."}
    assert spoken("jsonl", record) == [("user", f"What is it about?\n\n{PASSAGE}")]
    assert unread("jsonl", record) == {"records": {"input": 1}}


def test_a_developers_message_is_a_system_prompt() -> None:
    record = {"messages": [{"role": "developer", "content": "D"}, ASKED], "system_prompt": "S"}
    assert spoken("jsonl", record)[0] == ("developer", "D")
    assert unread("jsonl", record) == {"records": {"system_prompt": 1}}


PAIRS = [("prompt", "completion"), ("instruction", "response"), ("instruction", "output")]


@pytest.mark.parametrize("pair", PAIRS)
def test_history_and_content_stand_around_an_instruction(pair: tuple[str, str]) -> None:
    """What was answered before is context: rows that grow by a turn would train it each time."""
    record = dict(zip(pair, ("Explain it.", "It says how long."), strict=True))
    beside = {"content": "The river is long.", "history": [["Hello.", "Hello!"]]}
    rows, _ = read("jsonl", [record | beside | {"system_prompt": "S"}])
    assert rows.select("role", "content", "train").rows() == [
        ("system", "S", False),
        ("user", "Hello.", False),
        ("assistant", "Hello!", False),
        ("user", "Explain it.\n\nThe river is long.", False),
        ("assistant", "It says how long.", True),
    ]


def test_an_instruction_whose_history_cannot_be_read_is_refused() -> None:
    record = {"prompt": "And then?", "completion": "Nothing.", "history": ["Hello."]}
    rows, _ = read("jsonl", [record])
    note = "'history' is neither pairs of texts nor messages"
    assert rows.select("content", "note").rows() == [(None, note)] * 2
    assert unread("jsonl", record) == {}


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.lists(st.text(), max_size=4))
def test_no_word_of_a_history_is_lost(history: list[Any], words: list[str]) -> None:
    roles = [("user", "assistant")[at % 2] for at in range(len(words))]
    messages = [{"role": r, "content": text} for r, text in zip(roles, words, strict=True)]
    before = [text for pair in history for text in pair]
    rows, _ = read("jsonl", [{"messages": messages, "history": history}])
    content = rows["content"].to_list()
    assert content in ([*before, *words], words)
    if content == words:
        assert words[: len(before)] == before
