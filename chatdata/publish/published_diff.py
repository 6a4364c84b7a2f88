"""What differs between a published version and a folder that is to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.hashing import sha256_pairs
from chatdata.dataset import tables
from chatdata.dataset.manifest import ListedFile, Listing, Manifest
from chatdata.dataset.tables import Table
from chatdata.hub.repository import Repository
from chatdata.publish.versions import Change
from chatdata.verify import recount

Columns = tuple[tuple[str, Any], ...]


def since(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Change:
    """What a folder changes of the version at `commit`, whose manifest is `before`.

    Of that version's shards only the ids and the columns' names are fetched: with the ids, the
    content hash over the rows of the folder that were there before says whether they still are
    what they were.
    """
    schema = _other_columns(repository, commit, before, folder, after)
    if before.format != after.format:
        return Change(changed=True, schema=schema)
    if before.content_hash == after.content_hash:
        return Change(schema=schema)
    ids = _ids(repository, commit, before)
    pairs = list(recount.digests(folder, after))
    kept = [pair for pair in pairs if pair[0] in ids]
    changed = len(kept) == len(ids) and sha256_pairs(kept) != before.content_hash
    return Change(len(pairs) - len(kept), len(ids) - len(kept), changed, schema)


def _ids(repository: Repository, commit: str, facts: Manifest | Listing) -> set[str]:
    shards = tables.MESSAGES.shards(facts.files)
    columns = (repository.columns(shard.path, commit, ["id"]) for shard in shards)
    return {id for table in columns for id in table["id"].to_pylist()}


def _other_columns(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> tuple[str, ...]:
    """The tables that have other columns than before, or that are no more."""
    return tuple(
        table.name
        for table in tables.loadable()
        if (old := _first(before, table)) is not None
        and not _is_alike(repository, commit, old, folder, _first(after, table))
    )


def _is_alike(
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


def _first(facts: Manifest | Listing, table: Table) -> ListedFile | None:
    files: Sequence[ListedFile] = facts.files
    return next(iter(table.shards(files)), None)


def columns(schema: pa.Schema) -> Columns:
    """The names and types of columns as a reader sees them, whatever Parquet knows of nulls."""
    return tuple((field.name, _kind(field.type)) for field in schema)


def _kind(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return tuple((field.name, _kind(field.type)) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return ("list", _kind(kind.value_type))
    return "string" if pa.types.is_large_string(kind) else str(kind)
