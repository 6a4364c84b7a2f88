"""Rows that chatdata has published, as the source of another build."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from chatdata import build_dataset, load_recipe

RECIPE = """
name: again
version: 1.0.0
source:
  first: {{format: jsonl, files: [{folder}/first.jsonl]{cap}}}
  second: {{format: jsonl, files: [{folder}/second.jsonl]}}
"""


def published(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"talks/{number}_0",
            "group": f"talks/{number}",
            "source": "talks" if number % 2 else "letters",
            "lang": "en",
            "messages": [
                {"role": "user", "content": f"What is {number}?"},
                {"role": "assistant", "content": "A number.", "train": False},
                {"role": "user", "content": "Which?"},
                {"role": "assistant", "content": f"{number}", "train": True},
            ],
        }
        for number in numbers
    ]


def build(folder: Path, *files: list[dict[str, Any]], cap: str = "") -> tuple[Any, pl.DataFrame]:
    for name, rows in zip(("first", "second"), files, strict=True):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, cap=cap))
    manifest = build_dataset(load_recipe(folder / "recipe.yaml"), folder / "out")
    return manifest.as_json(), pl.read_parquet(folder / "out" / "messages" / "*.parquet")


def test_ids_groups_and_sources_stay_and_a_conversation_of_two_sources_is_kept_once(
    tmp_path: Path,
) -> None:
    manifest, rows = build(tmp_path, published(range(6)), published(range(4, 9)))
    names = ["id", "group", "source", "lang"]
    expected = [tuple(row[name] for name in names) for row in published(range(9))]
    assert sorted(rows.select(names).rows()) == sorted(expected)
    counts = manifest["counts"]["conversations"]
    assert counts == {"read": 11, "kept": 9, "dropped": {"duplicate_id": 2}}
    assert [(share["source"], share["rows"]) for share in manifest["shares"]] == [
        ("first", 6),
        ("second", 3),
    ]


def test_a_cap_is_of_the_recipe_s_source_whatever_the_rows_call_theirs(tmp_path: Path) -> None:
    files = published(range(6)), published(range(6, 9))
    manifest, rows = build(tmp_path, *files, cap=", cap: 2")
    assert [share["rows"] for share in manifest["shares"]] == [2, 3]
    assert rows.height == 5
