"""The change from a published version to the folder that follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import row_id
from chatdata.core.hashing import sha256_pairs
from chatdata.dataset import tables
from chatdata.dataset.entries import ListedFile
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.dataset.tables import Table
from chatdata.hub.repository import Repository
from chatdata.publish.versions import Change, Rendered
from chatdata.verify import pair_tokens, pairs, recount

_Digests = Callable[[Path, Manifest], list[tuple[str, bytes]]]
Columns = tuple[tuple[str, Any], ...]


def since(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Change:
    """The change from the version at `commit`, whose manifest is `before`, to a folder.

    Only ids and schemas of the published shards are fetched. The rows of the folder that were
    published before are unchanged where their content hash is that of the version.
    """
    schema = _changed_tables(repository, commit, before, folder, after)
    renderings = (
        *_paired(repository, commit, before, folder, after),
        *_beside_pairs(repository, commit, before, folder, after),
        *_rendered(repository, commit, before, folder, after),
    )
    if before.format != after.format:
        return Change(changed=True, schema=schema)
    if before.content_hash == after.content_hash:
        return Change(schema=schema, renderings=renderings)
    ids = _ids(repository, commit, tables.MESSAGES.shards(before.files))
    digests = list(recount.digests(folder, after))
    change = _change_of_rows(ids, digests, before.content_hash)
    return replace(change, schema=schema, renderings=renderings)


def _change_of_rows(ids: set[str], digests: Sequence[tuple[str, bytes]], published: Any) -> Change:
    """The change from rows with these ids to those with these digests.

    `published` is the content hash of the former.
    """
    kept = [row for row in digests if row[0] in ids]
    changed = len(kept) == len(ids) and sha256_pairs(kept) != published
    return Change(len(digests) - len(kept), len(ids) - len(kept), changed)


def _paired(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Iterator[Rendered]:
    """Yields the change of the pairs of ranked answers, where there is any. Where there are none
    any more, their columns are missing, which `_changed_tables` sees."""
    old = before.pairs if isinstance(before, Manifest) else None
    if after.pairs is None or (old and old.content_hash == after.pairs.content_hash):
        return
    if old is None:
        yield Rendered("minor", "pairs were added")
        return
    ids = _ids(repository, commit, tables.PAIRS.shards(before.files))
    change = _change_of_rows(ids, pairs.digests(folder, after), old.content_hash)
    yield Rendered(change.step, f"in the pairs {change.reason}")


def _beside_pairs(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Iterator[Rendered]:
    """Yields the changes of ranked answers and of the tokens of pairs, as `_paired` does."""
    made: tuple[tuple[str, Table, str, _Digests], ...] = (
        ("ranked", tables.RANKED, "ranked answers", pairs.ranked_digests),
        ("pair_tokens", tables.PAIR_TOKENS, "rows of tokens of pairs", pair_tokens.digests),
    )
    for key, table, words, digests in made:
        old = getattr(before, key) if isinstance(before, Manifest) else None
        new = getattr(after, key)
        if new is None or (old and old.content_hash == new.content_hash):
            continue
        if old is None:
            yield Rendered("minor", f"{words} were added")
            continue
        ids = _ids(repository, commit, table.shards(before.files))
        change = _change_of_rows(ids, digests(folder, after), old.content_hash)
        yield Rendered(change.step, f"in the {words} {change.reason}")


def _rendered(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> Iterator[Rendered]:
    """Yields the changes of added renderings, the new ones last."""
    old = before.renders if isinstance(before, Manifest) else {}
    for name, entry in old.items():
        if name not in after.renders:
            yield Rendered("major", f"the rendering {name} was removed")
        elif entry.content_hash != after.renders[name].content_hash:
            ids = _rendered_ids(repository, commit, before, tables.tokens_of(name))
            digests = recount.count_added(folder, after, name).pairs
            change = _change_of_rows(ids, digests, entry.content_hash)
            yield Rendered(change.step, f"in the rendering {name} {change.reason}")
    for name in after.renders:
        if name not in old:
            yield Rendered("minor", f"the rendering {name} was added")


def _rendered_ids(
    repository: Repository, commit: str, published: Manifest | Listing, table: Table
) -> set[str]:
    """The ids of the published conversations that have rows in a table of tokens."""
    conversations = _ids(repository, commit, tables.MESSAGES.shards(published.files))
    rows = _ids(repository, commit, table.shards(published.files))
    return {row if row in conversations else row_id.conversation_of(row) for row in rows}


def _ids(repository: Repository, commit: str, shards: Sequence[ListedFile]) -> set[str]:
    """The ids of the rows of published shards."""
    columns = (repository.columns(shard.path, commit, ["id"]) for shard in shards)
    return {id for table in columns for id in table["id"].to_pylist()}


def _changed_tables(
    repository: Repository, commit: str, before: Manifest | Listing, folder: Path, after: Manifest
) -> tuple[str, ...]:
    """The tables whose columns changed, or that the folder does not have."""
    added = (tables.tokens_of(name) for name in after.renders)
    return tuple(
        table.name
        for table in (*tables.loadable(), *added)
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
