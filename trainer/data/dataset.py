"""A built dataset, as the trainer sees it: its manifest and its rows of tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset

from chatdata.core import row_id
from chatdata.core.errors import OutputError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import manifest
from trainer.data import published

COLUMNS = ["input_ids", "attention_mask", "labels"]
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset to train on: its folder, its manifest, and where it was published, if it was."""

    folder: Path
    facts: manifest.Manifest
    provenance: Mapping[str, Any] | None = None
    origin: str = ""  # in words


def find(dataset: str, allow_moving: bool = False) -> Source:
    """The dataset that a train recipe names: a folder, or `org/name@1.2.0` on the Hub.

    Raises OutputError where it has no token rows, and a ChatdataError for what is not there or,
    unless `allow_moving`, for a branch.
    """
    located = published.locate(dataset, allow_moving)
    return Source(located.folder, read_manifest(located.folder), located.provenance, str(located))


def read_manifest(folder: Path) -> manifest.Manifest:
    """The manifest of a dataset with token rows. Raises OutputError where it has none."""
    facts = manifest.read(folder)
    if facts.render is None:
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
    paths = token_files(facts, split)
    if not paths:
        return None
    files = [str(folder / path) for path in paths]
    rows = load_dataset("parquet", data_files={split: files}, split=split)
    expected = token_rows(facts, split)
    if len(rows) != expected:
        raise OutputError(
            f"'{folder}' has {len(rows)} {split} rows and its manifest says {expected}; "
            "build it again."
        )
    return rows.select_columns([*COLUMNS, LENGTH])


def token_files(facts: manifest.Manifest, split: str) -> list[str]:
    """The paths of the files with a split's rows of tokens, in order."""
    prefix = f"tokens/{split}-"
    return [file.path for file in facts.files if file.path.startswith(prefix)]


def token_rows(facts: manifest.Manifest, split: str) -> int:
    """How many rows of tokens a split has, by the manifest."""
    entry = facts.splits.get(split)
    return entry.token_rows if entry else 0


def train_rows(source: Source) -> Dataset:
    """The rows to train on, with their `length`. Raises OutputError where there are none."""
    rows = load_tokens(source.folder, source.facts, "train")
    if rows is None:
        raise OutputError(
            f"'{source.folder}' has no train rows; build it with a smaller test split."
        )
    return rows


def test_rows(source: Source) -> Dataset | None:
    """The rows of the test split, each on its own; None where it has none."""
    rows = load_tokens(source.folder, source.facts, "test")
    return None if rows is None else rows.select_columns(COLUMNS)


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
    return [group[row if row in group else row_id.conversation_of(row)] for row in rows]


def _strings(
    folder: Path, facts: manifest.Manifest, prefix: str, columns: list[str]
) -> list[list[str]]:
    paths = [folder / file.path for file in facts.files if file.path.startswith(prefix)]
    table = pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])
    return [table[name].to_pylist() for name in columns]


# ------------------------------------------------------------------------------------- proof


def check_files(source: Source) -> str:
    """Raises OutputError where a file that is trained on is not the one that was built.

    These are the rows of tokens, the tokenizer and its chat template, by the manifest's hashes.
    Returns what was compared.
    """
    entries = [
        file
        for file in (*source.facts.files, *source.facts.extras)
        if file.path.startswith(("tokens/", "tokenizer/"))
    ]
    for file in entries:
        path = source.folder / file.path
        if not path.is_file() or sha256_file(path) != file.sha256:
            raise OutputError(
                f"'{path}' is not the file that the manifest names; build the dataset again."
            )
    return f"{len(entries)} files of tokens and tokenizer are those of the manifest"


# ------------------------------------------------------------------------------------ for people


def describe(source: Source) -> dict[str, Any]:
    """What a model should say of the data it was trained on, and where that was published."""
    facts, render = source.facts, source.facts.rendering
    return {
        "name": facts.name,
        "version": facts.version,
        "content_hash": facts.content_hash,
        "recipe_hash": facts.recipe_hash,
        "license": facts.license,
        "splits": facts.splits.as_json(),
        "template": render.template.name,
        "stop": render.template.stop,
        "stop_ids": list(render.tokenizer.stop_ids),
        "generation_prompt": render.template.generation_prompt,
        "chat_template": render.template.jinja,
        "template_sha256": render.certificate.template_sha256,
        "tokenizer_sha256": render.certificate.tokenizer_sha256,
        "train_on": render.train_on,
        "max_tokens": render.max_tokens,
        "provenance": dict(source.provenance) if source.provenance else None,
    }
