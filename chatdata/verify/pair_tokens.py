"""Rows of tokens of pairs, counted again, and rendered again from their pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core.constants import IGNORE_INDEX, SPLITS
from chatdata.core.hashing import fraction_column, sha256_pairs
from chatdata.dataset import pair_tokens, redrawn, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.pair_tokens import PairTokens
from chatdata.render.certificate import SAMPLE
from chatdata.render.segments.text_pool import TextPool
from chatdata.verify.recount import differing

_BATCH = 512  # rows, with all their ids
_EXAMPLES = 3  # of rows with the same problem

Row = Mapping[str, Any]


def count_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what a manifest states of the rows otherwise than they are, and rows that are not
    whole."""
    stated = manifest.pair_tokens
    if stated is None:
        return
    counted = _Counted()
    for name, table in _batches(folder, manifest, tables.PAIR_TOKENS):
        counted.add(_tokens(name, table))
    yield from counted.odd[:_EXAMPLES]
    for name, entry in stated.splits.items():
        for figure, number in counted.totals[name].items():
            yield from differing(f"{figure} of {name}", getattr(entry, figure), number)
    yield from differing("content_hash", stated.content_hash, sha256_pairs(counted.hashed))
    pairs = manifest.pairs.splits.total("rows") if manifest.pairs else 0
    left_out = pairs - stated.splits.total("rows")
    yield from differing("pairs left out", sum(stated.left_out.values()), left_out)


@dataclass(slots=True)
class _Counted:
    """What the rows add up to, and those that are not whole, in words."""

    totals: dict[str, Counter[str]] = field(default_factory=lambda: {n: Counter() for n in SPLITS})
    hashed: list[tuple[str, bytes]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def add(self, rows: PairTokens) -> None:
        """Adds a batch of rows."""
        for name, figures in rows.totals().items():
            for figure, number in figures.items():
                self.totals[name][figure] += number
        self.hashed += rows.digests()
        self.odd += [
            f"pair '{row['id']}': {why}" for row in _rows(rows.table) if (why := _odd(row))
        ]


def _odd(row: Row) -> str | None:
    """Why a row is not whole; None where it is."""
    length = row["prompt_length"]
    prompts = [row[f"{side}_ids"][:length] for side in pair_tokens.SIDES]
    if prompts[0] != prompts[1] or len(prompts[0]) != length:
        return "the ids of its prompt are not the same on both sides"
    for side in pair_tokens.SIDES:
        ids, labels = row[f"{side}_ids"], row[f"{side}_labels"]
        learnt = [label for label in labels if label != IGNORE_INDEX]
        begins = next((at for at, label in enumerate(labels) if label != IGNORE_INDEX), None)
        if len(ids) != len(labels) or not learnt or begins != length:
            return f"the labels of {side} do not begin where the prompt ends"
        if any(label not in (IGNORE_INDEX, id) for id, label in zip(ids, labels, strict=True)):
            return f"a label of {side} is neither -100 nor its token"
    return None


def rendered_problems(folder: Path, manifest: Manifest, everything: bool) -> Iterator[str]:
    """Yields the rows that are not those that their pairs give with the tokenizer of the folder.

    With `everything` all pairs are rendered again, else a sample, chosen by a hash of their ids.
    Raises a ChatdataError where the tokenizer cannot be used.
    """
    if manifest.pair_tokens is None or manifest.pairs is None:
        return
    options = redrawn.options_of(manifest)
    tokenizer = redrawn.load(folder, manifest.rendering, options)
    share = 1.0 if everything else SAMPLE / max(1, manifest.pairs.splits.total("rows"))
    stored = _Stored(
        row for _, table in _batches(folder, manifest, tables.PAIR_TOKENS) for row in _rows(table)
    )
    left_out: Counter[str] = Counter()
    for _, pairs in _batches(folder, manifest, tables.PAIRS):
        ids = pl.Series(pairs["id"])
        rows = stored.of(ids.to_list())
        is_chosen = fraction_column(ids, "certificate") < share
        pool = TextPool(tokenizer)  # for this batch alone, since a pool only grows
        drawn = pair_tokens.draw(pairs.filter(is_chosen.to_arrow()), pool, options, 1.0)
        if drawn.parity.first_failure:
            yield f"pairs: {drawn.parity.first_failure}"
        left_out += pair_tokens.count(drawn.left_out)
        yield from _other_rows(rows, drawn.table, ids.filter(is_chosen).to_list())
    for row in stored.rest():
        yield f"pair '{row['id']}' has a row of tokens and is none of the pairs, or out of order"
    if everything:
        yield from differing("pairs left out", manifest.pair_tokens.left_out, dict(left_out))


def _other_rows(stored: Mapping[str, Row], drawn: pa.Table, chosen: Sequence[str]) -> Iterator[str]:
    expected = {row["id"]: row for row in _rows(drawn)}
    for id in chosen:
        if stored.get(id) != expected.get(id):
            yield f"pair '{id}': its row of tokens is not that of its messages"


class _Stored:
    """Rows in the order of the pairs, which are asked for a batch of pairs at a time."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, ids: Sequence[str]) -> dict[str, Row]:
        """The next rows, as far as they are of these pairs, by id."""
        wanted, rows = set(ids), dict[str, Row]()
        while self._next is not None and self._next["id"] in wanted:
            rows[self._next["id"]] = self._next
            self._next = next(self._rows, None)
        return rows

    def rest(self) -> Iterator[Row]:
        """Yields the next row, where any is left."""
        if self._next is not None:
            yield self._next


def _tokens(name: str, table: pa.Table) -> PairTokens:
    return PairTokens(table, pl.repeat(name, table.num_rows, dtype=pl.String, eager=True))


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _batches(
    folder: Path, manifest: Manifest, table: tables.Table
) -> Iterator[tuple[str, pa.Table]]:
    """Yields the rows of a table, a bounded number at a time, each with its split."""
    for name in SPLITS:
        for shard in table.shards(manifest.files, name):
            with pq.ParquetFile(folder / shard.path) as file:
                for batch in file.iter_batches(_BATCH):
                    yield name, pa.Table.from_batches([batch])


def digests(folder: Path, manifest: Manifest) -> list[tuple[str, bytes]]:
    """The id of each row of a folder with its SHA-256: what the content hash is made from."""
    return [
        digest
        for name, table in _batches(folder, manifest, tables.PAIR_TOKENS)
        for digest in _tokens(name, table).digests()
    ]
