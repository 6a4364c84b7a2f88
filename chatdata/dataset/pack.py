"""Packing: lengths of rows to bins, as an index beside the data.

The index names the rows of each bin, in order. The rows are not touched, so that an index for
another number of tokens can be made later. Best-fit decreasing: rows from the longest to the
shortest, each into the open bin with the least room that is enough for the row (Johnson, 1973).
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import heapq
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import arrow
from chatdata.core.constants import MOST_TOKENS, SPLITS
from chatdata.core.errors import PackError
from chatdata.core.files import place_file
from chatdata.core.hashing import sha256_file
from chatdata.dataset import footers, manifest, renderings, tables
from chatdata.dataset.entries import PackEntry, ShardEntry
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.schemas import IDS, PACK_INDEX
from chatdata.dataset.shards import PARQUET
from chatdata.dataset.tables import Table

ALGORITHM = "best-fit-decreasing"

Ints = npt.NDArray[np.int64]

PACKED = pa.schema(
    [("input_ids", IDS), ("labels", IDS), ("position_ids", IDS), ("seq_lengths", IDS)]
)


@dataclass(frozen=True, slots=True)
class Bins:
    """The rows of each bin: bin `i` holds `rows[offsets[i]:offsets[i + 1]]`.

    The lengths of these rows add up to `tokens[i]`, at most `max_tokens`.
    """

    rows: Ints
    offsets: Ints
    tokens: Ints
    max_tokens: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def fill(self) -> float:
        """The share of the places in all bins that hold a token; 1 where there are no bins."""
        places = len(self) * self.max_tokens
        return int(self.tokens.sum()) / places if places else 1.0


def pack(lengths: Sequence[int] | Ints, max_tokens: int) -> Bins:
    """Bins of at most `max_tokens` for rows of these lengths, by best-fit decreasing.

    The result depends on the lengths alone: rows of the same length are taken by number, and of
    bins with the same room the first that was opened. Bins stand in the order in which they were
    opened, rows in a bin by number. Raises PackError for a row that is longer than a bin, and for
    a limit that is not a positive number.
    """
    sizes = np.asarray(lengths, np.int64)
    _refuse_long(sizes, max_tokens)
    order = np.argsort(-sizes, kind="stable")
    bin_of = np.empty(len(sizes), np.int64)
    bin_of[order] = _place(sizes[order], max_tokens)
    rows = np.argsort(bin_of, kind="stable")
    number = int(bin_of.max()) + 1 if len(sizes) else 0
    counts = np.bincount(bin_of, minlength=number)
    tokens = np.bincount(bin_of, sizes, minlength=number).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Bins(rows, offsets, tokens, max_tokens)


def _refuse_long(sizes: Ints, max_tokens: int) -> None:
    if max_tokens < 1:
        raise PackError(f"a bin of {max_tokens} tokens holds nothing; write at least 1.")
    if max_tokens > MOST_TOKENS:
        raise PackError(
            f"a bin of {max_tokens} tokens is more than an index can count; write at most "
            f"{MOST_TOKENS}."
        )
    long = int((sizes > max_tokens).sum())
    if long:
        raise PackError(
            f"{long} rows have more than {max_tokens} tokens, the longest {sizes.max()}, and a row "
            f"is never cut; build with --set render.max_tokens={max_tokens}, or pack into larger "
            "bins."
        )


def _place(sizes: Ints, max_tokens: int) -> Ints:
    """The bin of each row, of rows from the longest to the shortest.

    The bin with the least room takes rows of the same length until the bin is full, so these rows
    are placed together. However many bins there are, their rooms have at most `max_tokens`
    different sizes, and few where bins are large.
    """
    rooms = _Rooms(max_tokens)
    bins = np.empty(len(sizes), np.int64)
    values, starts, counts = _runs(sizes)
    for size, start, count in zip(values, starts, counts, strict=True):
        placed = 0
        while placed < count:
            bin_, room = rooms.take(size)
            fits = min(room // size, count - placed) if size else count - placed
            bins[start + placed : start + placed + fits] = bin_
            rooms.put(bin_, room - fits * size)
            placed += fits
    return bins


def _runs(sizes: Ints) -> tuple[list[int], list[int], list[int]]:
    """The different sizes in order, with the first place and the number of each."""
    edges = np.flatnonzero(np.diff(sizes, prepend=-1))
    counts = np.diff(np.append(edges, len(sizes)))
    return sizes[edges].tolist(), edges.tolist(), counts.tolist()


class _Rooms:
    """The open bins by the room that is left in them, the first that was opened in front.

    `sizes` lists the different rooms, sorted, so that large bins cost nothing.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.bins: defaultdict[int, list[int]] = defaultdict(list)
        self.sizes: list[int] = []
        self.opened = 0

    def take(self, size: int) -> tuple[int, int]:
        """The bin with the least room of at least `size`, or a new bin; and the room."""
        place = bisect.bisect_left(self.sizes, size)
        if place == len(self.sizes):
            self.opened += 1
            return self.opened - 1, self.max_tokens
        room = self.sizes[place]
        bin_ = heapq.heappop(self.bins[room])
        if not self.bins[room]:
            del self.sizes[place]
        return bin_, room

    def put(self, bin_: int, room: int) -> None:
        """Puts a bin back with the room that is left in the bin."""
        if not self.bins[room]:
            bisect.insort(self.sizes, room)
        heapq.heappush(self.bins[room], bin_)


# ------------------------------------------------------------------------------------ the index


def index_table(bins: Bins) -> pa.Table:
    """The index, of schema `PACK_INDEX`: a row for each bin."""
    rows = arrow.lists(bins.offsets, bins.rows, IDS)
    return pa.Table.from_arrays([rows, arrow.int32(bins.tokens)], schema=PACK_INDEX)


def read_index(path: Path, max_tokens: int) -> Bins:
    """The bins of an index file."""
    table = pq.read_table(path, schema=PACK_INDEX).combine_chunks()
    rows = table["rows"].combine_chunks()
    return Bins(
        arrow.numbers(rows.values).astype(np.int64),
        arrow.numbers(rows.offsets).astype(np.int64),
        arrow.numbers(table["tokens"]).astype(np.int64),
        max_tokens,
    )


def problems(bins: Bins, lengths: Ints) -> Iterator[str]:
    """Yields what is wrong with bins for rows of these lengths, in words."""
    if not np.array_equal(np.sort(bins.rows), np.arange(len(lengths))):
        yield "not every row is in it once"
        return
    ends = np.cumsum(np.append(0, lengths[bins.rows]))[bins.offsets]
    if not np.array_equal(np.diff(ends), bins.tokens):
        yield "the tokens of its bins are not those of their rows"
    if (np.diff(ends) > bins.max_tokens).any():
        yield f"a bin holds more than {bins.max_tokens} tokens"


def packed(tokens: pa.Table, bins: Bins) -> pa.Table:
    """The bins as rows to train on, of schema `PACKED`, all lists of int32.

    `tokens` are the rows of a split in order, with `input_ids` and `labels`. `position_ids`
    begin at 0 at each row; `seq_lengths` are the lengths of the rows in a bin (as TRL has them).
    """
    chosen = tokens.select(["input_ids", "labels"]).take(arrow.int64(bins.rows)).combine_chunks()
    lists = {name: chosen[name].combine_chunks() for name in chosen.column_names}
    lengths = np.diff(arrow.numbers(lists["input_ids"].offsets)).astype(np.int64)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    positions = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
    of_tokens, of_rows = (
        arrow.int32(ends[bins.offsets]),
        arrow.int32(bins.offsets),
    )
    columns = [
        pa.ListArray.from_arrays(of_tokens, lists["input_ids"].flatten(), type=IDS),
        pa.ListArray.from_arrays(of_tokens, lists["labels"].flatten(), type=IDS),
        pa.ListArray.from_arrays(of_tokens, arrow.int32(positions), type=IDS),
        pa.ListArray.from_arrays(of_rows, arrow.int32(lengths), type=IDS),
    ]
    return pa.Table.from_arrays(columns, schema=PACKED)


# ----------------------------------------------------------------------------- a built folder


def lengths(
    folder: Path, files: Sequence[ShardEntry], split: str, table: Table = tables.TOKENS
) -> Ints:
    """The lengths of the rows of a split in a table of tokens of a built folder, in order."""
    shards = table.shards(files, split)
    columns = [pq.read_table(folder / shard.path, columns=["length"])["length"] for shard in shards]
    arrays = [arrow.numbers(column).astype(np.int64) for column in columns]
    return np.concatenate([np.empty(0, np.int64), *arrays])


def write_indexes(
    folder: Path, files: Sequence[ShardEntry], max_tokens: int
) -> tuple[PackEntry, ...]:
    """Writes an index for each split that has rows. Returns the manifest's entries of the indexes.

    Nothing is written where the rows of a split do not fit.
    """
    packed = _packed(folder, files, max_tokens, tables.TOKENS)
    with _placing(folder, packed, tables.PACKS.name) as entries:
        return tuple(entries)


def _packed(
    folder: Path, files: Sequence[ShardEntry], max_tokens: int, table: Table
) -> dict[str, Bins]:
    """The bins of each split that has rows in a table of tokens."""
    sizes = {split: lengths(folder, files, split, table) for split in SPLITS}
    return {split: pack(rows, max_tokens) for split, rows in sizes.items() if len(rows)}


@contextlib.contextmanager
def _placing(folder: Path, packed: Mapping[str, Bins], place: str) -> Iterator[list[PackEntry]]:
    """Writes indexes into the folder `place`, which holds them when the block ends well.

    Gives the manifest's entries of the indexes.
    """
    with contextlib.ExitStack() as all_or_none:
        entries = []
        for split, bins in packed.items():
            path = f"{place}/{split}-{bins.max_tokens}.parquet"
            new = all_or_none.enter_context(place_file(folder / path))
            pq.write_table(index_table(bins), new, **PARQUET)
            entries.append(_entry(path, sha256_file(new), split, bins))
        yield entries


def _entry(path: str, sha256: str, split: str, bins: Bins) -> PackEntry:
    return PackEntry(
        path=path,
        sha256=sha256,
        split=split,
        algorithm=ALGORITHM,
        max_tokens=bins.max_tokens,
        bins=len(bins),
        rows=len(bins.rows),
        tokens=int(bins.tokens.sum()),
        fill=round(bins.fill, 4),
    )


def _named(entry: PackEntry, rendering: str | None) -> PackEntry:
    """The entry of an index of a rendering; that of the build is not named."""
    return entry if rendering is None else entry.model_copy(update={"rendering": rendering})


def _order(index: PackEntry) -> tuple[str, int, str]:
    return index.rendering or "", index.max_tokens, index.split


def repack(folder: Path, max_tokens: int, rendering: str | None = None) -> list[PackEntry]:
    """Packs a built folder for `max_tokens`; indexes for other numbers of tokens stay.

    `rendering` names an added rendering; None stands for the tokens of the build.

    The rows are not touched. What a killed process has left half-done is removed or made again.
    Returns the manifest's entries of the new indexes. Raises PackError, and changes no index, where
    the folder has no rows of tokens or a row that is too long.
    """
    manifest.read_listing(folder)  # which says what is wrong with a folder of another kind
    with alone(folder):
        described = manifest.read(folder)
        if not described.render and not described.renders:
            raise PackError(
                f"'{folder}' holds messages and no tokens; build it with "
                "--set render.tokenizer=PATH."
            )
        renderings.of(described, rendering)
        _sweep(folder, described)
        asked = _Target(max_tokens, rendering)
        targets = dict.fromkeys([asked, *_broken(folder, described)])
        packed = {target: target.packed(folder, described) for target in targets}
        return _replace(folder, described, packed)[asked]


class _Target(NamedTuple):
    """What indexes are made for: a number of tokens, and the name of an added rendering or None."""

    max_tokens: int
    rendering: str | None

    def packed(self, folder: Path, described: Manifest) -> dict[str, Bins]:
        """The bins of each split that has rows."""
        table = renderings.of(described, self.rendering).table
        footers.shards(folder, described, table)  # raises where `length` is no length
        return _packed(folder, described.files, self.max_tokens, table)


def _replace(
    folder: Path, described: Manifest, packed: Mapping[_Target, Mapping[str, Bins]]
) -> dict[_Target, list[PackEntry]]:
    """Writes indexes, then the manifest that lists them. Returns the entries of each target."""
    new: dict[_Target, list[PackEntry]] = {}
    with contextlib.ExitStack() as all_or_none:
        page = all_or_none.enter_context(place_file(folder / manifest.FILE))
        for target, bins in packed.items():
            place = tables.packs_of(target.rendering).name
            entries = all_or_none.enter_context(_placing(folder, bins, place))
            new[target] = [_named(entry, target.rendering) for entry in entries]
        by_path = {index.path: index for index in described.packs}
        by_path |= {index.path: index for indexes in new.values() for index in indexes}
        packs = tuple(sorted(by_path.values(), key=_order))
        described = described.model_copy(update={"packs": packs})
        page.write_text(manifest.text(described), encoding="utf-8")
    return new


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps out processes that also write into the folder: each waits for those before it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


_NAME = rf"({'|'.join(SPLITS)})-\d+\.parquet"  # of an index
_INDEX = re.compile(rf"{_NAME}|\.{_NAME}\.partial")


def _sweep(folder: Path, described: Manifest) -> None:
    """Removes what a killed process has left: indexes that are not listed, and parts of files."""
    (folder / f".{manifest.FILE}.partial").unlink(missing_ok=True)
    listed = {index.path for index in described.packs}
    for name in (None, *described.renders):
        place = tables.packs_of(name).name
        for path in sorted((folder / place).glob("*")):
            if _INDEX.fullmatch(path.name) and f"{place}/{path.name}" not in listed:
                path.unlink()


def _broken(folder: Path, described: Manifest) -> Iterator[_Target]:
    """Yields what indexes were made for that are listed, and that are missing or other bytes."""
    for index in described.packs:
        path = folder / index.path
        if not path.is_file() or sha256_file(path) != index.sha256:
            yield _Target(index.max_tokens, index.rendering)
