"""Which rows of a built folder a command shows: by id, source, language, words, or by chance."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chatdata.core import row_id
from chatdata.core.errors import OutputError
from chatdata.dataset import reader

_SPOKEN = ("content", "reasoning_content", "tool_calls")  # of a published message


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for: the first `number` of what fits, or as many by chance where there is a
    `seed`. What is None is no limit."""

    number: int
    id: str | None = None
    split: str | None = None
    source: str | None = None
    lang: str | None = None
    words: str | None = None
    seed: int | None = None

    def limits(self) -> bool:
        """Whether something besides the split is asked for of the conversations."""
        return any(limit is not None for limit in (self.source, self.lang, self.words))

    def of_columns(self) -> list[pl.Expr]:
        """What holds of the columns `source` and `lang` of a row that fits."""
        limits = {"source": self.source, "lang": self.lang}
        return [pl.col(name) == value for name, value in limits.items() if value is not None]

    def pattern(self) -> str | None:
        """A regular expression of the words, in capitals or not; None where none are asked for."""
        return None if self.words is None else f"(?i){re.escape(self.words)}"

    def places(self, height: int) -> list[int]:
        """The places of what is shown among `height` rows that fit, in their order."""
        if self.seed is None:
            return list(range(min(self.number, height)))
        chance = random.Random(self.seed)
        return sorted(chance.sample(range(height), min(self.number, height)))


def conversations(folder: Path, choice: Choice, splits: list[str]) -> pl.Series:
    """The ids of the conversations that fit, in their order.

    Raises OutputError, which names what there is, where none fits.
    """
    rows = reader.scan(folder, "messages", splits)
    fitting = rows.filter(*choice.of_columns())
    if pattern := choice.pattern():
        fitting = fitting.filter(says(pattern))
    ids = fitting.select("id").collect()["id"]
    if ids.is_empty():
        raise OutputError(_nothing(folder, choice, rows))
    return ids


def says(pattern: str) -> pl.Expr:
    """Whether a message of a row says words that a pattern matches."""
    says = [pl.element().struct.field(name).str.contains(pattern) for name in _SPOKEN]
    return pl.col("messages").list.eval(pl.any_horizontal(*says).fill_null(False)).list.any()


def _nothing(folder: Path, choice: Choice, rows: pl.LazyFrame) -> str:
    """Why no row fits, in words: which sources and languages there are."""
    for option, column, value in (
        ("--source", "source", choice.source),
        ("--lang", "lang", choice.lang),
    ):
        known = sorted(rows.select(column).unique().collect()[column].drop_nulls().to_list())
        if value is not None and value not in known:
            which = f"there are {', '.join(known[:20])}" if known else f"none states its {column}"
            return f"no row of '{folder}' has {option} {value}; {which}."
    words = f"; none of these says '{choice.words}'" if choice.words is not None else ""
    return f"no row of '{folder}' fits what is asked for{words}."


def of_conversations(ids: pl.Series) -> pl.Expr:
    """Whether a row, which may be one of several of its conversation, is of one of these."""
    row = pl.col("id")
    known = ids.implode()
    return row.is_in(known) | row_id.conversations_of(row).is_in(known)
