"""Open Assistant's trees: every shape met in the wild becomes the same table."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chatdata import sources
from chatdata.sources import File
from tests.support.reading import read

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


def flat(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a tree, as the Hub has them."""
    rows, waiting = [], [(tree["prompt"], None)]
    while waiting:
        message, parent = waiting.pop(0)
        values = {key: value for key, value in message.items() if key != "replies"}
        rows.append({**values, "parent_id": parent, "message_tree_id": tree["message_tree_id"]})
        waiting += [(reply, message["message_id"]) for reply in message.get("replies", [])]
    return [{**row, "tree_state": tree["tree_state"]} for row in rows]


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
    labels = '{"spam": 0.0}' if shape in ("parallel lists", "dicts") else None
    assert rows["labels"].unique().to_list() == [labels]
    assert_frame_equal(
        *(table.drop("where", "labels").sort("message") for table in (rows, expected))
    )


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
        rows_of_file = pl.concat([batch.rows for batch in batches])
        assert_frame_equal(
            *(t.drop("where", "labels").sort("message") for t in (rows_of_file, expected))
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
