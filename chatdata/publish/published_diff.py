"""The change from a published version to the folder that follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.hashing import sha256_pairs
from chatdata.dataset.manifest import ListedFile, Listing, Manifest
from chatdata.hub.repository import Repository
from chatdata.publish.versions import Change
from chatdata.steps.split import SPLITS
from chatdata.verify import recount

KINDS = ("messages", "tokens")
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
    paths = [path for split in SPLITS for path in recount.shards(published, "messages", split)]
    tables = (repository.columns(path, commit, ["id"]) for path in paths)
    return {id for table in tables for id in table["id"].to_pylist()}


def _changed_tables(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> tuple[str, ...]:
    """The tables whose columns changed, or that the folder does not have."""
    return tuple(
        kind
        for kind in KINDS
        if (old := _first(before, kind)) is not None
        and not _has_same_columns(repository, commit, old, folder, _first(after, kind))
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


def _first(described: Manifest | Listing, kind: str) -> ListedFile | None:
    """The first shard of a table, or None without a shard."""
    return next((file for file in described.files if file.path.startswith(f"{kind}/")), None)


def columns(schema: pa.Schema) -> Columns:
    """The names and types of columns as a reader sees them, without Parquet's nullability."""
    return tuple((field.name, _kind(field.type)) for field in schema)


def _kind(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return tuple((field.name, _kind(field.type)) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return ("list", _kind(kind.value_type))
    return "string" if pa.types.is_large_string(kind) else str(kind)
