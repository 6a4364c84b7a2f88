"""Rows of tokens of the pairs of a part, or of a shard, with the figures of what was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.dataset import pair_tokens
from chatdata.dataset.pair_rows import PairRows
from chatdata.dataset.pair_tokens import PairTokens
from chatdata.pipeline import encoders
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.stats import PartStats, Totals
from chatdata.pipeline.tokenizing import CERTIFICATE
from chatdata.render.parity import ParityCounts, Row
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn

_BATCH = 1024  # pairs of a shard that are rendered at once


@dataclass(frozen=True, slots=True)
class TokenizedPairs:
    """The rows of tokens of some pairs, and their figures."""

    rows: PairTokens
    stats: PartStats


def tokenize_pairs(context: BuildContext, part: str, pairs: PairRows) -> TokenizedPairs:
    """The rows of tokens of the pairs of a part, none where the recipe renders nothing.

    `part` names the part among those of the context. Raises RenderError where a row of the sample
    is not what the template writes.
    """
    source = context.tokenizer
    if source is None:
        return TokenizedPairs(pair_tokens.none(), PartStats())

    def compare(train_on: TrainOn, rows: list[Row]) -> ParityCounts:
        return encoders.proved(CERTIFICATE, context, (train_on, rows))

    with encoders.encoder(context, f"pairs of {part}") as encoder:
        pool = TextPool(encoders.load_tokenizer(source), encoder)
        drawn = pair_tokens.draw(pairs.table, pool, source.options, context.sample, compare)
    splits = dict(zip(pairs.table["id"].to_pylist(), pairs.splits, strict=True))
    of_rows = pl.Series([splits[id] for id in drawn.table["id"].to_pylist()], dtype=pl.String)
    rows = PairTokens(drawn.table, of_rows)
    stats = PartStats(
        pair_token_totals=Totals(rows.totals()),
        pair_token_digests=(rows.digests(),),
        pairs_without_tokens=pair_tokens.count(drawn.left_out),
        pair_parity=drawn.parity,
        audit=encoder.audit,
    )
    return TokenizedPairs(rows, stats)


def tokenize_shard(context: BuildContext, shard: Path, split: str) -> Iterator[TokenizedPairs]:
    """Yields the rows of tokens of the pairs of a shard, a bounded number at a time."""
    with pq.ParquetFile(shard) as file:
        for number, batch in enumerate(file.iter_batches(_BATCH)):
            table = pa.Table.from_batches([batch])
            splits = pl.repeat(split, table.num_rows, dtype=pl.String, eager=True)
            yield tokenize_pairs(context, f"{shard.name} {number}", PairRows(table, splits))
