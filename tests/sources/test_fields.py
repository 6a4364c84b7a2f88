"""`fields` of a recipe: any other shape, checked against the first records of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import build_dataset, load_recipe, sources
from chatdata.core import config
from chatdata.core.errors import ConfigError, SourceError
from chatdata.sources import File
from chatdata.sources.fields import Fields
from chatdata.sources.unread import UnreadKeys

TALK = {
    "key": 7,
    "setting": {"words": "Be brief.", "mood": "calm"},
    "talk": [
        {"who": {"name": "guest", "age": 9}, "says": "How many?", "at": 1},
        {"who": {"name": "host"}, "says": "Two.", "hm": "One and one.", "at": 2},
    ],
}
OF_TALK = {
    "messages": "talk",
    "role": "who.name",
    "content": "says",
    "reasoning": "hm",
    "roles": {"guest": "user", "host": "assistant"},
    "system": "setting.words",
    "id": "key",
}
EXCHANGE = {
    "ask": {"text": "How many?"},
    "answers": [{"text": "Two.", "score": 3}, {"text": "No."}],
}
OF_EXCHANGE = {"user": "ask.text", "assistant": "answers.0.text"}


def read(
    folder: Path, fields: dict[str, Any], *records: Any
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    parsed = config.parse(Fields, fields, "fields")
    batches = list(sources.get("auto").read([File(path, path.name)], "x", "x", fields=parsed))
    unread = UnreadKeys()
    for batch in batches:
        unread.add(batch.unread)
    columns = ("conversation", "role", "content", "reasoning", "note", "lang")
    rows = pl.concat([batch.rows for batch in batches]).select(columns)
    return rows.to_dicts(), unread.counts()


def test_a_list_of_messages_by_paths(tmp_path: Path) -> None:
    rows, unread = read(tmp_path, OF_TALK, TALK)
    assert [(row["role"], row["content"], row["reasoning"]) for row in rows] == [
        ("system", "Be brief.", None),
        ("user", "How many?", None),
        ("assistant", "Two.", "One and one."),
    ]
    assert {row["conversation"] for row in rows} == {"x/7"}
    assert unread == {"messages": {"at": 2, "age": 1, "mood": 1}}


def test_a_question_and_an_answer_by_paths(tmp_path: Path) -> None:
    rows, unread = read(tmp_path, OF_EXCHANGE, EXCHANGE)
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", "How many?"),
        ("assistant", "Two."),
    ]
    assert unread == {"messages": {"score": 1}}


def test_defaults_hold_where_a_record_has_nothing(tmp_path: Path) -> None:
    defaults = {"system": "Speak.", "lang": "nl"}
    rows, _ = read(tmp_path, {**OF_EXCHANGE, "defaults": defaults}, EXCHANGE)
    assert (rows[0]["role"], rows[0]["content"]) == ("system", "Speak.")
    assert {row["lang"] for row in rows} == {"nl"}
    silent = {"talk": [{"says": "How many?"}, {"who": {"name": "host"}, "says": "Two."}]}
    of_silent = {**OF_TALK, "defaults": {"role": "user"}}
    for name in ("reasoning", "system", "id"):
        del of_silent[name]
    rows, _ = read(tmp_path, of_silent, silent)
    assert [row["role"] for row in rows] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"content": "said"},
            "`fields.content` is 'said', and none of the first records of '{}' has it; there are "
            "the keys who, says, at, hm.",
        ),
        (
            {"system": "setting.text"},
            "`fields.system` is 'setting.text', and none of the first records of '{}' has it; "
            "under 'setting' there are the keys words, mood.",
        ),
        (
            {"messages": "chat"},
            "`fields.messages` is 'chat', and none of the first records of '{}' has it; there are "
            "the keys key, setting, talk.",
        ),
        (
            {"roles": {"guest": "user"}},
            "'{}' has the speaker 'host', whose role `fields` does not state; add it to "
            "`fields.roles`.",
        ),
    ],
)
def test_fields_are_checked_against_the_first_records(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError) as error:
        read(tmp_path, {**OF_TALK, **changed}, TALK)
    assert str(error.value) == words.format(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": "a"},
        {"assistant": "a"},
        {"messages": "a", "user": "b"},
        {"messages": "a", "user": "b", "assistant": "c"},
        {"messages": "a", "roles": {"x": "boss"}},
        {"messages": "a", "defaults": {"colour": "red"}},
    ],
)
def test_fields_that_say_nothing_or_two_things_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        config.parse(Fields, fields, "fields")


def test_a_record_without_the_fields_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [TALK, {"key": 8}])))
    parsed = config.parse(Fields, OF_TALK, "fields")
    batches = list(sources.get("auto").read([File(path, path.name)], "x", "x", fields=parsed))
    (problem,) = [problem for batch in batches for problem in batch.problems]
    assert (problem.reason, problem.id) == ("unknown_record", "a.jsonl:2")


RECIPE = """
name: talks
version: 1.0.0
source:
  talks:
    format: {format}
    files: [a.jsonl]
    fields: {fields}
"""


def test_a_recipe_builds_with_fields_and_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(TALK))
    (tmp_path / "r.yaml").write_text(RECIPE.format(format="auto", fields=json.dumps(OF_TALK)))
    manifest = build_dataset(load_recipe(tmp_path / "r.yaml"), tmp_path / "out")
    assert manifest["sources"][0]["shape"] == "fields of the recipe"
    assert manifest["counts"]["conversations"]["kept"] == 1


def test_only_auto_reads_by_fields(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(format="jsonl", fields=json.dumps(OF_TALK)))
    with pytest.raises(ConfigError, match="source 'talks' has fields, and 'jsonl' has a shape"):
        load_recipe(tmp_path / "r.yaml")
