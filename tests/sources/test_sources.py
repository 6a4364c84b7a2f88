"""Sources: every shape met in the wild becomes the same table, and nothing goes unsaid."""

from __future__ import annotations

import gzip
import json
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chatdata import sources
from chatdata.render.control_tokens import CONTENT_TAGS
from chatdata.sources import File, Problem, _message, _tools

TREE = {
    "message_tree_id": "t",
    "tree_state": "ready_for_export",
    "prompt": {
        "message_id": "t",
        "text": "Hi?",
        "role": "prompter",
        "lang": "en",
        "review_result": True,
        "deleted": False,
        "replies": [
            {"message_id": "a", "text": "One", "role": "assistant", "lang": "en", "rank": 0},
            {
                "message_id": "b",
                "text": "Two",
                "role": "assistant",
                "lang": "en",
                "rank": 1,
                "replies": [{"message_id": "c", "text": "And?", "role": "prompter", "lang": "en"}],
            },
        ],
    },
}


def read(
    source: str, *contents: Sequence[Any], suffix: str = ".jsonl"
) -> tuple[pl.DataFrame, list[Problem]]:
    files = []
    folder = Path(tempfile.mkdtemp())
    for number, values in enumerate(contents):
        path = folder / f"{number}{suffix}"
        text = "\n".join(json.dumps(value) for value in values)
        path.write_text(json.dumps(values) if suffix == ".json" else text)
        files.append(File(path, path.name))
    module = sources.get(source)
    batches = list(module.read(files, source, module.IDS))
    problems = [problem for batch in batches for problem in batch.problems]
    return pl.concat([batch.rows for batch in batches]), problems


def flat(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a tree, as the Hub has them."""
    rows, waiting = [], [(tree["prompt"], None)]
    while waiting:
        message, parent = waiting.pop(0)
        own = {key: value for key, value in message.items() if key != "replies"}
        rows.append({**own, "parent_id": parent, "message_tree_id": tree["message_tree_id"]})
        waiting += [(reply, message["message_id"]) for reply in message.get("replies", [])]
    return [{**row, "tree_state": tree["tree_state"]} for row in rows]


@pytest.mark.parametrize("name", sources.names())
def test_every_source_has_a_schema_a_name_and_a_line_about_it(name: str) -> None:
    module = sources.get(name)
    assert module.SCHEMA
    assert module.IDS
    assert module.__doc__.splitlines()[0].endswith(".")


# ------------------------------------------------------------------------------------- oasst


def shapes() -> dict[str, list[Any]]:
    rows = flat(TREE)
    shuffled = random.Random(1).sample(rows, len(rows))
    nulls = [{**row, "rank": row.get("rank"), "model_name": None, "emojis": None} for row in rows]
    parallel = [{**row, "labels": {"name": ["spam"], "value": [0.0], "count": [3]}} for row in rows]
    dicts = [{**row, "labels": {"spam": {"value": 0.0, "count": 3}}} for row in rows]
    treeless = [{k: v for k, v in row.items() if k != "message_tree_id"} for row in rows]
    drafts = [
        {
            **{k: v for k, v in row.items() if k not in ("message_id", "parent_id")},
            "task_message_id": "x",
            "user_message_id": row["message_id"],
            "parent_message_id": row["parent_id"],
        }
        for row in treeless
    ]
    by_id = {row["message_id"]: row for row in rows}
    threads = [
        {"thread_id": "a", "tree_state": "ready_for_export", "thread": [by_id["t"], by_id["a"]]}
    ]
    return {
        "tree": [TREE],
        "nested messages": [{**TREE["prompt"], "tree_state": TREE["tree_state"]}],
        "flat": rows,
        "shuffled": shuffled,
        "nulls": nulls,
        "parallel lists": parallel,
        "dicts": dicts,
        "without tree ids": treeless,
        "shuffled without tree ids": random.Random(2).sample(treeless, len(treeless)),
        "draft names": drafts,
        "floats": [
            {**row, "rank": None if row.get("rank") is None else float(row["rank"])} for row in rows
        ],
        "threads": [*threads, by_id["b"], by_id["c"]],
    }


@pytest.mark.parametrize("shape", shapes())
def test_every_shape_of_a_tree_is_the_same_table(shape: str) -> None:
    expected, _ = read("oasst", [TREE])
    rows, problems = read("oasst", shapes()[shape])
    assert problems == []
    assert_frame_equal(rows.drop("where").sort("message"), expected.drop("where").sort("message"))


def test_a_tree_as_nodes() -> None:
    rows, _ = read("oasst", [TREE])
    assert rows.select("group", "message", "parent", "role", "rank").rows() == [
        ("oasst1/t", "t", None, "user", None),
        ("oasst1/t", "a", "t", "assistant", 0),
        ("oasst1/t", "b", "t", "assistant", 1),
        ("oasst1/t", "c", "b", "user", None),
    ]
    assert set(rows["tree_state"]) == {"ready_for_export"}
    assert rows["where"].to_list() == ["0.jsonl:1"] * 4


def test_parquet_rows_and_gzip(tmp_path: Path) -> None:
    rows = shapes()["parallel lists"]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.jsonl.gz").write_bytes(
        gzip.compress("\n".join(json.dumps(row) for row in rows).encode())
    )
    expected, _ = read("oasst", [TREE])
    for path in sorted(tmp_path.iterdir()):
        batches = list(sources.get("oasst").read([File(path, path.name)], "oasst", "oasst1"))
        own = pl.concat([batch.rows for batch in batches])
        assert_frame_equal(
            own.drop("where").sort("message"), expected.drop("where").sort("message")
        )


def test_what_is_no_message_becomes_a_problem() -> None:
    tree = {
        "message_tree_id": "t",
        "prompt": {
            "message_id": "t",
            "text": 3,
            "role": "prompter",
            "replies": [None, "text", {"text": "no id", "role": "assistant"}, {"message_id": True}],
        },
    }
    rows, problems = read("oasst", [tree, 7, {"other": 1}, [1]])
    assert rows.select("message", "content", "note").rows() == [("t", None, "not text but int")]
    assert sorted(problem.reason for problem in problems) == [
        "bad_message",
        "bad_message",
        "no_id",
        "no_id",
        "unknown_record",
        "unknown_record",
        "unknown_record",
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"rank": "0"},
        {"rank": True},
        {"rank": float("nan")},
        {"lang": 5},
        {"deleted": "yes"},
        {"review_result": "true"},
        {"created_date": "yesterday"},
        {"created_date": {}},
        {"labels": [1]},
        {"replies": "none"},
        {"role": None},
        {"role": "villain"},
        {"parent_id": ""},
        {"message_tree_id": 5},
    ],
)
def test_odd_values_crash_nothing(odd: dict[str, Any]) -> None:
    message = {"message_id": "m", "text": "x", "role": "prompter", **odd}
    rows, _ = read("oasst", [message])
    assert rows["message"].to_list() == ["m"]


def test_a_ring_and_a_self_parent_get_a_tree() -> None:
    ring = [
        {"message_id": "b", "parent_id": "a", "text": "", "role": "prompter"},
        {"message_id": "a", "parent_id": "b", "text": "", "role": "prompter"},
        {"message_id": "s", "parent_id": "s", "text": "", "role": "prompter"},
    ]
    rows, _ = read("oasst", [*ring])
    assert set(rows["group"]) == {"oasst1/a", "oasst1/s"}


# ---------------------------------------------------------------------------------- sharegpt


def turns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"from": role, "value": value} for role, value in pairs]


def test_role_aliases_and_pieces() -> None:
    aliases = [
        "human",
        "user",
        "gpt",
        "chatgpt",
        "bing",
        "bard",
        "assistant",
        "system",
        "GPT",
        "judge",
    ]
    record = {"id": "x_4", "conversations": turns(*((alias, "t") for alias in aliases))}
    rows, problems = read("sharegpt", [record], suffix=".json")
    assert rows["role"].to_list() == [
        *("user",) * 2,
        *("assistant",) * 5,
        "system",
        "assistant",
        None,
    ]
    assert rows["note"].to_list()[-1] == "role 'judge'"
    assert rows.select("conversation", "group", "message").row(0) == (
        "sharegpt/x_4",
        "sharegpt/x",
        "sharegpt/x_4#0",
    )
    assert problems == []


@pytest.mark.parametrize(
    ("id", "group"),
    [
        ("abc_0", "abc"),
        ("abc_17", "abc"),
        ("abc12_3", "abc12"),
        ("a1_2_3", "a1_2"),
        ("12_0", "12"),
        ("abc", "abc"),
        ("abc_x", "abc_x"),
        ("abc12", "abc12"),
    ],
)
def test_pieces_of_one_conversation_share_a_group(id: str, group: str) -> None:
    rows, _ = read("sharegpt", [{"id": id, "conversations": turns(("human", "a"))}])
    assert rows["group"].item() == f"sharegpt/{group}"


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": turns(("human", "a"), ("gpt", "b"))},
        {"conversation": [{"human": "a", "assistant": "b"}]},
        {"items": turns(("human", "a"), ("gpt", "b"))},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"conversations": [*turns(("human", [{"type": "text", "value": "a"}]), ("model", "b"))]},
    ],
)
def test_every_shape_of_a_dump_is_the_same_table(record: dict[str, Any]) -> None:
    rows, problems = read("sharegpt", [{"conversation_id": 7, **record}])
    assert problems == []
    assert rows.select("conversation", "role", "content", "train").rows() == [
        ("sharegpt/7", "user", "a", False),
        ("sharegpt/7", "assistant", "b", True),
    ]


def test_tools_are_carried_as_text() -> None:
    call = '{"name": "weather", "arguments": {"city": "Lisbon"}}'
    record = {
        "id": "x",
        "conversations": turns(
            ("human", "Warm?"), ("function_call", call), ("observation", "19"), ("gpt", "Yes.")
        ),
        "tools": '[{"name": "weather"}]',
    }
    rows, _ = read("sharegpt", [record, {**record, "system": "Be brief.", "id": "y"}])
    assert rows.select("role", "content", "train").rows()[:5] == [
        ("system", '<tools>\n[{"name": "weather"}]\n</tools>', False),
        ("user", "Warm?", False),
        ("assistant", f"<tool_call>\n{call}\n</tool_call>", True),
        ("user", "<tool_response>\n19\n</tool_response>", False),
        ("assistant", "Yes.", True),
    ]
    assert rows["content"][5].startswith("Be brief.\n\n<tools>\n")
    openai = {
        "id": "x",
        "messages": [
            {"role": "user", "content": "Warm?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}},
                ],
            },
            {"role": "tool", "content": "19"},
            {"role": "assistant", "content": "Yes."},
        ],
        "tools": [{"name": "weather"}],
    }
    other, _ = read("jsonl", [openai])
    assert other.select("role", "content").rows() == rows.select("role", "content").rows()[:5]


@pytest.mark.parametrize("tools", [None, "", "[]", [], {}])
def test_no_tools_are_no_turn(tools: Any) -> None:
    record = {"conversations": turns(("human", "a")), "tools": tools}
    assert read("sharegpt", [record])[0].height == 1


def test_tools_that_are_no_text_are_named() -> None:
    rows, _ = read("sharegpt", [{"conversations": turns(("human", "a")), "tools": 3}])
    assert rows.select("role", "note").row(0) == ("system", "tools: not text but int")
    rows, _ = read("sharegpt", [{"conversations": turns(("function_call", {"a": 1}), ("tool", 4))}])
    assert rows["content"].to_list() == ['<tool_call>\n{"a": 1}\n</tool_call>', None]


def test_a_record_without_id_is_named_for_its_content() -> None:
    records = [{"conversations": turns(("human", "a"))}, {"conversations": turns(("human", "b"))}]
    one, _ = read("sharegpt", records)
    other, _ = read("sharegpt", records[::-1])
    assert set(one["conversation"]) == set(other["conversation"])
    assert one["conversation"].n_unique() == 2


def test_values_that_are_no_text_are_named() -> None:
    values = [None, 3, ["a"], {"b": 1}, "\ud800", True]
    record = {"id": "x", "conversations": [*turns(*(("human", v) for v in values)), "turn"]}
    rows, _ = read("sharegpt", [record])
    assert rows["content"].to_list() == [None] * 7
    assert rows["note"].to_list() == [
        "no text",
        "not text but int",
        "not text but list",
        "not text but dict",
        "a lone surrogate (U+D800) at character 0",
        "not text but bool",
        "a str stands where a turn should",
    ]


def test_no_turns_and_a_system_beside_the_turns() -> None:
    records = [
        {"id": "empty", "conversations": []},
        {"id": "s", "system": "Be brief.", "conversations": turns(("human", "a"))},
    ]
    rows, problems = read("sharegpt", records)
    assert [(p.unit, p.id, p.reason) for p in problems] == [
        ("conversation", "sharegpt/empty", "no_turns")
    ]
    assert rows["role"].to_list() == ["system", "user"]


# ------------------------------------------------------------------------------------- jsonl


def test_messages_lists_parts_and_our_own_rows() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, said[1]]
    own = {"id": "sharegpt/x_0", "group": "sharegpt/x", "lang": "en", "messages": said}
    rows, problems = read("jsonl", [{"messages": said}, said, {"messages": parts}, own])
    assert problems == []
    assert rows["content"].to_list() == ["a", "b"] * 4
    assert rows.select("conversation", "group", "lang").rows()[-1] == (
        "jsonl/sharegpt/x_0",
        "sharegpt/x",
        "en",
    )


def test_instructions_with_an_answer() -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    records = [
        {"id": "dolly", "instruction": "Sum up.", "context": "Long.", "response": "Short."},
        {"id": "alpaca", "instruction": "Add.", "input": "", "output": "3"},
        {"id": "pair", "prompt": "q", "completion": "a"},
        {"id": "lists", "prompt": [*said, said[0]], "completion": [said[1]]},
        {"id": "odd", "instruction": "Sum up.", "context": 3, "response": None},
    ]
    rows, problems = read("jsonl", records)
    assert problems == []
    by_id = {
        id: own.select("role", "content", "train", "note").rows()
        for (id,), own in rows.group_by("conversation", maintain_order=True)
    }
    assert by_id["jsonl/dolly"] == [
        ("user", "Sum up.\n\nLong.", False, None),
        ("assistant", "Short.", True, None),
    ]
    assert by_id["jsonl/alpaca"] == [
        ("user", "Add.", False, None),
        ("assistant", "3", True, None),
    ]
    assert [train for *_, train, _ in by_id["jsonl/lists"]] == [False, False, False, True]
    assert by_id["jsonl/odd"] == [
        ("user", None, False, "a context that is not text but int"),
        ("assistant", None, True, "no text"),
    ]


@pytest.mark.parametrize(
    ("message", "note"),
    [
        ({"role": "assistant", "content": "", "tool_calls": [{}]}, "'tool_calls' cannot"),
        (
            {"role": "assistant", "content": "a", "reasoning_content": ["b"]},
            "reasoning: not text but list",
        ),
        ({"role": "assistant", "content": "a", "loss_weight": 0.5}, "loss_weight is 0.5"),
        ({"role": "assistant", "content": "a", "train": "no"}, "train is 'no'"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "a part of type 'image_url'"),
        ({"role": "tool", "content": 3}, "not text but int"),
        ({"role": "critic", "content": "a"}, "role 'critic'"),
        ("text", "a str stands where"),
    ],
)
def test_what_cannot_be_carried_is_named_and_not_left_out(message: Any, note: str) -> None:
    rows, _ = read("jsonl", [{"id": "x", "messages": [message]}])
    assert rows["note"].item().startswith(note)
    assert rows["content"].item() is None or rows["role"].item() is None


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "_MAX_MESSAGES", 10)
    records = [
        {"id": str(i), "conversations": turns(("human", "a"), ("gpt", "b"))} for i in range(50)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(records))
    batches = list(sources.get("sharegpt").read([File(path, "a")], "sharegpt", "sharegpt"))
    assert max(batch.rows.height for batch in batches) <= 11
    assert sum(batch.conversations for batch in batches) == 50
    assert sum(batch.rows.height for batch in batches) == 100


@pytest.mark.parametrize(
    ("flags", "train"),
    [
        ({}, True),
        ({"train": True}, True),
        ({"train": False}, False),
        ({"trainable": False}, False),
        ({"loss": False}, False),
        ({"loss": None}, True),
        ({"masked": True}, False),
        ({"masked": False}, True),
        ({"loss_weight": 0.0}, False),
        ({"loss_weight": 1.0}, True),
        ({"weight": 0}, False),
        ({"training": False}, False),
        ({"is_trainable": True}, True),
        ({"loss_mask": 0}, False),
        ({"loss_mask": 1}, True),
        ({"step_loss_mask": 0}, False),
        ({"train_detail": None}, True),
        ({"train_detail": []}, True),
        ({"mask": None}, True),
        ({"train": True, "masked": True}, False),
    ],
)
def test_flags_that_others_use_say_what_is_learnt_from(flags: Any, train: bool) -> None:
    """An answer is learnt from unless it says otherwise; a question never is."""
    messages = [{"role": "user", "content": "q", **flags}, {"role": "assistant", "content": "a"}]
    rows, _ = read("jsonl", [{"messages": [messages[0], {**messages[1], **flags}]}])
    assert rows["train"].to_list() == [False, train]
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a", **flags}]
    rows, _ = read("sharegpt", [{"conversations": turns}])
    assert rows["train"].to_list() == [False, train]


@pytest.mark.parametrize(
    "flags",
    [
        {"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]},
        {"training_detail": [{"begin_offset": 0, "end_offset": 1, "train": True}]},
        {"loss_mask": [0, 1] * 5000},
        {"mask": 1},
        {"mask": False},
        {"training": "false"},
        {"loss": float("nan")},
    ],
)
@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_a_flag_that_is_not_plain_is_refused_by_its_name(source: str, flags: Any) -> None:
    (row,) = say(source, {"role": "assistant", "content": "a", **flags}).to_dicts()
    assert row["content"] is None
    assert row["note"].startswith(next(iter(flags)))
    assert len(row["note"]) < 120


# ---------------------------------------------------------------- beside the words of a message

MARK = "what{}says"
CALL = {"name": MARK, "arguments": "{}"}
# All that holds words beside the content of a message, by its key; {} is its number.
BESIDE: dict[str, Any] = {
    "reasoning_content": MARK,
    "reasoning": [{"type": "text", "text": MARK}],
    "thinking": MARK,
    "thought": MARK,
    "tool_plan": MARK,
    "reasoning_details": [
        {"type": "reasoning.text", "text": MARK, "signature": "x"},
        {"type": "reasoning.summary", "summary": ""},
    ],
    "thinking_blocks": [{"type": "thinking", "thinking": MARK}],
    "tool_calls": [{"id": "c", "type": "function", "function": CALL}],
    "function_call": CALL,
    "function_calls": [CALL],
    "tools": [{"name": MARK}],
    "functions": [{"name": MARK}],
    "refusal": MARK,
    **{
        key: [{"title": MARK}]
        for key in ("images", "image", "videos", "video", "audios", "audio", "documents")
    },
    "attachments": [MARK],
}
WORDLESS = {"name": "x", "score": 0.5, "timestamp": 7, "model": "m", "tool_call_id": "c"}
ROLES = ("system", "user", "assistant", "tool", "function_call", "gpt", "human")


def say(source: str, *messages: Any, **record: Any) -> pl.DataFrame:
    """The rows of one conversation of these messages."""
    rows, problems = read(source, [{"id": "x", "messages": list(messages), **record}])
    assert problems == []
    return rows


def filled(key: str, number: int) -> Any:
    return json.loads(json.dumps(BESIDE[key]).replace(MARK, MARK.format(number)))


def messages_of(seed: int) -> list[dict[str, Any]]:
    """Messages with some of what can stand beside their words, each of it with words of its own."""
    draw = random.Random(seed)
    roles = draw.choices(["system", "user", "assistant", "tool"], k=draw.randint(1, 4))
    return [
        {
            "role": role,
            "content": draw.choice(["a", "", f"own{number}words"]),
            **{
                key: filled(key, 10 * number + index)
                for index, key in enumerate(draw.sample(sorted(BESIDE), draw.randint(0, 2)))
            },
            **({"score": 1} if draw.random() < 0.5 else {}),
        }
        for number, role in enumerate(roles)
    ]


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("seed", range(60))
def test_what_a_message_says_is_carried_whole_or_refused_with_a_reason(
    source: str, seed: int
) -> None:
    messages = messages_of(seed)
    rows = say(source, *messages).to_dicts()
    assert len(rows) == len(messages)
    for message, row in zip(messages, rows, strict=True):
        marks = set(re.findall(r"what\d+says|own\d+words", json.dumps(message)))
        is_refused = row["content"] is None and row["note"]
        assert is_refused or all(mark in row["content"] for mark in marks)


@pytest.mark.parametrize("seed", range(60))
def test_both_sources_read_a_message_alike(seed: int) -> None:
    own, other = (say(source, *messages_of(seed)) for source in ("jsonl", "sharegpt"))
    same = ["role", "content", "train", "note"]
    assert_frame_equal(own.select(same), other.select(same))


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("key", sorted(BESIDE))
def test_no_key_that_holds_words_is_read_over(source: str, role: str, key: str) -> None:
    """In any role: the words are in the content, or there is none, and the ledger says why."""
    (row,) = say(source, {"role": role, "content": "a", key: filled(key, 1)}).to_dicts()
    assert row["note"] if row["content"] is None else MARK.format(1) in row["content"]


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("role", ROLES)
def test_what_holds_no_words_changes_nothing(source: str, role: str) -> None:
    """Ids and scores, nulls and empty lists as tables have them, and settings of reasoning."""
    plain = {"role": role, "content": "a"}
    expected = say(source, plain)
    nothing = {"tool_calls": "[]", "function_call": {"name": None, "arguments": None}}
    settings = {"reasoning": "high", "thinking": True, "image": False, "refusal": True}
    empty = [dict.fromkeys(BESIDE, value) for value in (None, "", [], {}, [None])]
    for beside in (WORDLESS, nothing, settings, *empty):
        assert_frame_equal(say(source, {**plain, **beside}), expected)
    record = {"documents": [], "images": None, "tools": None, "system": "", "refusal": "no"}
    assert_frame_equal(say(source, plain, **record), expected)


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
@pytest.mark.parametrize("key", ["images", "image", "videos", "audio", "documents", "attachments"])
def test_images_beside_the_messages_refuse_all_of_them(source: str, key: str) -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = say(source, *said, **{key: ["x.png"]})
    assert rows["content"].to_list() == [None, None]
    assert set(rows["note"]) == {f"'{key}' cannot be carried as text"}
    nameless = [{"messages": [{**said[0], "content": own}], key: ["x"]} for own in "ab"]
    assert read(source, nameless)[0]["conversation"].n_unique() == 2


@pytest.mark.parametrize("source", ["jsonl", "sharegpt"])
def test_a_call_is_learnt_from_with_the_reasoning_before_it(source: str) -> None:
    rows = say(
        source,
        {"role": "system", "content": "Be brief.", "tools": [{"name": "weather"}]},
        {"role": "user", "content": "Warm?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "I look.",
            "tool_calls": [{"function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}],
        },
        {"role": "tool", "content": "19"},
        {"role": "assistant", "content": "Yes.", "reasoning": "19 is warm."},
    )
    assert rows.select("role", "content", "train").rows() == [
        ("system", 'Be brief.\n\n<tools>\n[{"name": "weather"}]\n</tools>', False),
        ("user", "Warm?", False),
        (
            "assistant",
            "<think>\nI look.\n</think>\n\n<tool_call>\n"
            '{"name": "weather", "arguments": {"city": "Lisbon"}}\n</tool_call>',
            True,
        ),
        ("user", "<tool_response>\n19\n</tool_response>", False),
        ("assistant", "<think>\n19 is warm.\n</think>\n\nYes.", True),
    ]


def test_a_call_beside_empty_content_is_no_empty_answer() -> None:
    """`sharegpt` kept the result of a call, and an empty answer in place of the call."""
    message = {"from": "gpt", "value": "", "function_call": {"name": "f", "arguments": "{}"}}
    rows, _ = read("sharegpt", [{"conversations": [message, *turns(("observation", "r"))]}])
    assert rows["content"].to_list() == [
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
        "<tool_response>\nr\n</tool_response>",
    ]


def test_a_turn_with_the_keys_of_both_shapes_says_what_is_not_null() -> None:
    own = {"from": "gpt", "value": "a", "role": None, "content": None}
    other = {"from": None, "value": None, "role": "assistant", "content": "a"}
    rows, _ = read("sharegpt", [{"conversations": [own, other, {**own, "content": "b"}]}])
    assert rows.select("role", "content", "note").rows() == [
        *[("assistant", "a", None)] * 2,
        ("assistant", None, "'value' and 'content' say different things"),
    ]


def test_reasoning_under_two_names_is_one_or_refused() -> None:
    own = {"role": "assistant", "content": "a", "reasoning": "Well, yes."}
    details = [{"type": "reasoning.text", "text": own} for own in ("Well, ", "yes.\n")]
    rows = say("jsonl", {**own, "reasoning_details": details}, {**own, "thinking": "No."})
    assert rows.select("content", "note").rows() == [
        ("<think>\nWell, yes.\n</think>\n\na", None),
        (None, "'reasoning' and 'thinking' say different things"),
    ]
    hidden = [{"type": "reasoning.encrypted", "data": "x"}]
    assert "encrypted" in say("jsonl", {**own, "reasoning_details": hidden})["note"].item()


def test_tools_are_listed_by_the_system_alone() -> None:
    """Elsewhere the filter `tool_use` would not find them."""
    rows = say("jsonl", {"role": "user", "content": "q", "tools": [{"name": "f"}]})
    assert rows["note"].item() == "tools are listed in a message that is not the system's"


def test_a_system_that_says_the_same_beside_and_in_the_messages_is_one() -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}]
    assert say("jsonl", *said, system="Be brief.")["role"].to_list() == ["system", "user"]
    rows = say("jsonl", *said, system="Be kind.")
    assert rows["content"].to_list() == ["Be kind.", "Be brief.", "q"]


@pytest.mark.parametrize("key", ["arguments", "parameters", "input"])
def test_the_arguments_of_a_call_have_several_names(key: str) -> None:
    call = {"name": "f", key: {"a": 1}}
    both = {"tool_calls": json.dumps([call, call]), "function_call": call}
    content = say("jsonl", {"role": "assistant", "content": None, **both})["content"].item()
    own = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert content == f"{own}\n{own}"


def test_beside_an_instruction_nothing_is_left_out() -> None:
    pair = {"instruction": "q", "output": "a"}
    beside = {"system": "Be brief.", "tools": [{"name": "f"}], "reasoning": "Well."}
    rows, _ = read("jsonl", [{"id": "x", **pair, **beside}])
    assert rows.select("role", "content").rows() == [
        ("system", 'Be brief.\n\n<tools>\n[{"name": "f"}]\n</tools>'),
        ("user", "q"),
        ("assistant", "<think>\nWell.\n</think>\n\na"),
    ]
    rows, _ = read("jsonl", [{"id": "x", **pair, "history": [["q", "a"]]}])
    assert rows["note"].to_list() == ["'history' is not read", None]


def test_what_stands_beside_a_pair_is_the_answers() -> None:
    own = {"human": "q", "assistant": "a", "reasoning": "Well.", "weight": 0}
    rows, _ = read("sharegpt", [{"conversation": [own]}])
    assert rows.select("content", "train").rows() == [
        ("q", False),
        ("<think>\nWell.\n</think>\n\na", False),
    ]


def test_reasoning_is_carried_in_tags_before_the_answer() -> None:
    for key in ("reasoning_content", "reasoning", "thinking"):
        message = {"role": "assistant", "content": "\n\nYes.", key: "\nWell\n"}
        rows, _ = read("jsonl", [{"messages": [message]}])
        assert rows["content"].item() == "<think>\nWell\n</think>\n\nYes."


def test_tags_that_sources_write_are_content_to_every_template() -> None:
    """Some tokenizers have tokens for them, and a template may write them as well."""
    own = {
        "tools": [{"name": "weather"}],
        "tool_calls": [{"function": {"name": "weather", "arguments": {}}}],
        "reasoning_content": "hm",
    }
    said, fault = _message.spoken(own, "a", role="system")
    result, _ = _tools.response({"celsius": 19})
    assert fault is None
    tags = re.findall(r"</?\w+>", f"{said}{result}")
    assert len(tags) == 8
    assert set(tags) <= CONTENT_TAGS
