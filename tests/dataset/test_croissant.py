"""`croissant.json`, read by the reference implementation: valid, and every row comes out of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from chatdata.dataset import croissant, manifest, reader

mlcroissant = pytest.importorskip("mlcroissant")
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
        return [{key.rsplit("/", 1)[1]: text(own) for key, own in turn.items()} for turn in value]
    return None if value != value else value


def test_it_is_valid_and_lacks_only_a_date(sample: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=str(sample / croissant.FILE))
    issues = found.metadata.ctx.issues
    assert not issues.errors
    assert [words.split('"')[1] for words in issues.warnings] == [
        "https://schema.org/datePublished"
    ]
    assert "not standard" not in caplog.text


def test_every_conversation_comes_out_of_it(sample: Path, described: Any) -> None:
    rows = {row["id"]: row for row in reader.scan(sample, "messages").collect().to_dicts()}
    found = list(described.records("messages"))
    assert len(found) == len(rows)
    for row in found:
        own = {key.removeprefix("messages/"): text(value) for key, value in row.items()}
        assert own == rows[own["id"]]


def test_every_row_of_tokens_comes_out_of_it(sample: Path, described: Any) -> None:
    rows = {row["id"]: row for row in reader.scan(sample, "tokens").collect().to_dicts()}
    found = list(described.records("tokens-starchat"))
    assert len(found) == len(rows)
    for row in found:
        own = rows[row["tokens-starchat/id"].decode()]
        for name in ("input_ids", "attention_mask", "labels"):
            assert [int(id) for id in row[f"tokens-starchat/{name}"]] == own[name]
        assert row["tokens-starchat/trained"] == own["trained"]
        assert row["tokens-starchat/split"].decode() == own["split"]


def test_a_split_can_be_asked_for(sample: Path) -> None:
    own = mlcroissant.Dataset(jsonld=str(sample / croissant.FILE))
    found = list(own.records("messages", filters={"messages/split": "test"}))
    assert len(found) == manifest.read(sample)["splits"]["test"]["rows"]


def test_it_names_every_shard_with_its_hash_and_no_place_of_ours(sample: Path) -> None:
    facts = manifest.read(sample)
    own = json.loads((sample / croissant.FILE).read_text())
    files = {
        file["contentUrl"]: file["sha256"]
        for file in own["distribution"]
        if file["@type"] == "cr:FileObject"
    }
    shards = {
        file["path"]: file["sha256"]
        for file in facts["files"]
        if not file["path"].startswith("ledger/")
    }
    assert files == shards
    assert own["version"] == "1.0.0"
    assert own["license"] == "apache-2.0"
    assert facts["content_hash"] in own["citeAs"]
    assert str(sample.parent) not in json.dumps(own)
    assert (sample / croissant.FILE).read_text() == croissant.text(facts)


def test_a_dataset_without_tokens_or_licence_or_test_rows_is_valid(
    sample: Path, tmp_path: Path
) -> None:
    facts = manifest.read(sample).as_json() | {"render": None, "license": None, "about": ""}
    facts["splits"]["test"]["rows"] = 0
    facts["files"] = [own for own in facts["files"] if "train" in own["path"]]
    (tmp_path / "messages").mkdir()
    name = "messages/train-00000-of-00001.parquet"
    (tmp_path / name).write_bytes((sample / name).read_bytes())
    (tmp_path / croissant.FILE).write_text(croissant.text(manifest.parsed(facts)))
    own = mlcroissant.Dataset(jsonld=str(tmp_path / croissant.FILE))
    assert [record.uuid for record in own.metadata.record_sets] == ["splits", "messages"]
    assert len(list(own.records("messages"))) == facts["splits"]["train"]["rows"]


def test_a_description_that_is_wrong_is_found_out(sample: Path, tmp_path: Path) -> None:
    own = json.loads((sample / croissant.FILE).read_text())
    del own["distribution"][0]["sha256"]
    (tmp_path / croissant.FILE).write_text(json.dumps(own))
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        mlcroissant.Dataset(jsonld=str(tmp_path / croissant.FILE))
