"""Shards written as a build writes them, of tables at hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from chatdata.dataset import row_groups, shards
from chatdata.dataset.row_groups import Numbers
from chatdata.dataset.shards import PlannedShard, ShardPlan


def plan(pieces: Iterable[tuple[pa.Table, Numbers]]) -> list[PlannedShard]:
    """The shards of rows that arrive in pieces, each with the bytes of its rows."""
    planned = ShardPlan()
    made = [
        shard
        for table, row_bytes in pieces
        for shard in planned.add(row_groups.facts_of(table, row_bytes))
    ]
    return [*made, *planned.rest()]


def write(
    folder: Path, split: str, schema: pa.Schema, pieces: Iterable[tuple[pa.Table, Numbers]]
) -> list[Path]:
    """The files of the shards of rows that arrive in pieces, written into a folder."""
    given = list(pieces)
    rows = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table, _ in given)])
    planned = plan(given)
    paths, first = [], 0
    folder.mkdir(parents=True, exist_ok=True)
    for number, shard in enumerate(planned):
        paths.append(folder / shards.name(split, number, len(planned)))
        groups = []
        for size in shard.groups:
            groups.append(rows.slice(first, size))
            first += size
        shards.write(paths[-1], schema, groups)
    return paths
