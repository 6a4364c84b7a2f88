"""What was dropped, with its words: a table that stays on the machine that built it.

No manifest lists the table and nothing publishes it, so it is in no folder that was pulled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import ledger, tallies
from chatdata.core.schema import SPOKEN
from chatdata.dataset import reader, tables
from chatdata.dataset.entries import Example

_SHARD = re.compile(r"dropped/dropped-\d{5}-of-\d{5}\.parquet", re.ASCII)
_EXAMPLES = 3  # of rows with the same problem
_TOLD_TWICE = ("unit", "id", "conversation", "reason", "detail", "source")  # in the ledger, too


def is_shard(path: str) -> bool:
    """Whether a path in a dataset folder is that of a file of the table."""
    return _SHARD.fullmatch(path) is not None


def is_in(folder: Path) -> bool:
    """Whether a dataset folder has the table."""
    return bool(_shards(folder))


def scan(folder: Path) -> pl.LazyFrame:
    """The table of a dataset folder, as rows of `ledger.DROPPED`, in order; no rows without one."""
    nothing = pl.LazyFrame(schema=ledger.DROPPED)
    return pl.concat([nothing, *(pl.scan_parquet(path, glob=False) for path in _shards(folder))])


def _shards(folder: Path) -> list[Path]:
    files = tables.DROPPED.files_in(folder)
    return [path for path in files if is_shard(f"{tables.DROPPED.name}/{path.name}")]


@dataclass(frozen=True, slots=True)
class Selection:
    """What was dropped and is asked for: entries, each as rows of `ledger.DROPPED`, and the number
    of all that fit.

    An entry is a conversation with its messages, or a message or a record alone.
    """

    entries: list[pl.DataFrame]
    number: int


def select(
    folder: Path,
    *,
    reason: str | None = None,
    words: str | None = None,
    source: str | None = None,
    places: Callable[[int], list[int]] = lambda height: list(range(height)),
) -> Selection:
    """Entries of what was dropped, in the order of the table: of all that fit, those at `places`,
    which is given how many there are.

    `reason` limits them to those of which something was dropped for this reason, `words` to those
    that say these words, in capitals or not, `source` to those of a source.
    """
    rows = scan(folder).with_row_index("row")
    is_hit = _says(words) if words else pl.lit(True)
    if source is not None:
        is_hit = is_hit & (pl.col("source") == source)
    keys = rows.select("row", "unit", "id", "conversation", "reason", "place", is_hit=is_hit)
    entries = _with_entries(keys.collect())
    is_meant = pl.lit(True) if reason is None else (pl.col("reason") == reason)
    chosen = entries.group_by("entry").agg(
        pl.col("row"), is_chosen=is_meant.any() & pl.col("is_hit").any()
    )
    chosen = chosen.filter("is_chosen").sort("entry")
    shown = chosen[places(chosen.height)]["row"].to_list()
    wanted = [row for entry in shown for row in entry]
    table = rows.filter(pl.col("row").is_in(wanted)).collect()
    entries_shown = [table.filter(pl.col("row").is_in(entry)).drop("row") for entry in shown]
    return Selection(entries_shown, chosen.height)


def _says(words: str) -> pl.Expr:
    pattern = "(?i)" + re.escape(words)
    return pl.any_horizontal(pl.col(name).str.contains(pattern) for name in SPOKEN).fill_null(False)


def _with_entries(keys: pl.DataFrame) -> pl.DataFrame:
    """The rows with the number of the first row of their entry, `entry`.

    A message belongs to its conversation where that was dropped as well; of conversations that
    share an id, to the one at its place.
    """
    conversations = keys.filter(unit="conversation").select("id", "place", first="row")
    several = conversations.filter(pl.col("id").is_duplicated())
    alone = conversations.join(several, on="id", how="anti").select("id", of_alone="first")
    placed = several.unique(["id", "place"], keep="first", maintain_order=True)
    placed = placed.select("id", "place", of_several="first")
    home = pl.when(pl.col("unit") == "message").then("conversation")
    keys = keys.with_columns(home=home)
    keys = keys.join(alone, left_on="home", right_on="id", how="left", maintain_order="left")
    keys = keys.join(
        placed,
        left_on=["home", "place"],
        right_on=["id", "place"],
        how="left",
        maintain_order="left",
    )
    return keys.with_columns(entry=pl.coalesce("of_alone", "of_several", "row"))


def examples(folder: Path) -> list[str]:
    """An example of each reason for which something was dropped, in words: with its place where the
    folder has the table.

    The folder may be one that is being built.
    """
    files = _shards(folder) or tables.LEDGER.files_in(folder)
    if not files:
        return []
    given = tallies.examples(pl.scan_parquet(files, glob=False))
    return [Example.model_validate(example).in_words(name) for name, example in given.items()]


def with_words(folder: Path, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Rows of the ledger with what is held of each, where the folder has the table."""
    if not is_in(folder):
        return outcomes
    is_named = pl.col("id").is_in(outcomes["id"].unique().implode())
    held = scan(folder).filter(is_named).collect()
    held = held.unique(_TOLD_TWICE, keep="first", maintain_order=True)
    return outcomes.join(held, on=_TOLD_TWICE, how="left", nulls_equal=True, maintain_order="left")


def problems(folder: Path) -> Iterator[str]:
    """Yields, in words, where the table is not one of what the ledger says was dropped."""
    for path in _shards(folder):
        try:
            is_right = pq.read_schema(path).equals(tables.DROPPED.schema)
        except pa.ArrowException as error:
            yield f"dropped/{path.name}: is not a Parquet file ({error})"
            return
        if not is_right:
            yield f"dropped/{path.name}: does not have the columns of dropped"
            return
    yield from _unpaired(folder)


def _unpaired(folder: Path) -> Iterator[str]:
    """Yields where the rows of the table are not those of the ledger."""
    is_held = pl.col("unit").is_in([ledger.ANSWER, ledger.REPEAT]).not_()
    listed = reader.scan_ledger(folder).filter(is_held, outcome="dropped")
    held = scan(folder)
    if _fingerprint(listed) == _fingerprint(held):
        held.select(pl.col(ledger.WORDS).count()).collect()  # raises where words are damaged
        return
    key = ["unit", "id", "reason"]
    for rows, others, why in (
        (held, listed, "the ledger does not say so"),
        (listed, held, "its row is missing"),
    ):
        left = rows.join(others, on=key, how="anti", maintain_order="left", nulls_equal=True)
        names = left.select("id").head(_EXAMPLES).collect()["id"].to_list()
        yield from (f"dropped: '{name}' was dropped, but {why}" for name in names)
    yield "dropped: its rows are not those of the ledger"


def _fingerprint(rows: pl.LazyFrame) -> tuple[int, int]:
    """The number of rows, and a sum that rows in another order share."""
    hashes = pl.struct(_TOLD_TWICE).hash()
    number, total = rows.select(pl.len(), sum=hashes.sum()).collect().row(0)
    return number, total
