"""A built dataset, as the trainer sees it: its manifest and its rows of tokens."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset

from chatdata import manifest
from chatdata.dataset import conversation_of
from chatdata.errors import OutputError

COLUMNS = ["input_ids", "attention_mask", "labels"]
LENGTH = "length"


def read_manifest(folder: Path) -> manifest.Manifest:
    """The manifest of a dataset with token rows. Raises OutputError where it has none."""
    facts = manifest.read(folder)
    if not facts["render"]:
        raise OutputError(
            f"'{folder}' holds messages and no tokens; build it again with "
            "--set render.tokenizer=PATH, the tokenizer of the model."
        )
    return facts


def load_tokens(folder: Path, facts: manifest.Manifest, split: str) -> Dataset | None:
    """The rows of a split: `input_ids`, `attention_mask` and `labels`, lists of int32 of one
    `length`, memory-mapped. None where the split has no rows.

    Nothing is tokenised here: the rows are used as they were certified.
    """
    prefix = f"tokens/{split}-"
    paths = [own["path"] for own in facts["files"] if own["path"].startswith(prefix)]
    if not paths:
        return None
    files = [str(folder / path) for path in paths]
    rows = load_dataset("parquet", data_files={split: files}, split=split)
    expected = facts["splits"][split].get("token_rows", facts["splits"][split]["rows"])
    if len(rows) != expected:
        raise OutputError(
            f"'{folder}' has {len(rows)} {split} rows and its manifest says {expected}; "
            "build it again."
        )
    return rows.select_columns([*COLUMNS, LENGTH])


class Lists:
    """A column of lists of int32, row by row as arrays, none of them copied."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self.firsts = [0, *accumulate(len(chunk) for chunk in chunks)]
        self.chunks = [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in chunks]

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        own = bisect_right(self.firsts, row) - 1
        offsets, values = self.chunks[own]
        at = row - self.firsts[own]
        return values[offsets[at] : offsets[at + 1]]


def load_groups(folder: Path, facts: manifest.Manifest, split: str) -> list[str]:
    """The group of each row of tokens of a split, in order: the tree that it comes from."""
    group = dict(zip(*_strings(folder, facts, f"messages/{split}-", ["id", "group"]), strict=True))
    (rows,) = _strings(folder, facts, f"tokens/{split}-", ["id"])
    return [group[row if row in group else conversation_of(row)] for row in rows]


def _strings(
    folder: Path, facts: manifest.Manifest, prefix: str, columns: list[str]
) -> list[list[str]]:
    paths = [folder / own["path"] for own in facts["files"] if own["path"].startswith(prefix)]
    table = pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])
    return [table[name].to_pylist() for name in columns]


def describe(facts: manifest.Manifest) -> dict[str, Any]:
    """What a model should say of the data it was trained on."""
    keys = ("name", "version", "content_hash", "recipe_hash", "license", "splits")
    render = facts["render"]
    return {
        **{key: facts[key] for key in keys},
        "template": render["template"]["name"],
        "stop": render["template"]["stop"],
        "train_on": render["train_on"],
        "max_tokens": render["max_tokens"],
    }
