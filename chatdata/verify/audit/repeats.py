"""Comparisons of everything with everything: repeats within a split, and across splits."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from chatdata.verify.audit.findings import Cases, Example
from chatdata.verify.audit.inputs import Messages
from chatdata.verify.audit.token_rows import TokenRows

# What is kept of a row or conversation.
SCHEMA = pl.Schema(
    {
        "id": pl.String,
        "where": pl.String,
        "split": pl.String,
        "digest": pl.UInt64,
    }
)
_SPOKEN = ("role", "content", "reasoning", "tool_calls")


def talks(batch: Messages) -> pl.DataFrame:
    """A digest of each conversation: all that is said, by whom, in whatever case and spacing."""
    spoken = pl.concat_str(
        [pl.col(name).cast(pl.String) for name in _SPOKEN], separator="\x1f", ignore_nulls=True
    )
    return _digests(batch.rows.with_columns(spoken=spoken))


def questions(batch: Messages) -> pl.DataFrame:
    """A digest of the first question of each conversation that has any."""
    rows = batch.rows.filter(pl.col("role") == "user")
    return _digests(rows.unique("talk", keep="first", maintain_order=True), pl.col("content"))


def rows(batch: TokenRows) -> pl.DataFrame:
    """A digest of the ids and labels of each row."""
    bounds = zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True)
    digests = [_digest(batch.ids[start:end], batch.labels[start:end]) for start, end in bounds]
    columns = {"id": batch.names, "where": batch.places, "digest": digests}
    table = pl.DataFrame(columns, schema_overrides={"digest": pl.UInt64})
    return table.with_columns(split=pl.lit(batch.split)).select(SCHEMA.keys()).cast(SCHEMA)


def within(digests: pl.DataFrame) -> Cases:
    """Rows that their split has had before."""
    is_repeat = pl.struct("split", "digest").is_first_distinct().not_()
    return _cases(digests, digests.filter(is_repeat))


def across(digests: pl.DataFrame) -> Cases:
    """Rows of other splits that the train split has too."""
    named = digests.filter(pl.col("split").is_not_null())
    trained = named.filter(pl.col("split") == "train").select("digest").unique()
    rest = named.filter(pl.col("split") != "train")
    return _cases(rest, rest.join(trained, on="digest", how="semi", maintain_order="left"))


def _cases(of: pl.DataFrame, cases: pl.DataFrame) -> Cases:
    example = Example(cases["id"][0], cases["where"][0], "") if cases.height else None
    return Cases(cases.height, of.height, example)


def _digests(rows: pl.DataFrame, spoken: pl.Expr = pl.col("spoken")) -> pl.DataFrame:  # noqa: B008
    folded = spoken.fill_null("").str.to_lowercase().str.replace_all(r"\s+", " ")
    texts = rows.group_by("talk", maintain_order=True).agg(
        pl.col("conversation", "where", "split").first(),
        digest=folded.str.join("\x1e"),
    )
    digested = texts.with_columns(pl.col("digest").hash(seed=0), id="conversation")
    return digested.select(SCHEMA.keys()).cast(SCHEMA)


def _digest(ids: np.ndarray, labels: np.ndarray) -> int:
    digest = hashlib.blake2b(ids.tobytes() + labels.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
