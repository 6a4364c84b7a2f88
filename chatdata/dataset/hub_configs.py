"""What the tables of a dataset are called where it is published: the configs of a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chatdata.dataset.manifest import Manifest
from chatdata.dataset.shards import MESSAGES, TOKENS
from chatdata.render.entries import RenderEntry
from chatdata.render.templates import TEMPLATES

DEFAULT = "messages"
_TOKEN_BYTES = 4 * 3  # input_ids, attention_mask and labels, of int32


@dataclass(frozen=True, slots=True)
class Config:
    """A table: its name in `load_dataset`, the folder of its shards, its columns, and for each
    split that has any, the rows and the bytes of their data."""

    name: str
    folder: str
    schema: pa.Schema
    rows: dict[str, int]
    bytes: dict[str, int]

    def pattern(self, split: str) -> str:
        """Matches the shards of a split."""
        return f"{self.folder}/{split}-*.parquet"


def of(manifest: Manifest) -> list[Config]:
    """The configs of a dataset: messages, and tokens where it is rendered."""
    splits = {name: split for name, split in manifest.splits.items() if split.rows}
    rows = {name: split.rows for name, split in splits.items()}
    size = {name: split.bytes for name, split in splits.items()}
    messages = Config(DEFAULT, "messages", MESSAGES, rows, size)
    if manifest.render is None:
        return [messages]
    rows = {name: split.token_rows for name, split in splits.items()}
    size = {name: split.tokens * _TOKEN_BYTES for name, split in splits.items()}
    return [messages, Config(tokens(manifest.render), "tokens", TOKENS, rows, size)]


def tokens(render: RenderEntry) -> str:
    """The name of the config of tokens: `tokens-` and what the template calls its rows."""
    name = render.template.name
    if name in TEMPLATES:
        name = TEMPLATES[name].label(render.tokenizer.name)
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
    return f"tokens-{slug or 'tokenizer'}"


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns of a table as the YAML of a dataset card has them.

    With them `datasets` reads every shard as the same types, whatever wrote it.
    """
    return [_feature(column) for column in schema]


def _feature(column: pa.Field) -> dict[str, Any]:
    if not pa.types.is_list(column.type):
        return {"name": column.name, "dtype": str(column.type)}
    inner = column.type.value_type
    if pa.types.is_struct(inner):
        return {"name": column.name, "list": [_feature(own) for own in inner]}
    return {"name": column.name, "list": str(inner)}
