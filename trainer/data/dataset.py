"""A built dataset for the trainer: its manifest and its rows of tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset

from chatdata.core import arrow, row_id
from chatdata.core.errors import OutputError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import manifest as manifests
from chatdata.dataset import renderings, tables
from chatdata.dataset.entries import FileEntry, ShardEntry
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.renderings import Rendering
from chatdata.dataset.schemas import WEIGHTS
from trainer.data import published

COLUMNS = ["input_ids", "attention_mask", "labels"]
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset to train on: its folder, its manifest, the rendering of its rows, and its published
    version, if it has one."""

    folder: Path
    manifest: Manifest
    rendering: Rendering
    provenance: Mapping[str, Any] | None = None
    origin: str = ""  # the folder or the published version, as text


def find(dataset: str, allow_moving: bool = False, rendering: str | None = None) -> Source:
    """The dataset that a train recipe names: a folder, or `org/name@1.2.0` on the Hub.

    `rendering` names an added rendering; None stands for the tokens of the build. Raises
    OutputError for a dataset without such rows of tokens, and a ChatdataError for a dataset that
    does not exist or, unless `allow_moving`, for a branch.
    """
    located = published.locate(dataset, allow_moving)
    manifest = manifests.read(located.folder)
    if manifest.render is None and not manifest.renders:
        raise OutputError(
            f"'{located.folder}' holds messages and no tokens; build it again with "
            "--set render.tokenizer=PATH, the tokenizer of the model."
        )
    chosen = renderings.of(manifest, rendering)
    return Source(located.folder, manifest, chosen, located.provenance, str(located))


def load_tokens(folder: Path, rendering: Rendering, split: str) -> Dataset | None:
    """The rows of a rendering: `input_ids`, `attention_mask` and `labels`, lists of int32 of one
    `length`, memory-mapped; and `weights`, where the dataset has any. None where the split has no
    rows.

    Nothing is tokenised here: the rows are used as the build certified them.
    """
    paths = token_files(rendering, split)
    if not paths:
        return None
    files = [str(folder / path) for path in paths]
    rows = load_dataset("parquet", data_files={split: files}, split=split)
    expected = token_rows(rendering, split)
    if len(rows) != expected:
        raise OutputError(
            f"'{folder}' has {len(rows)} {split} rows and its manifest lists {expected}; build the "
            "dataset again."
        )
    weights = [WEIGHTS] if WEIGHTS in rows.column_names else []
    return rows.select_columns([*COLUMNS, *weights, LENGTH])


def token_files(rendering: Rendering, split: str) -> list[str]:
    """The paths of the files with a split's rows of tokens, in order."""
    return [shard.path for shard in rendering.shards_of(split)]


def token_rows(rendering: Rendering, split: str) -> int:
    """How many rows of tokens a split has, by the manifest."""
    entry = rendering.splits.get(split)
    return entry.token_rows if entry else 0


def train_rows(source: Source) -> Dataset:
    """The rows to train on, with their `length`. Raises OutputError for a dataset without any."""
    rows = load_tokens(source.folder, source.rendering, "train")
    if rows is None:
        raise OutputError(
            f"'{source.folder}' has no train rows; build it with a smaller test split."
        )
    return rows


def test_rows(source: Source) -> Dataset | None:
    """The rows of the test split, not packed; None for a dataset without a test split."""
    rows = load_tokens(source.folder, source.rendering, "test")
    return None if rows is None else rows.select_columns(COLUMNS)


def lengths(rows: Dataset) -> npt.NDArray[np.int32]:
    """The number of tokens of each row, from its column, which is read as a whole."""
    return arrow.numbers(rows.data.column(LENGTH))


class Lists:
    """A column of lists of int32, row by row as arrays that are views of the column."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self.firsts = [0, *accumulate(len(chunk) for chunk in chunks)]
        self.chunks = [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in chunks]

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        chunk = bisect_right(self.firsts, row) - 1
        offsets, values = self.chunks[chunk]
        at = row - self.firsts[chunk]
        return values[offsets[at] : offsets[at + 1]]

    def sizes(self) -> npt.NDArray[np.int32]:
        """The numbers that each list has."""
        sizes = [np.diff(offsets) for offsets, _ in self.chunks]
        return np.concatenate([np.empty(0, np.int32), *sizes])

    def flat(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
        """The lists of some rows, which ascend, end to end."""
        bounds = np.searchsorted(rows, self.firsts).tolist()
        parts = [np.empty(0, np.int32)]
        for chunk in np.flatnonzero(np.diff(bounds)).tolist():
            at = rows[bounds[chunk] : bounds[chunk + 1]] - self.firsts[chunk]
            parts.append(_end_to_end(*self.chunks[chunk], at))
        return np.concatenate(parts)


def _end_to_end(
    offsets: npt.NDArray[Any], values: npt.NDArray[np.int32], rows: npt.NDArray[Any]
) -> npt.NDArray[np.int32]:
    starts, stops = offsets[rows], offsets[rows + 1]
    if (starts[1:] == stops[:-1]).all():
        return values[starts[0] : stops[-1]]
    sizes = stops - starts
    ends = np.cumsum(sizes)
    return values[np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])]


def load_groups(
    folder: Path, manifest: Manifest, rendering: Rendering, split: str
) -> npt.NDArray[np.integer[Any]]:
    """A number for each row of tokens of a split, in order: rows of the same number are of one
    group, which is the tree that they come from."""
    shards = tables.MESSAGES.shards(manifest.files, split)
    groups = numbered(_strings(folder, shards, "group"))
    rows = _strings(folder, rendering.shards_of(split), "id")
    return groups[conversations_of(rows, _strings(folder, shards, "id"))]


def numbered(texts: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """A number for each text, the same for texts that are the same."""
    numbers = arrow.numbers(texts.dictionary_encode().combine_chunks().indices)
    pa.default_memory_pool().release_unused()  # what the texts took, before more is taken
    return numbers


def conversations_of(
    rows: pa.ChunkedArray, conversations: pa.ChunkedArray
) -> npt.NDArray[np.int32]:
    """Where the conversation of each row stands, by the ids of rows and of conversations.

    Raises OutputError for a row of no conversation.
    """
    if rows.equals(conversations):
        return np.arange(len(rows), dtype=np.int32)
    known = conversations.combine_chunks()
    at = pc.index_in(rows, value_set=known)
    if at.null_count:
        whole = pc.replace_substring_regex(rows, pattern=row_id.SPAN_AT_END, replacement="")
        at = pc.coalesce(at, pc.index_in(whole, value_set=known))
    if at.null_count:
        lost = rows.filter(pc.is_null(at))[0].as_py()
        raise OutputError(f"row '{lost}' is of no conversation; build the dataset again.")
    pa.default_memory_pool().release_unused()
    return arrow.numbers(at)


def _strings(folder: Path, shards: list[ShardEntry], column: str) -> pa.ChunkedArray:
    parts = [pq.read_table(folder / shard.path, columns=[column])[column] for shard in shards]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())


# ------------------------------------------------------------------------------------- proof


def check_files(source: Source) -> str:
    """Raises OutputError where a file that is trained on is not the file that was built.

    Compared by the manifest's hashes are the rows of tokens, the tokenizer and its chat template.
    Returns a line that says how many files were compared.
    """
    rendering = source.rendering
    entries: list[FileEntry] = [*rendering.shards, *rendering.tokenizer_files]
    check_hashes(source.folder, entries)
    return f"{len(entries)} files of tokens and tokenizer are those of the manifest"


def check_hashes(folder: Path, entries: Sequence[FileEntry]) -> None:
    """Raises OutputError where a file of a folder is not there, or has another hash."""
    for entry in entries:
        path = folder / entry.path
        if not path.is_file() or sha256_file(path) != entry.sha256:
            raise OutputError(
                f"'{path}' is not the file that the manifest names; build the dataset again."
            )


# ------------------------------------------------------------------------------- for the model


def _added(rendering: Rendering) -> dict[str, str] | None:
    """What `chatdata.json` says of an added rendering; None for that of the build."""
    if rendering.name is None:
        return None
    return {"name": rendering.name, "content_hash": rendering.content_hash}


def describe(source: Source) -> dict[str, Any]:
    """The part of `chatdata.json` about the data: what it is, and where it was published."""
    manifest, rendering, render = source.manifest, source.rendering, source.rendering.entry
    return {
        "name": manifest.name,
        "version": manifest.version,
        "content_hash": manifest.content_hash,
        "recipe_hash": manifest.recipe_hash,
        "license": manifest.license,
        "rendering": _added(rendering),
        "splits": rendering.splits.as_json(),
        "template": render.template.name,
        "stop": render.template.stop,
        "stop_ids": list(render.tokenizer.stop_ids),
        "generation_prompt": render.template.generation_prompt,
        "chat_template": render.template.jinja,
        "template_sha256": render.certificate.template_sha256,
        "tokenizer_sha256": render.certificate.tokenizer_sha256,
        "train_on": render.learnt,
        "max_tokens": render.max_tokens,
        "weighted_messages": manifest.weighted_messages,
        "provenance": dict(source.provenance) if source.provenance else None,
    }
