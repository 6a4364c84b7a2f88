"""Sources: what each of them has, and that a source is a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe, sources
from chatdata.cli import main
from chatdata.core.errors import ConfigError
from chatdata.sources import File
from tests.support.reading import turns


@pytest.mark.parametrize("name", sources.names())
def test_every_source_has_a_schema_a_name_and_a_line_about_it(name: str) -> None:
    module = sources.get(name)
    assert module.SCHEMA
    assert module.IDS
    assert module.__doc__.splitlines()[0].endswith(".")
    assert sources.about(name) == module.__doc__.splitlines()[0]


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources.batches, "_MAX_MESSAGES", 10)
    records = [
        {"id": str(i), "conversations": turns(("human", "a"), ("gpt", "b"))} for i in range(50)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(records))
    batches = list(sources.get("sharegpt").read([File(path, "a")], "sharegpt", "sharegpt"))
    assert max(batch.rows.height for batch in batches) <= 11
    assert sum(batch.conversations for batch in batches) == 50
    assert sum(batch.rows.height for batch in batches) == 100


# ----------------------------------------------------------------------- adding a source: a file

# Anthropic's HH-RLHF: a dialogue in a single text. All that a new source needs is in this file.
HH = '''"""Dialogues of Anthropic's HH-RLHF: a text in which Human and Assistant take turns."""

import re

from chatdata.core.schema import MESSAGES
from chatdata.sources._linear import RECORD_KEYS, Reading, RecordFormat, Turn, read_conversations
from chatdata.sources.values import text

SCHEMA = MESSAGES
IDS = "hh"
_TURN = re.compile(r"\\n\\n(Human|Assistant): ")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def read(files, name, ids):
    """Yields the turns of all dialogues as rows of MESSAGES."""
    return read_conversations(files, name, ids, RecordFormat(_is_record, _read, group=str))


def _is_record(value):
    return isinstance(value, dict) and isinstance(value.get("chosen"), str)


def _read(record):
    _, *parts = _TURN.split(record["chosen"])
    pairs = zip(parts[::2], parts[1::2], strict=True)
    turns = [Turn(_ROLES[speaker], *text(content)) for speaker, content in pairs]
    return Reading(turns, keys=RECORD_KEYS | {"chosen"})
'''
RECIPE = """
name: dialogues
version: 1.0.0
source:
  hh: {files: [dialogues.jsonl]}
render:
  tokenizer: bytes
  template: chatml
"""


@pytest.fixture
def with_hh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of sources with a file more."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "hh.py").write_text(HH)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    yield
    del sources.hh, sys.modules["chatdata.sources.hh"]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.usefixtures("with_hh")
def test_a_source_is_added_by_its_file_alone(tmp_path: Path) -> None:
    """Named by `chatdata list`, accepted by a recipe, built, and proved by `chatdata verify`."""
    chosen = "\n\nHuman: Two and two?\n\nAssistant: Four.\n\nHuman: Sure?\n\nAssistant: Yes."
    lines = [json.dumps({"chosen": chosen, "rejected": "..."}), json.dumps({"chosen": 4})]
    (tmp_path / "dialogues.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert "hh" in sources.names()
    listed = CliRunner().invoke(main, ["list"]).output
    assert "Dialogues of Anthropic's HH-RLHF" in listed
    manifest = build_dataset(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "out")
    assert manifest["counts"]["records"] == {
        "read": 2,
        "kept": 1,
        "dropped": {"unknown_record": 1},
    }
    rows = pl.read_parquet(tmp_path / "out" / "messages" / "*.parquet")
    (row,) = rows.to_dicts()
    assert (row["source"], row["id"].split("/")[0]) == ("hh", "hh")
    assert [(turn["role"], turn["content"]) for turn in row["messages"]] == [
        ("user", "Two and two?"),
        ("assistant", "Four."),
        ("user", "Sure?"),
        ("assistant", "Yes."),
    ]
    assert manifest["render"]["trained_tokens"] > 0
    verified = CliRunner().invoke(main, ["verify", str(tmp_path / "out")])
    assert verified.exit_code == 0, verified.output


def test_modules_that_are_no_sources_are_not_named() -> None:
    assert sources.names() == ["auto", "jsonl", "oasst", "sharegpt"]
    with pytest.raises(ConfigError, match="unknown source 'records'"):
        load_recipe("sample", ["source={records: {files: [x.jsonl]}}"])
