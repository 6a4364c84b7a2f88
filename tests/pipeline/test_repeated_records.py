"""Records that say the same: all are kept, unless the recipe leaves repeats out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import read_manifest
from chatdata.dataset import reader
from tests.support.builds import files, make, rows_of

RECIPE = """\
name: repeats
version: "1.0.0"
source: {jsonl: {}}
max_dropped: 1
"""
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org"}}]}
ANSWER = {"role": "assistant", "content": "A dog."}


def talk(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, ANSWER]}


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def ids(folder: Path) -> list[str]:
    return sorted(row["id"] for row in rows_of(folder))


@pytest.mark.parametrize("settings", [(), ("drop=[duplicate]",)])
def test_equal_records_without_ids_stay_unless_duplicates_are_dropped(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    data = write(tmp_path / "a.jsonl", [talk("q")] * 3)
    folder = make(tmp_path, RECIPE, data, "built", *settings)
    counts = read_manifest(folder).counts.conversations
    kept = 1 if settings else 3
    assert (counts.kept, counts.dropped) == (kept, {"duplicate": 2} if settings else {})
    (single,) = ids(make(tmp_path, RECIPE, write(tmp_path / "b.jsonl", [talk("q")]), "single"))
    assert ids(folder) == [single, f"{single}-2", f"{single}-3"][:kept]


def test_repeats_stand_in_the_same_split(tmp_path: Path) -> None:
    records = [talk(f"q{number}") for number in range(40)] * 2
    folder = make(tmp_path, RECIPE, write(tmp_path / "a.jsonl", records), "built")
    rows = rows_of(folder)
    assert len(rows) == 80
    assert len({row["group"] for row in rows}) == 40


def test_ids_do_not_depend_on_order_nor_on_workers(tmp_path: Path) -> None:
    records = [talk(f"q{number}") for number in range(30)] * 2 + [talk("q3"), talk("q7")]
    built = []
    for workers, seed in ((1, 0), (2, 1)):
        random.Random(seed).shuffle(records)
        data = write(tmp_path / "a.jsonl", records)
        name = f"built-{workers}"
        built.append(make(tmp_path, RECIPE, data, name, workers=workers))
    first, second = ({n: b for n, b in files(f).items() if n.startswith("messages")} for f in built)
    assert first == second
    assert len(ids(built[0])) == 62


@pytest.mark.parametrize("named", [{}, {"id": "x"}])
def test_what_could_not_be_read_has_its_reason_and_is_no_repeat(
    tmp_path: Path, named: dict[str, str]
) -> None:
    unread = [{**named, "messages": [IMAGE]} for _ in range(5)]
    data = write(tmp_path / "a.jsonl", [*unread, talk("q")])
    folder = make(tmp_path, RECIPE, data, "built")
    counts = read_manifest(folder).counts
    assert counts.conversations.dropped == counts.messages.dropped == {"bad_content": 5}
    dropped = reader.scan_ledger(folder).filter(pl.col("reason") == "bad_content").collect()
    assert sorted(dropped["unit"]) == ["conversation"] * 5 + ["message"] * 5
