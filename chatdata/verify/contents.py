"""The rows of a finished folder by what is in them, as the content hash sees them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import row_id
from chatdata.dataset import manifest
from chatdata.dataset.manifest import Manifest
from chatdata.steps.split import SPLITS


def shards(facts: Manifest, kind: str, split: str) -> list[str]:
    """The shards of one kind (`messages` or `tokens`) and split, in order."""
    prefix = f"{kind}/{split}-"
    return [own["path"] for own in facts.get("files", []) if own["path"].startswith(prefix)]


def digests(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the id of each conversation with a SHA-256 of its split, messages and tokens.

    These are the pairs that `content_hash` is made from. A row group is held at a time.
    """
    facts = manifest.read(folder)
    for split in SPLITS:
        tokens = _Tokens(folder, shards(facts, "tokens", split))
        for batch in _batches(folder, shards(facts, "messages", split), None):
            for row in batch.to_pylist():
                digest = hashlib.sha256(orjson.dumps([split, list(row.values())]))
                for part in tokens.of(row["id"]):
                    digest.update(part)
                yield row["id"], digest.digest()


class _Tokens:
    """The rows of tokens of a split, taken conversation by conversation, in their order."""

    def __init__(self, folder: Path, paths: list[str]) -> None:
        self._rows = self._read(folder, paths)
        self._next = next(self._rows, None)

    def of(self, conversation: str) -> list[bytes]:
        """The bytes of the ids of a conversation's rows, then of their labels.

        It has one row of its own name, or several that are named for the turns they teach.
        """
        several = []
        while self._next is not None and row_id.is_row_of(self._next[0], conversation):
            several.append(self._next)
            self._next = next(self._rows, None)
            if several[-1][0] == conversation:
                break
        return [own[1] for own in several] + [own[2] for own in several]

    @staticmethod
    def _read(folder: Path, paths: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
        for batch in _batches(folder, paths, ["id", "input_ids", "labels"]):
            lists = [_bytes(batch[name]) for name in ("input_ids", "labels")]
            yield from zip(batch["id"].to_pylist(), *lists, strict=True)


def _bytes(column: pa.ListArray) -> list[bytes]:
    """The bytes of the values of each row of a column of lists of int32."""
    values = column.values.to_numpy().astype(np.int32, copy=False)
    pairs = itertools.pairwise(column.offsets.to_pylist())
    return [values[start:end].tobytes() for start, end in pairs]


def _batches(folder: Path, paths: list[str], columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    for path in paths:
        yield from pq.ParquetFile(folder / path).iter_batches(1024, columns=columns)
