"""Answers that carry flags beside their words (weights, parts): built, compared, forged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata import read_manifest
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, manifest
from chatdata.verify import recount
from chatdata.verify.dataset_diff import between
from chatdata.verify.verification import verdicts_on
from tests.support.builds import make, rows_of
from tests.support.published import as_input

Flags = dict[str, Any]
Given = Sequence[Sequence[Flags]]  # what is beside the words of the answers of each conversation

RECIPE = """
name: flagged
version: 1.0.0
source: {jsonl: {license: cc0-1.0}}
split: {test_percent: %d}
render: {tokenizer: bytes, template: chatml}
max_dropped: 1.0
"""
SPLIT, WHOLE = RECIPE % 40, RECIPE % 0


def records(given: Given, asks: str, says: str) -> list[dict[str, Any]]:
    """Conversations whose questions are `asks`, and whose answers are `says`, by their numbers."""
    return [
        {"id": f"t/{number}", "messages": [*_turns(number, answers, asks, says)]}
        for number, answers in enumerate(given)
    ]


def _turns(number: int, answers: Sequence[Flags], asks: str, says: str) -> Iterator[Flags]:
    for turn, flags in enumerate(answers):
        yield {"role": "user", "content": asks.format(f"{number}-{turn}")}
        yield {"role": "assistant", "content": says.format(turn), **flags}


def built(
    folder: Path,
    talks: Sequence[dict[str, Any]],
    *settings: str,
    recipe: str = WHOLE,
    out: str = "out",
) -> Path:
    """A dataset of these records."""
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    return make(folder, recipe, folder / "talks.jsonl", out, *settings)


def by_number(folder: Path, kind: str = "messages") -> list[dict[str, Any]]:
    """The rows of a table of a dataset in the order of their ids."""
    return sorted(rows_of(folder, kind), key=lambda row: str(row["id"]))


def rows_of_rendering(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of tokens of an added rendering in the order of their ids."""
    (shard,) = (folder / f"tokens-{name}").glob("*.parquet")
    return sorted(pq.read_table(shard).to_pylist(), key=lambda row: str(row["id"]))


def changed(first: Path, second: Path) -> dict[str, int]:
    """How many rows of two datasets differ in which way; none that is 0."""
    return {key: number for key, number in between(first, second).rows.items() if number}


def check_built_again(folder: Path, way: str, tmp_path: Path) -> None:
    """Fails where a build over the published rows of a dataset changes anything."""
    again = make(tmp_path, SPLIT, as_input(folder, way, tmp_path), "again")
    assert changed(folder, again) == {"the_same": len(rows_of(folder))}
    for kind in ("messages", "tokens"):
        assert by_number(again, kind) == by_number(folder, kind)
    assert read_manifest(again).content_hash == read_manifest(folder).content_hash


def digests(folders: Sequence[Path]) -> list[dict[str, bytes]]:
    """The digests of the conversations of datasets, by id."""
    return [dict(recount.digests(folder, read_manifest(folder))) for folder in folders]


def check_second_alone_differs(folders: Sequence[Path]) -> None:
    """Fails unless datasets of two conversations have other digests of the second of them alone."""
    by_folder = digests(folders)
    first, second = sorted(by_folder[0])
    assert len({of_folder[first] for of_folder in by_folder}) == 1
    assert len({of_folder[second] for of_folder in by_folder}) == len(folders)


def merged(folder: Path, key: str, *pairs: tuple[Flags, Flags]) -> list[list[tuple[Any, ...]]]:
    """What becomes of two answers in a row with these flags: words, `train` and a key of each."""
    talks = [
        {
            "id": f"t/{number}",
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", **first},
                {"role": "assistant", "content": "b", **second},
            ],
        }
        for number, (first, second) in enumerate(pairs)
    ]
    recipe = WHOLE + "threads: {repeated_role: merge}\n"
    rows = by_number(built(folder, talks, "render=null", recipe=recipe))
    return [[(m["content"], m["train"], m[key]) for m in row["messages"][1:]] for row in rows]


def forge(folder: Path, kind: str, column: str, change: Callable[[Any], Any]) -> list[str]:
    """The checks that fail once a column was changed and the manifest agrees with all counts."""
    (path,) = (folder / kind).glob("*.parquet")
    table = pq.read_table(path)
    place, field = table.column_names.index(column), table.schema.field(column)
    values = pa.array([change(value) for value in table[column].to_pylist()], field.type)
    pq.write_table(table.set_column(place, field, values), path)
    facts = json.loads((folder / manifest.FILE).read_text())
    for file in facts["files"]:
        file["sha256"] = sha256_file(folder / file["path"])
    counted = recount.count(folder, manifest.parsed(facts))
    facts["content_hash"] = counted.content_hash()
    for key in ("weighted_messages", "messages_in_parts"):
        facts |= {key: getattr(counted, key)} if key in facts else {}
    (folder / manifest.FILE).write_text(json.dumps(facts))
    for name, text in card.pages(manifest.parsed(facts)).items():
        (folder / name).write_text(text)
    return [v.check for v in verdicts_on(folder, everything=True) if v.outcome == "failed"]
