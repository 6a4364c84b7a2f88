"""Published rows of structured messages, as the libraries that people load them with give them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import add_rendering, build_dataset, load_recipe, read_manifest
from chatdata.verify.dataset_diff import between
from tests.support.builds import make, rows_of
from tests.support.published import as_input, ids_by_trl, ids_of, loaded, trainer_of_trl

pytestmark = pytest.mark.slow

RECIPE = """
name: tides
version: 1.0.0
source: {jsonl: {license: cc0-1.0}}
drop: [{refusal: {on_removed: untrain}}]
split: {test_percent: 40}
render: {tokenizer: bytes, template: chatml}
"""


def _function(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def _call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function}


TOOLS = [
    _function("tide", harbour={"type": "string"}, day={"type": "integer"}),
    _function("moon", phase={"enum": ["new", "full"]}),
]
CALLS = [
    _call("c1", "tide", harbour="Faro", day=2),
    _call("c2", "moon", phase="full", of={"planet": "Earth", "years": [2026, None]}),
]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "When is high water?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Two tools know.",
        "tool_calls": CALLS,
    },
    {"role": "tool", "content": "12:40", "tool_call_id": "c1", "name": "tide"},
    {"role": "tool", "content": '{"bright": true}', "tool_call_id": "c2", "name": "moon"},
    {"role": "assistant", "content": "At 12:40.", "reasoning_content": "As the tool says."},
]
PLAIN = [
    {"role": "user", "content": "Is it high?"},
    {"role": "assistant", "content": "No.", "weight": 0},
    {"role": "user", "content": "And the moon?"},
    {"role": "assistant", "content": "As an AI language model, I cannot look at the moon."},
    {"role": "user", "content": "Now?"},
    {"role": "assistant", "content": "Yes.", "train": True},
]


def _more(number: int) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": f"How high is buoy {number}?"},
        {"role": "assistant", "content": f"{number} metres.", "reasoning_content": "I look."},
    ]


RECORDS = [
    {"id": "a/1", "group": "g1", "source": "pier", "lang": "en", "messages": TALK, "tools": TOOLS},
    {"id": "b/2", "group": "g2", "source": "quay", "lang": "en", "messages": PLAIN},
    *({"id": f"c/{n}", "source": "quay", "messages": [*PLAIN, *_more(n)]} for n in range(8)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, built."""
    work = tmp_path_factory.mktemp("loading")
    (work / "tides.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    return make(work, RECIPE, work / "tides.jsonl", "out")


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"].removeprefix("jsonl/"): row for row in rows}


def parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def spoken(messages: Any) -> list[dict[str, Any]]:
    """The messages with the keys that have a value, JSON parsed, their flags apart."""
    values = [
        {key: parsed(v) if key == "tool_calls" else v for key, v in message.items()}
        for message in messages
    ]
    return [{k: v for k, v in m.items() if v is not None and k != "train"} for m in values]


WITHOUT_NULLS = [{key: value for key, value in turn.items() if value is not None} for turn in TALK]


def test_datasets_gives_objects_and_each_call_has_its_arguments_alone(folder: Path) -> None:
    rows = by_id(list(loaded(folder)))
    talk = rows["a/1"]
    assert talk["tools"] == TOOLS
    calls = talk["messages"][2]["tool_calls"]
    assert calls == CALLS
    assert [list(call["function"]["arguments"]) for call in calls] == [
        ["harbour", "day"],
        ["phase", "of"],
    ]
    assert spoken(talk["messages"]) == WITHOUT_NULLS
    assert rows["b/2"]["tools"] is None


def with_polars(folder: Path) -> list[dict[str, Any]]:
    table = pl.read_parquet(folder / "messages" / "*.parquet")
    table.write_parquet(folder.parent / "again.parquet")
    return pl.read_parquet(folder.parent / "again.parquet").to_dicts()


def with_pandas(folder: Path) -> list[dict[str, Any]]:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(folder / "messages")
    table.to_parquet(folder.parent / "of-pandas.parquet")
    return pandas.read_parquet(folder.parent / "of-pandas.parquet").to_dict("records")


def with_duckdb(folder: Path) -> list[dict[str, Any]]:
    duckdb = pytest.importorskip("duckdb")
    table = duckdb.sql(f"SELECT * FROM '{folder}/messages/*.parquet'")
    names = table.columns
    return [dict(zip(names, row, strict=True)) for row in table.fetchall()]


@pytest.mark.parametrize("read", [with_polars, with_pandas, with_duckdb])
def test_tables_read_the_shards_and_the_json_parses(
    read: Callable[[Path], list[dict[str, Any]]], folder: Path
) -> None:
    rows = by_id(read(folder))
    assert json.loads(rows["a/1"]["tools"]) == TOOLS
    assert spoken(rows["a/1"]["messages"]) == WITHOUT_NULLS
    assert [list(rows[id]["messages"]) and rows[id]["source"] for id in ("a/1", "b/2")] == [
        "pier",
        "quay",
    ]


def test_duckdb_looks_into_the_calls(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = f"""
        SELECT json_extract_string(message.tool_calls, '$[0].function.arguments.harbour')
        FROM (SELECT unnest(messages) AS message FROM '{folder}/messages/*.parquet')
        WHERE message.tool_calls IS NOT NULL
    """
    assert duckdb.sql(query).fetchall() == [("Faro",)]


def test_transformers_writes_the_rows(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokens = {row["id"]: row["input_ids"] for row in rows_of(folder, "tokens")}
    rows = list(loaded(folder))
    assert sorted(tokens) == sorted(row["id"] for row in rows)
    for row in rows:
        messages = [{k: v for k, v in m.items() if v is not None} for m in row["messages"]]
        ids = tokenizer.apply_chat_template(
            messages, tools=row["tools"], tokenize=True, return_dict=False
        )
        assert ids == tokens[row["id"]]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_trl_prepares_the_rows_with_their_tools(folder: Path, tmp_path: Path) -> None:
    rows = loaded(folder)
    trainer = trainer_of_trl(folder, rows, tmp_path / "run")
    assert ids_by_trl(trainer) == ids_of(folder, rows)


def test_rows_say_what_may_be_learnt(folder: Path) -> None:
    rows = by_id(rows_of(folder))
    flags = {id: [message["train"] for message in row["messages"]] for id, row in rows.items()}
    assert flags["a/1"] == [False, False, True, False, False, True]
    # Of no weight; a refusal that the recipe untrains; to be learnt.
    assert flags["b/2"] == [False, False, False, False, False, True]


TREE = """
name: tree
version: 1.0.0
source: {oasst: {}}
drop: []
split: {test_percent: 0}
threads: {policy: all_leaves, train_once: true}
render: {tokenizer: bytes, template: chatml}
"""


def test_an_answer_that_is_learnt_once_says_so_in_one_row(tmp_path: Path) -> None:
    texts = [("r", None), ("a", "r"), ("b", "a"), ("c", "b"), ("d", "a"), ("e", "d")]
    roles = {"r": "prompter", "b": "prompter", "d": "prompter"}
    messages = [
        {
            "message_id": name,
            "parent_id": parent,
            "message_tree_id": "r",
            "text": f"text {name}",
            "role": roles.get(name, "assistant"),
            "lang": "en",
            "tree_state": "ready_for_export",
        }
        for name, parent in texts
    ]
    (tmp_path / "tree.jsonl").write_text("\n".join(map(json.dumps, messages)))
    rows = rows_of(make(tmp_path, TREE, tmp_path / "tree.jsonl", "out"))
    flags = [
        (turn["content"], turn["train"])
        for row in rows
        for turn in row["messages"]
        if turn["role"] == "assistant"
    ]
    assert len(rows) == 2
    assert sorted(flags) == [
        ("text a", False),
        ("text a", True),
        ("text c", True),
        ("text e", True),
    ]


@pytest.mark.parametrize("way", ["shards", "datasets"])
def test_a_build_over_published_rows_changes_nothing(
    folder: Path, tmp_path: Path, way: str
) -> None:
    recipe = RECIPE.replace("{refusal: {on_removed: untrain}}", "")
    again = make(tmp_path, recipe, as_input(folder, way, tmp_path), "again")
    difference = between(folder, again)
    assert {key: n for key, n in difference.rows.items() if n} == {"the_same": len(RECORDS)}
    assert difference.moved == {}
    assert {split for split, rows in read_manifest(again).splits.items() if rows.rows} == {
        "train",
        "test",
    }
    assert by_id(rows_of(again)) == by_id(rows_of(folder))
    assert rows_of(again, "tokens") == rows_of(folder, "tokens")
    assert read_manifest(again).license == read_manifest(folder).license


def test_calls_that_gained_keys_would_be_seen() -> None:
    filled = copy.deepcopy(TALK)
    filled[2]["tool_calls"][0]["function"]["arguments"]["phase"] = None  # type: ignore[index]
    assert spoken(filled) != WITHOUT_NULLS


def test_rows_of_an_added_rendering_load_by_their_name(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    add_rendering(build_sample(tmp_path), tokenizer="bytes", template="chatml", name="chatml-2.5")
    folder = tmp_path / "sample"
    rows = loaded(folder, "tokens-chatml-2.5")
    stored = rows_of(folder, "tokens-chatml-2.5")
    assert rows["input_ids"][:] == [row["input_ids"] for row in stored]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer-chatml-2.5")
    messages = {row["id"]: row["messages"] for row in rows_of(folder)}
    row = next(row for row in stored if row["id"] in messages)
    turns = [
        {key: value for key, value in turn.items() if value is not None and key != "train"}
        for turn in messages[row["id"]]
    ]
    assert tokenizer.apply_chat_template(turns, return_dict=False) == row["input_ids"]


def build_sample(folder: Path) -> Path:
    build_dataset(load_recipe("sample"), folder / "sample")
    return folder / "sample"
