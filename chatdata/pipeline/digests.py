"""The digests of the rows of all parts: in a file a part, sorted, so that a range of ids is looked
at at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.errors import BuildError
from chatdata.pipeline import partitions
from chatdata.pipeline.partitions import PartitionFiles

_ROWS = 100_000  # that are looked at at a time, about
_SAMPLED = 256  # ids of a part, by which ranges are chosen
_SCHEMA = {"id": pl.String, "digest": pl.Binary}


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of rows: the numbers of the parts that have written theirs, and of all rows."""

    parts: tuple[int, ...] = ()
    rows: int = 0

    def __add__(self, more: Digests) -> Digests:
        """The digests of both."""
        return Digests(self.parts + more.parts, self.rows + more.rows)

    def content_hash(self, files: PartitionFiles, what: str = "conversations") -> str:
        """`sha256:` and the SHA-256 over all ids and digests, sorted, as `sha256_pairs` makes it.

        Raises BuildError where two rows have the same id.
        """
        total = hashlib.sha256()
        for rows in self._sorted(files):
            _check_ids(rows, what)
            for id, digest in rows.iter_rows():
                name = id.encode()
                total.update(len(name).to_bytes(8, "big") + name + digest)
        return "sha256:" + total.hexdigest()

    def _sorted(self, files: PartitionFiles) -> Iterator[pl.DataFrame]:
        """Yields the rows of all parts in the order of their ids, a range of ids at a time."""
        tables = [arrow.no_rows(_ARROW)]
        tables += [partitions.load(_path(files, part)) for part in self.parts]
        bounds = _bounds(tables, self.rows // _ROWS + 1)
        places = [[0, *_ends(table, bounds), table.num_rows] for table in tables]
        for number in range(len(bounds) + 1):
            rows = pa.concat_tables(
                table.slice(place[number], place[number + 1] - place[number])
                for table, place in zip(tables, places, strict=True)
            )
            yield pl.DataFrame(rows).sort("id", "digest")


def _ends(table: pa.Table, bounds: list[str]) -> list[int]:
    """How many of the sorted ids of a part come before each bound."""
    ids = pl.Series(table["id"], dtype=pl.String)
    return ids.search_sorted(pl.Series(bounds, dtype=pl.String), side="left").to_list()


def _bounds(tables: list[pa.Table], ranges: int) -> list[str]:
    """Ids that cut all ids into ranges of about as many."""
    if ranges < 2:
        return []
    ids = [table["id"].take(pa.array(_sampled(table.num_rows), pa.int64())) for table in tables]
    some = pl.concat([pl.Series(part, dtype=pl.String) for part in ids]).sort()
    places = [some.len() * number // ranges for number in range(1, ranges)]
    return some[places].unique().sort().to_list()


def _sampled(rows: int) -> range:
    return range(0, rows, max(1, rows // _SAMPLED))


def _check_ids(rows: pl.DataFrame, what: str) -> None:
    """Raises BuildError where two rows have the same id."""
    again = rows.filter(pl.col("id").is_duplicated())
    if again.height:
        ids = again["id"].value_counts().sort("count", "id", descending=[True, False])
        id, times = ids.row(0)
        raise same_id(id, times, what)


def same_id(id: str, times: int, what: str) -> BuildError:
    """The error of an id that several rows have."""
    return BuildError(
        f"{times} {what} have the id '{id}' and different groups; give each conversation "
        "and each message its own id."
    )


def _path(files: PartitionFiles, part: int) -> Path:
    return files.table("digests", part)


def save(files: PartitionFiles, part: int, digests: list[tuple[str, bytes]]) -> Digests:
    """Writes the digests of the rows of a part."""
    rows = pl.DataFrame(digests, schema=_SCHEMA, orient="row").sort("id", "digest")
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    partitions.save(table.cast(_ARROW), _path(files, part))
    return Digests((part,), rows.height)


_ARROW = pa.schema([("id", pa.large_string()), ("digest", pa.large_binary())])
