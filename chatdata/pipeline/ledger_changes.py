"""The ledger of a folder whose conversations are rendered again: what goes has a new outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from chatdata.core import ledger
from chatdata.core.errors import OutputError
from chatdata.dataset import reader, tables
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.shared_turns import MERGED_INTO
from chatdata.steps import keeping

_ROWS = 2**16  # of a ledger, in memory at a time
_PLACE = ["conversation", "position"]
_UP_TO = "up to "  # begins the detail of a conversation that was cut to a beginning of another
_SEVERAL_ROWS = r", \d+ rows of tokens$"
# What became of the messages that stand in a conversation no longer: the reason, or the
# conversation that holds the message now. `turns` is how many messages the conversation had.
FATES = {
    "conversation": pl.String,
    "position": pl.Int32,
    "turns": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
    "holder": pl.String,
}
_KEY = ["unit", "id", "conversation"]


def fates(before: pl.DataFrame, after: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Rows of FATES for what stands in `before` and no longer in `after`.

    Both are messages with names from `shared_turns`; `outcomes` are rows of ledger.OUTCOMES.
    """
    before = before.with_columns(turns=pl.len().over("conversation").cast(pl.Int64))
    is_first = pl.col("message") == _name_of(pl.col("conversation"), pl.col("position"))
    left = before.filter(is_first).join(after, on=_PLACE, how="anti", maintain_order="left")
    reasons = outcomes.filter(unit="message").select("reason", "detail", message="id")
    reasons = reasons.unique("message", keep="first", maintain_order=True)
    holders = after.unique("message", keep="first", maintain_order=True)
    holders = holders.select("message", holder="conversation")
    left = left.join(reasons, on="message", how="left", maintain_order="left")
    left = left.join(holders, on="message", how="left", maintain_order="left")
    return left.select(FATES.keys())


@dataclass(frozen=True, slots=True)
class LedgerChanges:
    """New outcomes of rows of a ledger, by unit, id and conversation, and remarks.

    `remarks` are those on conversations that have several rows of tokens.
    """

    outcomes: pl.DataFrame
    remarks: pl.DataFrame

    def entries(self, folder: Path, described: Manifest) -> Iterator[pl.DataFrame]:
        """Yields the ledger of a folder with the new outcomes, as rows of ledger.SCHEMA."""
        yield from map(self._changed, _batches(folder, described))

    def entries_of_kept(self, folder: Path, described: Manifest) -> Iterator[pl.DataFrame]:
        """Yields what the ledger of a folder keeps, with the new outcomes, as `entries` does."""
        for rows in _batches(folder, described):
            yield self._changed(rows).filter(rows["outcome"] == "kept")

    def _changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.with_columns(self._merged_outcomes(rows))
        rows = rows.join(
            self.outcomes.drop("source"),
            on=_KEY,
            how="left",
            nulls_equal=True,
            maintain_order="left",
        ).join(self.remarks, on=["unit", "id"], how="left", maintain_order="left")
        is_hit = (pl.col("outcome") == "kept") & pl.col("is_changed").fill_null(False)
        is_kept = (pl.col("outcome") == "kept") & pl.col("reason").is_null()
        is_kept &= pl.col("unit").is_in(["conversation", ledger.REPEAT]) & is_hit.not_()
        note = pl.col("detail").str.extract(f"({keeping.NOTE})", 1).fill_null("")
        split = pl.col("detail").str.strip_suffix(note).str.replace(_SEVERAL_ROWS, "")
        rows = rows.with_columns(
            reason=pl.when(is_hit).then("new_reason").otherwise("reason"),
            detail=pl.when(is_hit & pl.col("new_reason").is_not_null())
            .then(ledger.with_left("new_detail", ledger.left_by()))
            .when(is_kept)
            .then(split + pl.col("remark").fill_null("") + note)
            .otherwise("detail"),
            conversation=pl.when(is_hit)
            .then(pl.coalesce("holder", "conversation"))
            .otherwise("conversation"),
        )
        is_dropped = pl.col("reason").is_not_null()
        outcome = pl.when(is_dropped).then(pl.lit("dropped")).otherwise(pl.lit("kept"))
        return rows.with_columns(outcome=outcome).select(ledger.SCHEMA.keys())

    def _merged_outcomes(self, rows: pl.DataFrame) -> pl.Series:
        """The reasons of rows, those of merged messages taken from what they were merged into."""
        dropped = self.outcomes.filter(pl.col("new_reason").is_not_null(), unit="message")
        into = dropped.select("source", "new_reason", into="id").unique(["source", "into"])
        is_merged = pl.col("detail").str.starts_with(MERGED_INTO) & (pl.col("outcome") == "kept")
        name = pl.when(is_merged).then(ledger.without_left().str.strip_prefix(MERGED_INTO))
        followed = rows.with_columns(into=name).join(
            into, on=["source", "into"], how="left", maintain_order="left"
        )
        return followed.select(reason=pl.coalesce("reason", "new_reason")).to_series()


def _batches(folder: Path, described: Manifest) -> Iterator[pl.DataFrame]:
    """Yields the ledger of a folder, a bounded number of rows at a time."""
    for shard in tables.LEDGER.shards(described.files):
        with pq.ParquetFile(folder / shard.path) as file:
            yield from map(pl.DataFrame, file.iter_batches(_ROWS))


def changes(folder: Path, fates: pl.DataFrame, outcomes: pl.DataFrame) -> LedgerChanges:
    """The changes of a folder's ledger.

    `fates` are rows of FATES. `outcomes` are rows of ledger.OUTCOMES: of the conversations that
    go, and without a reason of those that stay with a remark. Raises OutputError where the ledger
    does not say which messages go.
    """
    is_dropped = pl.col("reason").is_not_null()
    dropped = outcomes.filter(is_dropped, pl.col("unit").is_in(["conversation", ledger.REPEAT]))
    messages = _messages(folder, fates, dropped)
    names = messages.select("id", name=_name_of(pl.col("conversation"), pl.col("position")))
    moved = messages.join(fates, on=_PLACE, maintain_order="left")
    changed = pl.concat([dropped, moved], how="diagonal_relaxed")
    changed = _with_ids(changed, names).select(
        *_KEY, "source", "holder", new_reason="reason", new_detail="detail", is_changed=True
    )
    remarks = outcomes.filter(is_dropped.not_()).select("unit", "id", remark="detail")
    return LedgerChanges(changed, remarks)


def _messages(folder: Path, fates: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """The messages of a ledger that have fates or are named in details, with their places."""
    in_details = dropped["detail"].str.extract(rf"^{_UP_TO}(.*)#\d+$").drop_nulls()
    wanted = pl.concat([fates["conversation"], in_details]).unique().implode()
    is_merged = pl.col("detail").str.starts_with(MERGED_INTO).fill_null(False)
    entries = reader.scan_ledger(folder).filter(
        pl.col("unit") == "message",
        pl.col("outcome") == "kept",
        is_merged.not_(),
        pl.col("conversation").is_in(wanted),
    )
    return _placed(entries.collect(), fates).select("unit", "id", "source", *_PLACE)


def _with_ids(changed: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Outcomes whose details name messages by their ids in the ledger."""
    name = pl.when(pl.col("detail").str.starts_with(_UP_TO)).then(
        pl.col("detail").str.strip_prefix(_UP_TO)
    )
    named = changed.with_columns(name=name).join(
        names.rename({"id": "up_to"}), on="name", how="left", maintain_order="left"
    )
    return named.with_columns(detail=pl.coalesce(_UP_TO + pl.col("up_to"), "detail"))


def _name_of(conversation: pl.Expr, position: pl.Expr) -> pl.Expr:
    return pl.concat_str(conversation, pl.lit("#"), position)


def _placed(entries: pl.DataFrame, fates: pl.DataFrame) -> pl.DataFrame:
    """Messages of a ledger with `position`, their place in the conversation that holds them first.

    Ledgers of chatdata 0.1 do not state it: there the ids that end like `#3` are in order, and
    where all messages of a conversation share a fate, the order does not matter.
    """
    turns = fates.select("conversation", "turns").unique("conversation")
    stated = pl.col("detail").str.extract(r"^turn (\d+)(?:;|$)").cast(pl.Int32, strict=False)
    number = pl.col("id").str.extract(r"#(\d+)$").cast(pl.Int64, strict=False)
    entries = entries.join(turns, on="conversation", how="left", maintain_order="left")
    entries = entries.with_columns(stated=stated, number=number)
    is_ordered = pl.col("number").is_not_null().all().over("conversation")
    unknown = entries.filter(pl.col("stated").is_null(), is_ordered.not_())
    _refuse_torn(unknown, fates)
    rank = pl.col("number").fill_null(0).rank("ordinal").cast(pl.Int64).over("conversation")
    counted = rank - 1 + pl.col("turns") - pl.len().over("conversation")
    position = pl.coalesce(pl.col("stated"), counted.cast(pl.Int32))
    return entries.with_columns(position=position).drop("stated", "number", "turns")


def _refuse_torn(unknown: pl.DataFrame, fates: pl.DataFrame) -> None:
    """Raises OutputError where only some of a conversation's messages, of unknown places, go."""
    kinds = fates.group_by("conversation", maintain_order=True).agg(
        kinds=pl.struct("reason", "detail", "holder").n_unique(), left=pl.len()
    )
    counts = unknown.group_by("conversation", maintain_order=True).agg(held=pl.len())
    torn = counts.join(kinds, on="conversation", maintain_order="left").filter(
        (pl.col("kinds") > 1) | (pl.col("left") != pl.col("held"))
    )
    if torn.height:
        raise OutputError(
            f"only a part of conversation '{torn['conversation'][0]}' would be left, and the "
            "ledger of this folder, which an earlier chatdata wrote, does not say which messages "
            "that are; build the folder again."
        )
