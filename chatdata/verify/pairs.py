"""Pairs of ranked answers, counted again, and compared with the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import ledger, tallies
from chatdata.core.constants import SPLITS
from chatdata.core.hashing import sha256_pairs
from chatdata.core.schema import ROLES
from chatdata.dataset import pair_rows, reader, tables
from chatdata.dataset.entries import PairsEntry
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.pair_rows import PairRows
from chatdata.dataset.ranked_rows import RankedRows
from chatdata.dataset.tables import Table
from chatdata.steps import split
from chatdata.verify.recount import differing

_EXAMPLES = 3  # of rows with the same problem


def problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what a manifest states of pairs otherwise than their rows and the ledger."""
    if manifest.pairs is None:
        return
    hashed: list[tuple[str, bytes]] = []
    questions: set[str] = set()
    totals = {name: {"rows": 0, "bytes": 0} for name in SPLITS}
    for name, table in _batches(folder, manifest):
        rows = _rows(name, table)
        yield from _odd(table)
        yield from _of_another_split(table, name, manifest.recipe.test_percent)
        hashed += rows.digests()
        questions.update(table["question"].to_pylist())
        for figure, number in rows.totals()[name].items():
            totals[name][figure] += number
    yield from _other_totals(manifest.pairs.splits.items(), totals)
    yield from differing("questions", manifest.pairs.questions, len(questions))
    yield from differing("content_hash", manifest.pairs.content_hash, sha256_pairs(hashed))
    yield from _other_outcomes(folder, manifest.pairs)


def ranked_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what a manifest states of ranked answers otherwise than their rows, and questions
    whose answers are not in order."""
    if manifest.ranked is None:
        return
    hashed: list[tuple[str, bytes]] = []
    totals = {name: {"rows": 0, "bytes": 0} for name in SPLITS}
    for name, table in _batches(folder, manifest, tables.RANKED):
        splits = pl.repeat(name, table.num_rows, dtype=pl.String, eager=True)
        rows = RankedRows(table, splits)
        yield from _out_of_order(table)
        yield from _of_another_split(table, name, manifest.recipe.test_percent)
        hashed += rows.digests()
        for figure, number in rows.totals()[name].items():
            totals[name][figure] += number
    yield from _other_totals(manifest.ranked.splits.items(), totals)
    yield from differing("content_hash", manifest.ranked.content_hash, sha256_pairs(hashed))


def _other_totals(
    stated: Iterable[tuple[str, object]], totals: Mapping[str, Mapping[str, int]]
) -> Iterator[str]:
    """Yields the figures of splits that are stated otherwise than they are counted."""
    for name, entry in stated:
        for figure, number in totals[name].items():
            yield from differing(f"{figure} of {name}", getattr(entry, figure), number)


def _out_of_order(table: pa.Table) -> Iterator[str]:
    """Yields the questions without two answers of different ranks, the best first."""
    ranks, answers = pl.col("ranks"), pl.col("answers")
    is_answer = pl.element().struct.field("role") == "assistant"
    is_whole = pl.all_horizontal(
        ranks.list.len() == answers.list.len(),
        ranks.list.sort() == ranks,
        ranks.list.n_unique() > 1,
        answers.list.eval(is_answer).list.all(),
        pl.col("prompt").list.len() > 0,
    )
    for id in pl.DataFrame(table).filter(is_whole.fill_null(False).not_())["id"]:
        yield f"question '{id}': it has no prompt, or no ranked answers of which the best is first"


def ranked_digests(folder: Path, manifest: Manifest) -> list[tuple[str, bytes]]:
    """The id of each question of a folder with the SHA-256 of its ranked answers."""
    return [
        digest
        for name, table in _batches(folder, manifest, tables.RANKED)
        for digest in RankedRows(
            table, pl.repeat(name, table.num_rows, dtype=pl.String, eager=True)
        ).digests()
    ]


def digests(folder: Path, manifest: Manifest) -> list[tuple[str, bytes]]:
    """The id of each pair of a folder with a SHA-256 of its split and all that it says: what the
    content hash of pairs is made from."""
    return [
        digest
        for name, table in _batches(folder, manifest)
        for digest in _rows(name, table).digests()
    ]


def _rows(name: str, table: pa.Table) -> PairRows:
    return PairRows(table, pl.repeat(name, table.num_rows, dtype=pl.String, eager=True))


def _batches(
    folder: Path, manifest: Manifest, table: Table = tables.PAIRS
) -> Iterator[tuple[str, pa.Table]]:
    """Yields the rows of a table, a bounded number at a time, each with its split."""
    for name in SPLITS:
        for shard in table.shards(manifest.files, name):
            with pq.ParquetFile(folder / shard.path) as file:
                for batch in file.iter_batches():
                    yield name, pa.Table.from_batches([batch])


def _odd(table: pa.Table) -> Iterator[str]:
    """Yields the pairs that are not whole."""
    turn = pl.element().struct
    says = pl.any_horizontal(
        turn.field(name).is_not_null() for name in ("content", "reasoning_content", "tool_calls")
    )
    is_turn = (turn.field("role").is_in(ROLES) & says).fill_null(False)
    are_turns = [
        pl.col(name).list.eval(is_turn).list.all() & (pl.col(name).list.len() > 0)
        for name in pair_rows.LISTS
    ]
    is_answered = [
        (pl.col(name).list.len() == 1)
        & (pl.col(name).list.first().struct.field("role") == "assistant")
        for name in ("chosen", "rejected")
    ]
    is_better = pl.col("chosen_rank") < pl.col("rejected_rank")
    is_whole = pl.all_horizontal(*are_turns, *is_answered, is_better).fill_null(False)
    for id in pl.DataFrame(table).filter(is_whole.not_())["id"]:
        yield (
            f"pair '{id}': it has no prompt, a message without a known role or words, no single "
            "answer on each side, or a chosen answer that is not ranked above the rejected one"
        )


def _of_another_split(table: pa.Table, name: str, percent: float) -> Iterator[str]:
    groups = pl.Series(table["group"]).unique(maintain_order=True)
    for group in groups.filter(split.split_of(groups, percent) != name).head(_EXAMPLES):
        yield f"group '{group}' of pairs is in {name}, but its hash is of the other split"


def _other_outcomes(folder: Path, stated: PairsEntry) -> Iterator[str]:
    """Yields where the ledger counts other answers than the manifest."""
    unit = f"{ledger.ANSWER}s"
    tally = tallies.tally(reader.scan_ledger(folder).select("unit", "reason").collect())
    yield from differing(f"{unit} kept in pairs", stated.answers.kept, tally.kept[unit])
    yield from differing(f"{unit} dropped", stated.answers.dropped, dict(tally.of(unit)))
    total = stated.answers.kept + sum(stated.answers.dropped.values())
    yield from differing(f"{unit} read, the sum of both", stated.answers.read, total)
