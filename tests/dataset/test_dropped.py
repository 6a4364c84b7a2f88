"""The words of what was dropped: all of them, in a folder that stays on this machine."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from chatdata import add_rendering
from chatdata.core import ledger
from chatdata.dataset import dropped, layout, reader, shards, tables
from chatdata.pipeline import prepare
from chatdata.verify import rebuild
from chatdata.verify.verification import unknown_files, verdicts_on
from tests.support.builds import TALKS, TREES, files, make, talk_file, tree_file

KEEP = "keep=[sharegpt/c10_1, 'sharegpt/c16_1#0', sharegpt/c24_0]"
SHARD = "dropped/dropped-00000-of-00001.parquet"
TOLD_TWICE = ["unit", "id", "conversation", "reason", "detail", "source"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A build of trees and one of conversations, both of several parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "PART_BYTES", 30_000)
        trees, talks = (tmp_path_factory.mktemp(name) for name in ("trees", "talks"))
        return {
            "trees": make(trees, TREES, tree_file(trees), "out"),
            "talks": make(talks, TALKS, talk_file(talks), "out", KEEP),
        }


BUILDS = ["trees", "talks"]


@pytest.mark.parametrize("name", BUILDS)
def test_a_row_for_each_row_of_the_ledger(built: dict[str, Path], name: str) -> None:
    rows = dropped.scan(built[name]).select(TOLD_TWICE).collect()
    listed = reader.scan_ledger(built[name]).filter(outcome="dropped").select(TOLD_TWICE).collect()
    assert rows.height > 100
    assert rows.sort(TOLD_TWICE).equals(listed.sort(TOLD_TWICE))


def texts_of(record: object) -> list[str]:
    """All texts that a file of trees or conversations says."""
    if isinstance(record, list):
        return [text for item in record for text in texts_of(item)]
    if not isinstance(record, dict):
        return []
    spoken = [record[key] for key in ("text", "value") if isinstance(record.get(key), str)]
    return spoken + [text for value in record.values() for text in texts_of(value)]


@pytest.mark.parametrize("name", BUILDS)
def test_every_text_is_published_or_held(built: dict[str, Path], name: str) -> None:
    out = built[name]
    if name == "trees":
        lines = (out.parent / "trees.jsonl").read_text().splitlines()
        spoken = texts_of([json.loads(line) for line in lines if line != "{bad"])
    else:
        spoken = texts_of(json.loads((out.parent / "talks.json").read_text() + "]"))
    rows = reader.scan(out, "messages").collect()
    published = {turn["content"] for turns in rows["messages"] for turn in turns}
    held = dropped.scan(out).filter(unit="message").collect()
    assert len(spoken) > 200
    assert set(spoken) == published | set(held["content"])
    assert set(held["role"]) <= {"user", "assistant", "system"}
    assert held["place"].str.contains(r"^t(rees|alks)\.json").all()


@pytest.fixture
def several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes builds of as many parts as those of `built` have."""
    monkeypatch.setattr(prepare, "PART_BYTES", 30_000)


@pytest.mark.slow
@pytest.mark.usefixtures("several_parts")
def test_it_is_the_same_by_any_number_of_workers(built: dict[str, Path]) -> None:
    folder = built["talks"].parent
    again = make(folder, TALKS, folder / "talks.json", "again", KEEP, workers=2)
    assert files(again) == files(built["talks"])


@pytest.mark.slow
@pytest.mark.usefixtures("several_parts")
def test_it_changes_nothing_that_is_published(built: dict[str, Path]) -> None:
    folder = built["trees"].parent
    without = make(folder, TREES, folder / "trees.jsonl", "without", keep_dropped=False)
    text = (built["trees"] / "manifest.json").read_text()
    assert "dropped/" not in text
    assert not layout.has(SHARD)
    assert not dropped.is_in(without)
    assert files(without) == {
        name: content for name, content in files(built["trees"]).items() if name != SHARD
    }


@pytest.mark.slow
def test_shards_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(tmp_path, TALKS, talk_file(tmp_path), "whole")
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    out = make(tmp_path, TALKS, tmp_path / "talks.json", "many")
    assert len(list((out / "dropped").iterdir())) > 2
    assert dropped.scan(out).collect().equals(dropped.scan(whole).collect())
    assert not [verdict for verdict in verdicts_on(out) if verdict.outcome != "ok"]


# -------------------------------------------------------------------------------- what was not read

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
GOOD = {"id": "good", "messages": TURNS}
RECORDS = "name: n\nversion: 1.0.0\nsource: {jsonl: {}}\nmax_dropped: 1\n"


def held(folder: Path, content: bytes, name: str) -> list[tuple[str, str, str | None]]:
    """Reason, place and text of what a file with this content has that cannot be read."""
    (folder / name).write_bytes(content)
    out = make(folder, RECORDS, folder / name, "out")
    rows = dropped.scan(out).select("reason", "place", "content").collect()
    return rows.rows()


def test_a_damaged_record_is_held_as_it_stands(tmp_path: Path) -> None:
    unknown = {"body": "tea \u00e9", "of": 3}
    choice = {"prompt": "a", "chosen": "b", "rejected": "c"}
    values = [json.dumps(GOOD), "{broken \u00e9", json.dumps(unknown), json.dumps(choice)]
    values += ['{"id": "e", "messages": []}', "[1, 2"]
    assert held(tmp_path, "\n".join(values).encode(), "a.jsonl") == [
        ("bad_json", "a.jsonl:2", "{broken \u00e9"),
        ("unknown_record", "a.jsonl:3", '{"body": "tea \u00e9", "of": 3}'),
        ("preference", "a.jsonl:4", json.dumps(choice)),
        ("no_turns", "a.jsonl:5", '{"id": "e", "messages": []}'),
        ("bad_json", "a.jsonl:6", "[1, 2"),
    ]


def test_of_a_stretch_of_an_array_the_damage_is_held(tmp_path: Path) -> None:
    array = f'[{json.dumps(GOOD)}, {{"id": 3, oh \xff}}, {json.dumps({**GOOD, "id": "h"})}]'
    ((reason, place, text),) = held(tmp_path, array.encode("latin-1"), "a.json")
    start = len(json.dumps(GOOD)) + 3
    assert (reason, place) == ("bad_json", f"a.json@{start}")
    assert text is not None
    assert text.startswith('{"id": 3, oh \ufffd}')
    assert "Hello" not in text


def test_of_a_long_record_the_beginning_is_held(tmp_path: Path) -> None:
    lines = [json.dumps(GOOD), "{" + "x" * 100_000, json.dumps({"body": "y" * 100_000})]
    rows = held(tmp_path, "\n".join(lines).encode(), "a.jsonl")
    assert [(len(text or ""), (text or "")[-1]) for *_, text in rows] == [(65_537, "\u2026")] * 2


def test_what_nobody_can_read_has_a_place_and_no_words(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(GOOD).encode() + b"\n" + b'{"id": "cut' * 200)
    rows = held(tmp_path, packed[:-9], "a.jsonl.gz")
    assert [(reason, text) for reason, _, text in rows] == [("damaged", None)]


# --------------------------------------------------------------------------------------- a folder


@pytest.fixture
def folder(built: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(built["trees"], tmp_path / "copy"))


def failed(folder: Path) -> dict[str, str]:
    return {v.check: v.problems[0] for v in verdicts_on(folder) if v.outcome == "failed"}


@pytest.mark.slow
def test_a_folder_is_sound_with_it_and_without(folder: Path) -> None:
    assert failed(folder) == {}
    assert unknown_files(folder) == []
    assert "dropped" in {verdict.check for verdict in verdicts_on(folder)}
    shutil.rmtree(folder / "dropped")
    assert failed(folder) == {}
    assert "dropped" not in {verdict.check for verdict in verdicts_on(folder)}


def _less(rows: pl.DataFrame) -> pl.DataFrame:
    return rows[1:]


def _more(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows[:1].with_columns(id=pl.lit("nobody"))])


def _other(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(detail=pl.lit("for no reason"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_less, "was dropped, but its row is missing"),
        (_more, "dropped: 'nobody' was dropped, but the ledger does not say so"),
        (_other, "dropped: its rows are not those of the ledger"),
    ],
)
def test_verify_names_rows_that_are_not_the_ledgers(
    folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame], words: str
) -> None:
    rows = change(pl.read_parquet(folder / SHARD)).to_arrow().cast(tables.DROPPED.schema)
    pq.write_table(rows, folder / SHARD, store_schema=False)
    problems = list(dropped.problems(folder))
    assert any(words in problem for problem in problems)
    assert problems[-1] == "dropped: its rows are not those of the ledger"


def test_verify_names_bytes_and_columns_that_are_wrong(folder: Path) -> None:
    (folder / SHARD).write_bytes(b"PAR1 no")
    assert "is not a Parquet file" in next(dropped.problems(folder))
    pl.DataFrame({"a": [1]}).write_parquet(folder / SHARD)
    problem = f"{SHARD}: does not have the columns of dropped"
    assert list(dropped.problems(folder)) == [problem]
    assert failed(folder) == {"dropped": problem}


@pytest.mark.slow
def test_a_build_over_it_leaves_nothing_of_the_old(folder: Path) -> None:
    source = folder.parent / "trees.jsonl"
    tree_file(folder.parent)
    (folder / "dropped" / "notes.txt").write_text("mine")
    (folder / "dropped" / "dropped-00007-of-00009.parquet").write_bytes(b"old")
    out = make(folder.parent, TREES, source, "copy", keep_dropped=False)
    assert [path.name for path in (out / "dropped").iterdir()] == ["notes.txt"]
    out = make(folder.parent, TREES, source, "copy")
    assert sorted(path.name for path in (out / "dropped").iterdir()) == [
        Path(SHARD).name,
        "notes.txt",
    ]
    assert unknown_files(out) == ["dropped/notes.txt"]


@pytest.mark.slow
def test_a_rendering_that_is_added_leaves_it_as_it_is(folder: Path) -> None:
    before = (folder / SHARD).read_bytes()
    add_rendering(folder, tokenizer="bytes", template="chatml", name="c")
    assert (folder / SHARD).read_bytes() == before
    assert failed(folder) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("several_parts")
def test_a_rebuild_compares_it_where_it_is_there(folder: Path) -> None:
    data = [str(tree_file(folder.parent))]
    assert rebuild.problems(folder, inputs=data) == []
    shutil.rmtree(folder / "dropped")
    assert rebuild.problems(folder, inputs=data) == []


def test_nothing_dropped_makes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD))
    out = make(tmp_path, RECORDS, tmp_path / "a.jsonl", "out")
    assert not (out / "dropped").exists()
    assert dropped.scan(out).collect().is_empty()


def test_a_row_is_one_of_the_ledger_with_its_words() -> None:
    assert set(ledger.DROPPED) == {*ledger.SCHEMA, *ledger.WORDS} - {"outcome"}
    assert list(ledger.DROPPED)[: len(TOLD_TWICE)] == TOLD_TWICE
