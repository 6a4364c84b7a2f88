"""Ids of rows of tokens: the conversation's own, or `ID#FIRST-LAST` where it has several rows.

FIRST and LAST are the positions of the first and the last message that the row teaches; `ID#LAST`
stands for a row that teaches one message.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

_SPAN = r"#[0-9]+(?:-[0-9]+)?"
SPAN_AT_END = _SPAN + r"\z"  # for RE2 and Rust
_SPAN_AT_END = re.compile(_SPAN + r"\Z")


class Span(NamedTuple):
    """The messages that a row teaches, by their positions, both ends included."""

    first: int
    last: int


def make(conversation: str, first: int, last: int) -> str:
    """The id of a row that teaches the messages from `first` to `last`."""
    return f"{conversation}#{last}" if first == last else f"{conversation}#{first}-{last}"


def make_column(conversation: str, first: str, last: str) -> pl.Expr:
    """The ids that `make` gives, of three columns."""
    single = pl.format("{}#{}", conversation, last)
    several = pl.format("{}#{}-{}", conversation, first, last)
    return pl.when(pl.col(first) == pl.col(last)).then(single).otherwise(several)


def parse(row: str, conversation: str) -> Span | None:
    """The messages that a row of this conversation teaches; None where its id names none.

    Raises ValueError where the row is not of this conversation.
    """
    if row == conversation:
        return None
    if not is_row_of(row, conversation):
        raise ValueError(f"row '{row}' is not of conversation '{conversation}'")
    first, _, last = row[len(conversation) + 1 :].partition("-")
    return Span(int(first), int(last or first))


def is_row_of(row: str, conversation: str) -> bool:
    """Whether a row is of this conversation: its only row, or one of several."""
    if not row.startswith(conversation):
        return False
    return row == conversation or bool(re.fullmatch(_SPAN, row[len(conversation) :]))


def conversation_of(row: str) -> str:
    """The conversation of a row that is one of several: the id without the span at its end."""
    return _SPAN_AT_END.sub("", row)


def conversations_of(row: pl.Expr) -> pl.Expr:
    """What `conversation_of` gives, of a column of ids."""
    return row.str.replace(f"{_SPAN}$", "")


def has_span(row: pl.Expr) -> pl.Expr:
    """Whether ids end like that of one of several rows."""
    return row.str.contains(f"{_SPAN}$")
