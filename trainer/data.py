"""A built dataset, as the trainer sees it: its manifest and its rows of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from chatdata import manifest
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


def describe(
    facts: manifest.Manifest, provenance: dict[str, str | None] | None = None
) -> dict[str, Any]:
    """What a model should say of the data it was trained on, and where that was published."""
    keys = ("name", "version", "content_hash", "recipe_hash", "license", "splits")
    render = facts["render"]
    return {
        **{key: facts[key] for key in keys},
        "template": render["template"]["name"],
        "stop": render["template"]["stop"],
        "train_on": render["train_on"],
        "max_tokens": render["max_tokens"],
        "provenance": provenance,
    }
