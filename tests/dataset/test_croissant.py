"""`croissant.json`, read by the reference implementation: valid, and every row comes out of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from chatdata import add_rendering
from chatdata.dataset import croissant, manifest, reader
from tests.support.later import Later, need

need("mlcroissant")
mlcroissant = Later("mlcroissant")

pytestmark = [  # what mlcroissant 1.1.1 asks of rdflib and pandas
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),
]


@pytest.fixture(scope="module")
def described(sample: Path) -> Any:
    """The sample, as it is described."""
    return mlcroissant.Dataset(jsonld=str(sample / croissant.FILE))


def text(value: Any) -> Any:
    """What mlcroissant gives for a text or a list of turns, as plain values."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [{key.rsplit("/", 1)[1]: text(part) for key, part in turn.items()} for turn in value]
    return None if value != value else value


def test_it_is_valid_and_lacks_only_a_date(sample: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=str(sample / croissant.FILE))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert [words.split('"')[1] for words in issues.warnings] == [
        "https://schema.org/datePublished"
    ]
    assert "not standard" not in caplog.text


def test_every_conversation_comes_out_of_it(sample: Path, described: Any) -> None:
    rows = {row["id"]: row for row in reader.scan(sample, "messages").collect().to_dicts()}
    records = list(described.records("messages"))
    assert len(records) == len(rows)
    for row in records:
        record = {key.removeprefix("messages/"): text(value) for key, value in row.items()}
        assert record == rows[record["id"]]


def test_every_row_of_tokens_comes_out_of_it(sample: Path, described: Any) -> None:
    rows = {row["id"]: row for row in reader.scan(sample, "tokens").collect().to_dicts()}
    records = list(described.records("tokens-starchat"))
    assert len(records) == len(rows)
    for row in records:
        expected = rows[row["tokens-starchat/id"].decode()]
        for name in ("input_ids", "attention_mask", "labels"):
            assert [int(id) for id in row[f"tokens-starchat/{name}"]] == expected[name]
        assert row["tokens-starchat/trained"] == expected["trained"]
        assert row["tokens-starchat/split"].decode() == expected["split"]


@pytest.mark.slow
def test_every_row_of_an_added_rendering_comes_out_of_it(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    add_rendering(sample, out, tokenizer="bytes", template="chatml", name="chatml-2.5_x")
    dataset = mlcroissant.Dataset(jsonld=str(out / croissant.FILE))
    assert not dataset.metadata.ctx.issues.errors
    table = reader.scan(out, "tokens-chatml-2.5_x").collect()
    rows = {row["id"]: row for row in table.to_dicts()}
    records = list(dataset.records("tokens-chatml-2.5_x"))
    assert len(records) == len(rows)
    for row in records:
        expected = rows[row["tokens-chatml-2.5_x/id"].decode()]
        assert [int(id) for id in row["tokens-chatml-2.5_x/labels"]] == expected["labels"]
        assert row["tokens-chatml-2.5_x/split"].decode() == expected["split"]


def test_a_split_can_be_asked_for(sample: Path) -> None:
    dataset = mlcroissant.Dataset(jsonld=str(sample / croissant.FILE))
    records = list(dataset.records("messages", filters={"messages/split": "test"}))
    assert len(records) == manifest.read(sample)["splits"]["test"]["rows"]


def test_it_names_every_shard_with_its_hash_and_no_place_of_ours(sample: Path) -> None:
    facts = manifest.read(sample)
    page = json.loads((sample / croissant.FILE).read_text())
    files = {
        file["contentUrl"]: file["sha256"]
        for file in page["distribution"]
        if file["@type"] == "cr:FileObject"
    }
    shards = {
        file["path"]: file["sha256"]
        for file in facts["files"]
        if not file["path"].startswith("ledger/")
    }
    assert files == shards
    assert page["version"] == "1.0.0"
    assert page["license"] == "apache-2.0"
    assert facts["content_hash"] in page["citeAs"]
    assert str(sample.parent) not in json.dumps(page)
    assert (sample / croissant.FILE).read_text() == croissant.text(facts)


def test_a_dataset_without_tokens_or_licence_or_test_rows_is_valid(
    sample: Path, tmp_path: Path
) -> None:
    facts = manifest.read(sample).as_json() | {"render": None, "license": None, "about": ""}
    facts["splits"]["test"]["rows"] = 0
    facts["files"] = [dataset for dataset in facts["files"] if "train" in dataset["path"]]
    (tmp_path / "messages").mkdir()
    name = "messages/train-00000-of-00001.parquet"
    (tmp_path / name).write_bytes((sample / name).read_bytes())
    (tmp_path / croissant.FILE).write_text(croissant.text(manifest.parsed(facts)))
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / croissant.FILE))
    assert [record.uuid for record in dataset.metadata.record_sets] == ["splits", "messages"]
    assert len(list(dataset.records("messages"))) == facts["splits"]["train"]["rows"]


def test_a_description_that_is_wrong_is_found_out(sample: Path, tmp_path: Path) -> None:
    page = json.loads((sample / croissant.FILE).read_text())
    del page["distribution"][0]["sha256"]
    (tmp_path / croissant.FILE).write_text(json.dumps(page))
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        mlcroissant.Dataset(jsonld=str(tmp_path / croissant.FILE))
