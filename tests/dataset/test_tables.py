"""The tables of a dataset folder: data, to which a table can be added in one place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from chatdata import build_dataset, load_recipe
from chatdata.dataset import card, croissant, hub_configs, manifest, reader, tables
from chatdata.dataset.entries import SplitEntry
from chatdata.dataset.rows import Rows, by_split
from chatdata.dataset.tables import Size, Table
from chatdata.publish import release
from chatdata.verify.verification import verdicts_on


def _turns(part: Rows) -> dict[str, pa.Table]:
    counts = pa.compute.list_value_length(part.messages["messages"])
    table = pa.table({"id": part.messages["id"], "turns": counts}, schema=TURNS.schema)
    return by_split(table, part.splits)


def _size(split: SplitEntry) -> Size:
    return Size(split.rows, 4 * split.rows)


TURNS = Table(
    "turns",
    pa.schema([("id", pa.string()), ("turns", pa.int32())]),
    "the number of turns of a conversation",
    make=_turns,
    row_bytes=lambda table: np.full(table.num_rows, 4, np.int64),
    config=lambda manifest: "turns",
    size=_size,
)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table more, for one test."""
    monkeypatch.setattr(tables, "TABLES", (*tables.TABLES, TURNS))
    return TURNS


def failures(folder: Path) -> dict[str, list[str]]:
    return {
        verdict.check: verdict.problems
        for verdict in verdicts_on(folder)
        if verdict.outcome != "ok" and verdict.problems
    }


@pytest.mark.slow
def test_a_table_is_added_in_one_place(added: Table, tmp_path: Path) -> None:
    """Built, described, read and verified, by the `Table` alone."""
    out = tmp_path / "out"
    described = build_dataset(load_recipe("sample"), out)
    shards = added.shards(described.files)
    assert [shard.path for shard in shards] == [
        "turns/train-00000-of-00001.parquet",
        "turns/test-00000-of-00001.parquet",
    ]
    assert sum(shard.rows for shard in shards) == described.splits.total("rows")
    rows = reader.scan(out, "turns").collect()
    messages = reader.scan(out, "messages").collect()
    assert rows["turns"].to_list() == messages["messages"].list.len().to_list()

    config = hub_configs.of(described)[-1]
    assert (config.name, config.rows["train"]) == ("turns", described.splits.train.rows)
    assert 'load_dataset(PATH, "turns"' in (out / card.PAGE).read_text().replace('"PATH"', "PATH")
    known = json.loads((out / croissant.FILE).read_text())
    assert [record["name"] for record in known["recordSet"]][-1] == "turns"
    assert shards[0].sha256 in (out / croissant.FILE).read_text()
    assert release.is_managed("turns/train-00007-of-00008.parquet")
    assert failures(out) == {}


@pytest.mark.slow
def test_verify_asks_an_added_table_too(added: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    described = build_dataset(load_recipe("sample", ["render=null"]), out)
    path = out / added.shards(described.files)[0].path
    (out / "turns" / "train-7.parquet").write_bytes(path.read_bytes())
    assert "turns/train-7.parquet: is not in the manifest" in failures(out)["files"][0]
    (out / "turns" / "train-7.parquet").unlink()
    pq.write_table(pq.read_table(path).drop_columns("turns"), path)
    assert list(failures(out)) == ["hashes"]


@pytest.mark.slow
def test_rows_that_a_build_adds_to_a_dataset_leave_its_others_as_they_are(
    sample: Path, added: Table, tmp_path: Path
) -> None:
    build_dataset(load_recipe("sample"), tmp_path / "out")
    before, after = manifest.read(sample), manifest.read(tmp_path / "out")
    assert before.content_hash == after.content_hash
    assert before.files == after.files[: len(before.files)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("messages/train-00000-of-00001.parquet", "messages"),
        ("packs/train-900.parquet", "packs"),
        ("messages", None),
        ("messages2/a.parquet", None),
        ("plots/messages/a.png", None),
    ],
)
def test_the_table_of_a_path(path: str, name: str | None) -> None:
    table = tables.of_path(path)
    assert (table.name if table else None) == name


def test_shards_are_those_of_a_table_and_a_split(sample: Path) -> None:
    files = manifest.read(sample).files
    for table in tables.TABLES:
        for split in table.splits:
            assert all(
                shard.path.startswith(f"{table.name}/{split}-")
                for shard in table.shards(files, split)
            )
        shards = [shard for split in table.splits for shard in table.shards(files, split)]
        assert shards == table.shards(files)
    assert sum(len(table.shards(files)) for table in tables.TABLES) == len(files)


def test_only_tables_know_where_shards_are() -> None:
    """A path of a shard that is written out elsewhere would miss an added table."""
    root = Path(__file__).parents[2]
    folders = "|".join(table.name for table in tables.TABLES)
    written = re.compile(rf"[\"'](?:{folders})/")
    files = [path for name in ("chatdata", "trainer") for path in (root / name).rglob("*.py")]
    places = [path.name for path in files if written.search(path.read_text())]
    assert places == []
