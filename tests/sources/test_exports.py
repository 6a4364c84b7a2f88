"""Exports of accounts are trees: what a person saw, in the branches in which it was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import sources
from chatdata.sources import File
from chatdata.steps import filtering, filters, threads, trees

CHATGPT: dict[str, Any] = {
    "conversation_id": "c",
    "current_node": "final",
    "mapping": {
        "client-created-root": {"message": None, "parent": None},
        "hidden": {"author": "system", "parts": [""], "parent": "client-created-root"},
        "about": {
            "author": "user",
            "content": {
                "content_type": "user_editable_context",
                "user_profile": "I keep bees.",
                "user_instructions": "Be brief.",
            },
            "parent": "hidden",
        },
        "asked": {"author": "user", "parts": ["How many bees?"], "parent": "about"},
        "first": {"author": "assistant", "parts": ["Many."], "parent": "asked"},
        "thought": {
            "author": "assistant",
            "content": {
                "content_type": "thoughts",
                "thoughts": [{"summary": "Counting", "content": "A hive has thousands."}],
            },
            "parent": "asked",
        },
        "recap": {
            "author": "assistant",
            "content": {"content_type": "reasoning_recap", "content": "Thought for 2s"},
            "parent": "thought",
        },
        "intro": {"author": "assistant", "parts": ["Let me count."], "parent": "recap"},
        "call": {
            "author": "assistant",
            "content": {"content_type": "code", "language": "python", "text": "print(2 * 30000)"},
            "recipient": "python",
            "parent": "intro",
        },
        "ran": {
            "author": "tool",
            "name": "python",
            "content": {"content_type": "execution_output", "text": "60000"},
            "parent": "call",
        },
        "final": {"author": "assistant", "parts": ["About 60,000."], "parent": "ran"},
        "edited": {"author": "user", "parts": ["How many wasps?"], "parent": "about"},
        "wasps": {"author": "assistant", "parts": ["Fewer."], "parent": "edited"},
    },
}


def export(nodes: dict[str, Any]) -> dict[str, Any]:
    return {
        id: {"id": id, "parent": node["parent"], "message": message(id, node)}
        for id, node in nodes.items()
    }


def message(id: str, node: dict[str, Any]) -> dict[str, Any] | None:
    if "author" not in node:
        return None
    content = node.get("content") or {"content_type": "text", "parts": node["parts"]}
    author = {"role": node["author"], "name": node.get("name")}
    return {
        "id": id,
        "author": author,
        "content": content,
        "recipient": node.get("recipient", "all"),
    }


def rows(folder: Path, *records: Any) -> pl.DataFrame:
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    read = sources.get("auto").read([File(path, "a.jsonl")], "auto", "auto")
    return pl.concat([batch.rows for batch in read])


def paths(nodes: pl.DataFrame, **options: Any) -> dict[str, list[Any]]:
    """The (role, reasoning, words, calls) of conversations, by the id of their last message."""
    marked = filtering.mark(nodes, filters.always())
    messages = trees.linearize(marked, threads.Threads(**options)).messages
    spoken: dict[str, list[Any]] = {}
    for id, *turn in messages.select(
        "conversation", "role", "reasoning", "content", "tool_calls"
    ).iter_rows():
        spoken.setdefault(id.rpartition("/")[2], []).append(tuple(turn))
    return spoken


@pytest.fixture
def chatgpt(tmp_path: Path) -> pl.DataFrame:
    return rows(tmp_path, {**CHATGPT, "mapping": export(CHATGPT["mapping"])})


ABOUT = ("system", None, "I keep bees.\n\nBe brief.", None)
ASKED = ("user", None, "How many bees?", None)


def test_every_branch_of_chatgpt_is_a_conversation(chatgpt: pl.DataFrame) -> None:
    spoken = paths(chatgpt)
    assert set(spoken) == {"first", "final", "wasps"}
    assert spoken["first"] == [ABOUT, ASKED, ("assistant", None, "Many.", None)]
    assert spoken["wasps"][1:] == [
        ("user", None, "How many wasps?", None),
        ("assistant", None, "Fewer.", None),
    ]


def test_thoughts_words_and_the_call_behind_them_are_a_message(chatgpt: pl.DataFrame) -> None:
    *_, called, ran, final = paths(chatgpt)["final"]
    role, thought, words, calls = called
    assert (role, thought, words) == ("assistant", "A hive has thousands.", "Let me count.")
    function = json.loads(calls)[0]["function"]
    assert function == {"name": "python", "arguments": {"code": "print(2 * 30000)"}}
    assert ran == ("tool", None, "60000", None)
    assert final == ("assistant", None, "About 60,000.", None)


def test_the_best_rank_is_the_path_on_which_a_person_stayed(chatgpt: pl.DataFrame) -> None:
    assert set(paths(chatgpt, policy="best_rank")) == {"final"}
    ranks = dict(chatgpt.select("message", "rank").iter_rows())
    assert {id for id, rank in ranks.items() if rank is not None} == {"asked", "call"}


def test_what_is_no_text_is_refused_with_what_follows_it(tmp_path: Path) -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    nodes: dict[str, Any] = {
        "asked": {
            "author": "user",
            "content": {"content_type": "multimodal_text", "parts": [image, "What is this?"]},
            "parent": None,
        },
        "told": {"author": "assistant", "parts": ["A bee."], "parent": "asked"},
        "odd": {"author": "assistant", "content": {"content_type": "hologram"}, "parent": None},
    }
    nodes_read = rows(tmp_path, {"id": "c", "mapping": export(nodes)})
    notes = dict(nodes_read.select("message", "note").iter_rows())
    assert notes["asked"] == "a part of type 'image_asset_pointer' is no text"
    assert notes["odd"] == "content of type 'hologram' cannot be carried as text"
    assert paths(nodes_read) == {}


def test_a_ring_and_an_unknown_parent_stay_what_they_are(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "a": {"author": "user", "parts": ["A"], "parent": "b"},
        "b": {"author": "assistant", "parts": ["B"], "parent": "a"},
        "c": {"author": "user", "parts": ["C"], "parent": "lost"},
        "s": {"parent": "t"},
        "t": {"parent": "s"},
        "d": {"author": "user", "parts": ["D"], "parent": "s"},
    }
    nodes_read = rows(tmp_path, {"id": "c", "mapping": export(nodes)})
    marked = filtering.mark(nodes_read, filters.always())
    outcomes = trees.linearize(marked, threads.Threads()).outcomes
    reasons = dict(outcomes.filter(pl.col("unit") == "message").select("id", "reason").iter_rows())
    assert reasons["a"] == reasons["b"] == "cycle"
    assert reasons["c"] == reasons["d"] == "rootless"


NONE = "00000000-0000-4000-8000-000000000000"


def claude(id: str, parent: str | None, sender: str, *blocks: Any, **more: Any) -> dict[str, Any]:
    content = [b if isinstance(b, dict) else {"type": "text", "text": b} for b in blocks]
    return {"uuid": id, "parent_message_uuid": parent, "sender": sender, "content": content, **more}


def test_claude_blocks_become_messages_in_their_order(tmp_path: Path) -> None:
    record = {
        "uuid": "u",
        "chat_messages": [
            claude("1", NONE, "human", "How cold is it?"),
            claude(
                "2",
                "1",
                "assistant",
                {"type": "thinking", "thinking": "I should look."},
                "I look.",
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "-3"}],
                },
                "Three below.",
            ),
            claude("3", "1", "assistant", "Very."),
        ],
    }
    spoken = paths(rows(tmp_path, record))
    assert set(spoken) == {"2", "3"}
    asked, called, result, told = spoken["2"]
    assert called[:3] == ("assistant", "I should look.", "I look.")
    assert json.loads(called[3])[0]["function"]["arguments"] == {"city": "Oslo"}
    assert (result[0], result[2]) == ("tool", "-3")
    assert told == ("assistant", None, "Three below.", None)
    assert spoken["3"] == [asked, ("assistant", None, "Very.", None)]


@pytest.mark.parametrize("key", ["attachments", "files"])
def test_what_was_attached_is_refused_by_name(tmp_path: Path, key: str) -> None:
    record = {"chat_messages": [claude("1", NONE, "human", "a", **{key: [{"file_name": "b"}]})]}
    assert rows(tmp_path, record)["note"].to_list() == [f"'{key}' cannot be carried as text"]


def test_librechat_nested_or_flat_is_the_same_tree(tmp_path: Path) -> None:
    def message_of(id: str, parent: str, is_user: bool, **more: Any) -> dict[str, Any]:
        return {"messageId": id, "parentMessageId": parent, "isCreatedByUser": is_user, **more}

    think = [{"type": "think", "think": "Hm."}, {"type": "text", "text": "Two."}]
    root = message_of("a", "00000000-0000-0000-0000-000000000000", True, text="How many?")
    replies = [
        message_of("b", "a", False, text="", content=think),
        message_of("c", "a", False, text="Three."),
    ]
    flat = rows(tmp_path, {"conversationId": "x", "messages": [root, *replies]})
    nested = {"conversationId": "x", "recursive": True, "messages": [{**root, "children": replies}]}
    assert rows(tmp_path, nested).equals(flat)
    assert paths(flat)["b"][1] == ("assistant", "Hm.", "Two.", None)


def test_the_thought_of_open_webui_is_reasoning_and_other_details_are_refused(
    tmp_path: Path,
) -> None:
    details = '<details type="reasoning" done="true" duration="2">'
    thought = f"{details}\n<summary>Thought</summary>\n> Hm.\n> So.\n</details>\n"
    called = '<details type="tool_calls" done="true">\n<summary>Called</summary>\n</details>\n'
    messages = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "How many?"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": f"{thought}Two."},
        "c": {"id": "c", "parentId": "a", "role": "assistant", "content": f"{called}Three."},
    }
    record = {"id": "w", "chat": {"history": {"currentId": "b", "messages": messages}}}
    nodes = rows(tmp_path, record)
    assert paths(nodes)["b"][1] == ("assistant", "Hm.\nSo.", "Two.", None)
    assert "(<details>)" in dict(nodes.select("message", "note").iter_rows())["c"]


def test_swipes_are_other_answers(tmp_path: Path) -> None:
    lines = [
        {"user_name": "Ann", "character_name": "Bot"},
        {"name": "Ann", "is_user": True, "mes": "How many?"},
        {"name": "Bot", "is_user": False, "mes": "Two.", "swipes": ["Three.", "Two."]},
        {"name": "Bot", "is_user": False, "is_system": True, "mes": "A note of the interface."},
        {"name": "Ann", "is_user": True, "mes": "Sure?"},
        {"name": "Bot", "is_user": False, "mes": "Yes."},
    ]
    nodes = rows(tmp_path, *lines)
    words = [[turn[2] for turn in turns] for turns in paths(nodes).values()]
    assert sorted(words) == [["How many?", "Three."], ["How many?", "Two.", "Sure?", "Yes."]]
    best = [[turn[2] for turn in turns] for turns in paths(nodes, policy="best_rank").values()]
    assert best == [["How many?", "Two.", "Sure?", "Yes."]]
