"""The rows of a built folder, its ledger, and its sums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from chatdata.core import ledger, row_id
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError
from chatdata.dataset import footers, manifest, tables
from chatdata.dataset.histogram import quantiles


def scan(folder: Path, kind: str, splits: Sequence[str] = SPLITS) -> pl.LazyFrame:
    """The rows of a table (`messages`, `tokens`, `tokens-NAME`), in order, with a column `split`.

    Raises OutputError where the table has no rows in these splits, and as `footers.shards` does.
    """
    table, described = tables.named(kind), manifest.read(folder)
    assert table is not None, kind
    frames = [
        pl.scan_parquet(path, glob=False).with_columns(split=pl.lit(split))
        for split in splits
        for path in footers.shards(folder, described, table, split)
    ]
    if not frames:
        raise OutputError(f"'{folder}' has no {kind} rows in {' or '.join(splits)}.")
    return pl.concat(frames)


def scan_ledger(folder: Path) -> pl.LazyFrame:
    """The ledger of a built folder, as rows of `ledger.SCHEMA`.

    Raises OutputError as `footers.shards` does.
    """
    paths = footers.shards(folder, manifest.read(folder), tables.LEDGER)
    return pl.concat([pl.scan_parquet(path, glob=False) for path in paths])


def scan_left_out(folder: Path, rendering: str) -> pl.LazyFrame:
    """What an added rendering of a built folder leaves out, as rows of `ledger.SCHEMA`.

    Raises OutputError as `footers.shards` does.
    """
    paths = footers.shards(folder, manifest.read(folder), tables.ledger_of(rendering))
    nothing = pl.LazyFrame(schema=ledger.SCHEMA)
    return pl.concat([nothing, *(pl.scan_parquet(path, glob=False) for path in paths)])


def _scan_outcomes(folder: Path) -> pl.LazyFrame:
    """The ledger, and what each added rendering leaves out, whose name is in `rendering`."""
    outcomes = [scan_ledger(folder).with_columns(rendering=pl.lit(None, pl.String))]
    for name in manifest.read(folder).renders:
        outcomes.append(scan_left_out(folder, name).with_columns(rendering=pl.lit(name)))
    return pl.concat(outcomes)


def dropped_of(folder: Path, ids: Sequence[str]) -> pl.DataFrame:
    """The rows of the ledger for messages and conversations of these ids that were dropped."""
    rows = scan_ledger(folder).filter(pl.col("id").is_in(ids), outcome="dropped")
    return rows.collect()


def explain(folder: Path, id: str) -> pl.DataFrame:
    """The rows of the ledger that concern an id: of a message, a conversation or a record.

    Rows with a `rendering` say what that added rendering leaves out of what the dataset keeps.

    The id may be the last part alone (`QWJhYvA_0` for `sharegpt/QWJhYvA_0`). The id of a
    conversation gives its messages too, the id of a row of tokens gives its conversation.
    Raises OutputError where nothing has this id.
    """
    outcomes = _scan_outcomes(folder)
    name = pl.col("id")
    exact = (name == id) | (pl.col("conversation") == id)
    loose = name.str.ends_with(f"/{id}") | name.str.starts_with(f"{id}~")
    loose = loose | pl.col("conversation").str.ends_with(f"/{id}")
    loose = loose | name.str.contains(f"/{id}~", literal=True)
    of_row = name == row_id.conversation_of(id)
    for which in (exact, loose, of_row):
        entries = outcomes.filter(which).collect()
        if not entries.is_empty():
            return entries
    examples = outcomes.head(1).collect()["id"].to_list()
    raise OutputError(
        f"nothing in '{folder}' has the id '{id}'; ids look like '{examples[0]}' "
        "(the folder `ledger` lists them all)."
    )


def whole_ids(folder: Path, parts: Sequence[str]) -> dict[str, str]:
    """Ids of the ledger by their last parts, for those of the parts that end any id of what is not
    forgotten."""
    stays = scan_ledger(folder).filter(pl.col("reason").ne_missing(ledger.FORGOTTEN))
    ids = stays.select("id", part=pl.col("id").str.extract("([^/]+)$"))
    rows = ids.filter(pl.col("part").is_in(list(parts)), pl.col("part") != pl.col("id"))
    return {part: id for id, part in rows.unique("part", keep="first").collect().iter_rows()}


def stats(folder: Path) -> dict[str, Any]:
    """The numbers of a dataset: rows, turns, tokens, shares by source and language."""
    described = manifest.read(folder)
    rows = scan(folder, "messages").select(
        "split",
        "source",
        "lang",
        turns=pl.col("messages").list.len(),
        characters=pl.col("messages")
        .list.eval(pl.element().struct.field("content").str.len_chars())
        .list.sum(),
        answers=pl.col("messages")
        .list.eval(pl.element().struct.field("role") == "assistant")
        .list.sum(),
    )
    table = rows.collect()
    numbers: dict[str, Any] = {
        "name": described.name,
        "version": described.version,
        "content_hash": described.content_hash,
        "splits": described.splits.as_json(),
        "turns": quantiles(table["turns"]),
        "characters": quantiles(table["characters"]),
        "answers": int(table["answers"].sum()),
        "sources": _shares(table["source"]),
        "languages": _shares(table["lang"].fill_null("unknown")),
        "counts": described.counts.as_json(),
    }
    if described.render:
        numbers |= _token_stats(folder, tables.TOKENS.name)
    if described.renders:
        numbers["renders"] = {
            name: {
                "splits": entry.splits.as_json(),
                **_token_stats(folder, tables.tokens_of(name).name),
            }
            for name, entry in described.renders.items()
        }
    return numbers


def _token_stats(folder: Path, kind: str) -> dict[str, Any]:
    table = scan(folder, kind).select("length", "trained").collect()
    total, trained = int(table["length"].sum()), int(table["trained"].sum())
    return {
        "tokens": total,
        "trained_tokens": trained,
        "trained_share": round(trained / total, 4),
        "length": quantiles(table["length"]),
        "trained_length": quantiles(table["trained"]),
    }


def _shares(values: pl.Series) -> dict[str, int]:
    counts = values.value_counts().rows()
    return dict(sorted(counts, key=lambda item: (-item[1], item[0])))
