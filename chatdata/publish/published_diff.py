"""The change from a published version to the folder that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.hashing import sha256_pairs
from chatdata.dataset import tables
from chatdata.dataset.entries import ListedFile
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.dataset.tables import Table
from chatdata.hub.repository import Repository
from chatdata.publish.versions import Change
from chatdata.verify import recount

Columns = tuple[tuple[str, Any], ...]


def since(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Change:
    """The change from the version at `commit`, whose manifest is `before`, to a folder.

    Only ids and schemas of the published shards are fetched. The rows of the folder that were
    published before are unchanged where their content hash is that of the version.
    """
    schema = _changed_tables(repository, commit, before, folder, after)
    if before.format != after.format:
        return Change(changed=True, schema=schema)
    if before.content_hash == after.content_hash:
        return Change(schema=schema)
    ids = _ids(repository, commit, before)
    pairs = list(recount.digests(folder, after))
    kept = [pair for pair in pairs if pair[0] in ids]
    changed = len(kept) == len(ids) and sha256_pairs(kept) != before.content_hash
    return Change(len(pairs) - len(kept), len(ids) - len(kept), changed, schema)


def _ids(repository: Repository, commit: str, published: Manifest | Listing) -> set[str]:
    """The ids of the conversations of a published version."""
    shards = tables.MESSAGES.shards(published.files)
    columns = (repository.columns(shard.path, commit, ["id"]) for shard in shards)
    return {id for table in columns for id in table["id"].to_pylist()}


def _changed_tables(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> tuple[str, ...]:
    """The tables whose columns changed, or that the folder does not have."""
    return tuple(
        table.name
        for table in tables.loadable()
        if (old := _first(before, table)) is not None
        and not _has_same_columns(repository, commit, old, folder, _first(after, table))
    )


def _has_same_columns(
    repository: Repository,
    commit: str,
    old: ListedFile,
    folder: Path,
    new: ListedFile | None,
) -> bool:
    if new is None or old.sha256 == new.sha256:
        return new is not None
    before = repository.schema(old.path, commit)
    return columns(before) == columns(pq.read_schema(folder / new.path))


def _first(described: Manifest | Listing, table: Table) -> ListedFile | None:
    """The first shard of a table, or None without a shard."""
    files: Sequence[ListedFile] = described.files
    return next(iter(table.shards(files)), None)


def columns(schema: pa.Schema) -> Columns:
    """The names and types of columns as a reader sees them, without Parquet's nullability."""
    return tuple((field.name, _kind(field.type)) for field in schema)


def _kind(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return tuple((field.name, _kind(field.type)) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return ("list", _kind(kind.value_type))
    return "string" if pa.types.is_large_string(kind) else str(kind)
