"""Variables for chat templates that records bring along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import sources
from chatdata.core.errors import SourceError
from tests.support.reading import read

TALKS: dict[str, dict[str, Any]] = {
    "jsonl": {
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
}
OFF = {"enable_thinking": False}


@pytest.mark.parametrize("source", TALKS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (OFF, OFF),
        (json.dumps(OFF), OFF),
        ({"enable_thinking": None, "effort": "high"}, {"effort": "high"}),  # as a table has it
        ({"b": {"c": [1, None]}, "a": "é"}, {"b": {"c": [1, None]}, "a": "é"}),
        ({"enable_thinking": None}, None),
        ({}, None),
        ("{}", None),
        ("", None),
        (None, None),
    ],
)
def test_variables_stand_on_each_message_of_their_conversation(
    source: str, given: object, expected: object
) -> None:
    rows, problems = read(source, [{**TALKS[source], "chat_template_kwargs": given}])
    texts = rows["variables"].to_list()
    assert [json.loads(text) if text else None for text in texts] == [expected] * 2
    assert rows["note"].null_count() == 2
    assert problems == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([1], "chat_template_kwargs is no object of names and values"),
        ("high", "chat_template_kwargs is no object of names and values"),
        ({"tools": []}, "chat_template_kwargs: 'tools' is not for variables"),
        ({"messages": []}, "chat_template_kwargs: 'messages' is not for variables"),
        ({"add_generation_prompt": True}, "'add_generation_prompt' is not for variables"),
        ({"eos_token": "x"}, "chat_template_kwargs: 'eos_token' is not for variables"),
        ({"a": float("nan")}, "chat_template_kwargs: holds a number that JSON cannot write"),
        ({"a": "\ud800"}, "chat_template_kwargs: a lone surrogate"),
    ],
)
def test_a_conversation_with_other_variables_has_a_fault(given: object, fault: str) -> None:
    record = {**TALKS["jsonl"], "chat_template_kwargs": given}
    rows, _ = read("jsonl", [record])
    assert all(fault in note for note in rows["note"])
    assert rows["content"].null_count() == 2


def read_with(tmp_path: Path, records: list[dict[str, Any]], **variables: str) -> Any:
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    file = sources.File(path, path.name)
    batches = sources.get("jsonl").read([file], "n", "n", variables=variables)
    return [json.loads(text) for batch in batches for text in batch.rows["variables"] if text]


def test_a_recipe_names_the_keys_of_some(tmp_path: Path) -> None:
    records = [
        {**TALKS["jsonl"], "effort": "high", "chat_template_kwargs": OFF},
        {**TALKS["jsonl"], "effort": "low", "chat_template_kwargs": {"reasoning_effort": "low"}},
        {**TALKS["jsonl"], "effort": None},
        TALKS["jsonl"],
    ]
    assert read_with(tmp_path, records, reasoning_effort="effort") == [
        *[{**OFF, "reasoning_effort": "high"}] * 2,
        *[{"reasoning_effort": "low"}] * 2,
    ]


def test_two_values_for_a_variable_are_a_fault(tmp_path: Path) -> None:
    record = {**TALKS["jsonl"], "think": True, "chat_template_kwargs": OFF}
    assert read_with(tmp_path, [record], enable_thinking="think") == []
    path = tmp_path / "records.jsonl"
    batches = sources.get("jsonl").read(
        [sources.File(path, "r")], "n", "n", variables={"enable_thinking": "think"}
    )
    notes = [note for batch in batches for note in batch.rows["note"]]
    assert set(notes) == {"chat_template_kwargs and 'think' give two values for 'enable_thinking'"}


def test_a_key_that_no_record_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no record of source 'n' has 'efort'.*'effort'"):
        read_with(tmp_path, [TALKS["jsonl"]], effort="efort")


def test_a_struct_of_parquet_gives_no_nulls(tmp_path: Path) -> None:
    rows = [
        {**TALKS["jsonl"], "chat_template_kwargs": {"enable_thinking": False, "effort": None}},
        {**TALKS["jsonl"], "chat_template_kwargs": {"enable_thinking": None, "effort": "low"}},
        {**TALKS["jsonl"], "chat_template_kwargs": None},
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    (batch,) = sources.get("jsonl").read([sources.File(path, "rows")], "n", "n")
    assert batch.rows["variables"].to_list() == [
        *['{"enable_thinking": false}'] * 2,
        *['{"effort": "low"}'] * 2,
        *[None] * 2,
    ]


def test_records_without_an_id_are_told_apart_by_their_variables() -> None:
    both = [TALKS["jsonl"], {**TALKS["jsonl"], "chat_template_kwargs": OFF}]
    rows, _ = read("jsonl", both)
    assert rows["conversation"].n_unique() == 2
