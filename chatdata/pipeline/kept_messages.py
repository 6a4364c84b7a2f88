"""The messages of a folder that is rendered again: taken over as they are where none goes.

A piece whose conversations would be written as they stand in the folder is not written at once.
If all pieces are like that, the shards are copied, and hashed; else they are made anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.constants import SPLITS
from chatdata.core.hashing import sha256_file
from chatdata.dataset import manifest, shards, tables
from chatdata.dataset.entries import ShardEntry
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import pieces
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.pieces import Folder, Piece

_TABLE = tables.MESSAGES
_WRITE_SHARDS = ("polars", "pyarrow")  # packages that affect the bytes of shards


def are_kept(
    context: BuildContext, described: Manifest, stored: pl.DataFrame, rows: pa.Table
) -> bool:
    """Whether conversations, made to rows of messages, are what stands in the shards of a folder
    with this manifest, and whether its shards are those that would be written now."""
    schema = _TABLE.schema_with(context.columns)
    if not _are_written_alike(described) or stored.columns != schema.names:
        return False
    return bool(_as_arrow(stored, schema).equals(_TABLE.complete(rows, schema)))


def _are_written_alike(described: Manifest) -> bool:
    """Whether this chatdata writes the same rows into the same files as the one that wrote the
    folder."""
    written_by = manifest.versions(_WRITE_SHARDS)
    is_same = all(described.versions.get(name) == used for name, used in written_by.items())
    return is_same and described.format == manifest.FORMAT and _are_named_alike(described)


def _are_named_alike(described: Manifest) -> bool:
    """Whether the shards of messages have the names that they get."""
    named = [file.path for file in _TABLE.shards(described.files)]
    numbers = {split: len(_TABLE.shards(described.files, split)) for split in SPLITS}
    return named == [
        f"{_TABLE.name}/{shards.name(split, shard, number)}"
        for split, number in numbers.items()
        for shard in range(number)
    ]


def _as_arrow(stored: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return stored.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


class KeptMessages:
    """Puts the messages of pieces among the shards of a writer, in their order, or copies them."""

    def __init__(self, context: BuildContext, folder: Folder, writer: OutputWriter) -> None:
        self._context, self._folder, self._writer = context, folder, writer
        self._waiting: list[Piece] = []  # pieces that stand in the folder as they would be written
        self._has_changed = False

    def add(self, piece: Piece) -> None:
        """Adds a piece after those that were added before: to be called before the writer gets it.

        A piece that has changed has a file of its messages.
        """
        file = self._context.files.table(_TABLE.part(piece.split), piece.number)
        if not file.is_file():
            self._waiting.append(piece)
        self._has_changed |= file.is_file()
        if self._has_changed:
            self._write_waiting()

    def copied_to(self, out: Path) -> tuple[ShardEntry, ...]:
        """The entries of the shards, copied to the folder `out`.

        None where a piece has changed, or where a file is not the one that the manifest names: the
        writer has all pieces then.
        """
        if self._has_changed or not self._copy(out):
            self._write_waiting()
            return ()
        files = _TABLE.shards(self._folder.manifest.files)
        rows = {file.path: pq.read_metadata(out / file.path).num_rows for file in files}
        return tuple(
            ShardEntry(path=file.path, sha256=file.sha256, rows=rows[file.path]) for file in files
        )

    def _copy(self, out: Path) -> bool:
        """Copies the shards. Returns whether each is the file that the manifest names."""
        (out / _TABLE.name).mkdir()
        for file in _TABLE.shards(self._folder.manifest.files):
            shutil.copyfile(self._folder.path / file.path, out / file.path)
            if sha256_file(out / file.path) != file.sha256:
                shutil.rmtree(out / _TABLE.name)
                return False
        return True

    def _write_waiting(self) -> None:
        """Gives the writer the pieces that wait, as they stand in the folder."""
        for piece in self._waiting:
            self._writer.add_rows(_TABLE, piece.split, self._stored(piece))
        self._waiting = []

    def _stored(self, piece: Piece) -> pa.Table:
        stored = pieces.conversations(self._folder, piece)
        return _as_arrow(stored, _TABLE.schema_with(self._context.columns))
