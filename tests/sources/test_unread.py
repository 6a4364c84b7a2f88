"""Keys that no source looks at: each is counted once, and no key that was read is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.sources.unread import MORE, UNNAMED, KeysByUnit, Unread, UnreadKeys
from tests.support.reading import unread, unread_in

ASKED = {"role": "user", "content": "a"}
ANSWERED = {"role": "assistant", "content": "b"}
PAIRS = [
    {"prompt": "a", "completion": "b"},
    {"instruction": "a", "response": "b"},
    {"instruction": "a", "output": "b"},
]


def of_messages(source: str, messages: list[Any], record: dict[str, Any]) -> dict[str, Any]:
    """A record with messages, in the plainest form of a source."""
    if source == "jsonl":
        return {"messages": [{**ASKED, **messages[0]}, {**ANSWERED, **messages[1]}], **record}
    if source == "sharegpt":
        turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
        both = zip(turns, messages, strict=True)
        return {"conversations": [{**turn, **more} for turn, more in both], **record}
    root = {"message_id": "r", "role": "prompter", "text": "a", **messages[0]}
    reply = {"message_id": "s", "parent_id": "r", "role": "assistant", "text": "b", **messages[1]}
    return {"message_tree_id": "r", "prompt": {**root, "replies": [reply]}, **record}


# Names that no source knows; a null holds nothing.
extra = st.dictionaries(
    st.sampled_from([f"extra_{letter}" for letter in "abcdef"]),
    st.sampled_from([0, False, "", "text", [], {"role": "user"}, None]),
    max_size=3,
)
extras = st.lists(st.tuples(extra, extra, extra), min_size=1, max_size=6)


def counted(values: list[dict[str, Any]]) -> dict[str, int]:
    given = Counter(key for value in values for key, item in value.items() if item is not None)
    return dict(given)


@given(extras, st.sampled_from(["jsonl", "sharegpt", "oasst"]))
def test_each_key_is_counted_once_where_it_stands(added: list[Any], source: str) -> None:
    records = [of_messages(source, [first, last], record) for record, first, last in added]
    counts = unread(source, *records)
    assert counts.get("records", {}) == counted([record for record, _, _ in added])
    assert counts.get("messages", {}) == counted([more for _, *both in added for more in both])


@given(extras, st.sampled_from(PAIRS))
def test_each_key_beside_an_instruction_is_counted(added: list[Any], pair: Any) -> None:
    counts = unread("jsonl", *({**pair, **record} for record, _, _ in added))
    assert counts.get("records", {}) == counted([record for record, _, _ in added])


@given(st.lists(extra, min_size=1, max_size=5))
def test_flat_messages_of_trees_are_counted_as_messages(added: list[Any]) -> None:
    flat = [{"message_id": f"m{at}", "role": "prompter"} | more for at, more in enumerate(added)]
    expected = counted(added)
    assert unread("oasst", *flat) == ({"messages": expected} if expected else {})


READ = [
    ("jsonl", {"messages": [ASKED, ANSWERED], "system": "S", "tools": [{"name": "f"}]}),
    ("jsonl", {"messages": [ASKED, {**ANSWERED, "weight": 1, "reasoning": "Hm."}], "id": "x"}),
    ("jsonl", {"messages": json.dumps([ASKED, ANSWERED]), "system_prompt": "S"}),
    ("jsonl", {"id": "a/b", "group": "g", "source": "s", "messages": [ASKED, ANSWERED]}),
    ("jsonl", [ASKED, ANSWERED]),
    ("jsonl", {"prompt": [ASKED], "completion": [ANSWERED], "label": True}),
    ("jsonl", {"instruction": "a", "content": "c", "output": "b", "history": [["q", "r"]]}),
    ("jsonl", {"messages": [{**ASKED, "channel": "final", "recipient": "all"}, ANSWERED]}),
    ("sharegpt", {"conversation": [{"human": "a", "assistant": "b"}], "conversation_id": 3}),
    ("sharegpt", {"items": [{"from": "human", "value": "a", "role": None}], "system": "S"}),
    ("oasst", {"thread": [{"message_id": "r", "role": "prompter", "text": "a"}]}),
]


@pytest.mark.parametrize(("source", "record"), READ)
def test_what_is_read_is_not_counted(source: str, record: Any) -> None:
    assert unread(source, record) == {}


NOT_READ: list[tuple[str, Any, KeysByUnit]] = [
    # what stands beside the messages of another shape
    ("jsonl", {"messages": [ASKED], "instruction": "a", "output": "b"}, {"records": 2}),
    ("jsonl", {"prompt": "a", "completion": "b", "response": "c"}, {"records": 1}),
    ("jsonl", {"instruction": "a", "context": "c", "input": "d", "output": "b"}, {"records": 1}),
    ("sharegpt", {"conversations": [], "items": [ASKED]}, {"records": 1}),
    ("jsonl", {"messages": [ASKED], "source": "web"}, {"records": 1}),  # is no published row
    ("jsonl", {"messages": [{**ASKED, "recipient": "all"}]}, {"messages": 1}),  # no channel
    ("jsonl", {"messages": [json.dumps({**ASKED, "x": 1})]}, {"messages": 1}),
    ("jsonl", {"prompt": [{**ASKED, "x": 1}], "completion": [ANSWERED]}, {"messages": 1}),
    ("jsonl", {"messages": [ASKED], "history": [{**ASKED, "x": 1}]}, {"messages": 1}),
    ("sharegpt", {"conversations": [{"from": "human", "value": "a", "human": 1}]}, {"messages": 1}),
    ("oasst", {"thread": [{"message_id": "r", "replies": [{}]}]}, {"messages": 1}),
    ("oasst", {"thread": [{"message_id": "r"}], "thread_id": "s"}, {"records": 1}),
    ("oasst", {"prompt": {"message_id": "r"}, "replies": [{}]}, {"records": 1}),
]


@pytest.mark.parametrize(("source", "record", "expected"), NOT_READ)
def test_what_a_shape_has_no_place_for_is_counted(
    source: str, record: Any, expected: dict[str, int]
) -> None:
    counts = unread(source, record)
    assert {unit: sum(keys.values()) for unit, keys in counts.items()} == expected


def test_columns_of_a_table_are_counted_where_they_hold_something() -> None:
    rows = [{"prompt": "a", "completion": "b", "score": score} for score in (1, None, 3)]
    assert unread("jsonl", *rows, suffix=".parquet") == {"records": {"score": 2}}


def test_a_text_is_no_name_and_names_have_an_end() -> None:
    """Keys are published; whoever uses ids or sentences as keys fills no manifest with them."""
    keys = UnreadKeys()
    keys.add([Unread("a:1", "records", ("Ann Lee", "ann@example.com", "score"))])
    keys.add(Unread(f"a:{at}", "messages", (f"id{at:04}",)) for at in range(2, 302))
    counts = keys.counts()
    assert counts["records"] == {UNNAMED: 1, "score": 1}
    assert counts["messages"][MORE] == 200
    assert sum(counts["messages"].values()) == 300
    assert keys.first("records", "score") == "a:1"
    assert keys.first("messages", MORE) == "a:102"


@pytest.mark.parametrize("source", ["jsonl", "auto"])
def test_keys_of_an_object_around_a_list_are_counted(source: str, tmp_path: Path) -> None:
    """The list itself is read, and so is all of it."""
    rows = [of_messages("jsonl", [{}, {}], {"id": name}) for name in "ab"]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"version": 1, "system": "Be short.", "data": rows}))
    assert unread_in(source, path) == {"objects": {"system": 1, "version": 1}}
