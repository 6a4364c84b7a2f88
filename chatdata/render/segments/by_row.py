"""Segments of templates that write plain rows by a value, and all other rows as text."""

from __future__ import annotations

import numpy as np
import polars as pl

from chatdata.render.conversation import is_structured
from chatdata.render.segments.from_spec import WritesTurns
from chatdata.render.segments.from_text import WritesText
from chatdata.render.segments.unencoded import Bools, Ints, TrainOn, UnencodedSegments
from chatdata.render.template import Pool


class WritesTurnsOrText(WritesTurns, WritesText):
    """The part of a template that follows from its value, and from what it writes as text.

    A row is plain where each message has a role and words and no more. Plain rows are written by
    the value, rows with reasoning or tools as text.
    """

    is_explicit = True

    def encode(self, messages: pl.DataFrame, pool: Pool, train_on: TrainOn) -> UnencodedSegments:
        """The segments of rows that `refusals` does not name."""
        as_text = self.in_text_rows(messages)
        if not as_text.any():
            return WritesTurns.encode(self, messages, pool, train_on)
        parts = [
            _renumbered(writer.encode(self, messages.filter(pl.Series(rows)), pool, train_on), rows)
            for writer, rows in ((WritesTurns, ~as_text), (WritesText, as_text))
            if rows.any()
        ]
        return parts[0] if len(parts) == 1 else _braided(*parts)

    def refusals(self, messages: pl.DataFrame, pool: Pool) -> list[tuple[str, str]]:
        """The rows that the template cannot write, or not exactly: (id, reason)."""
        as_text = pl.Series(self.in_text_rows(messages), dtype=pl.Boolean)
        return [
            *WritesTurns.refusals(self, messages.filter(~as_text), pool),
            *WritesText.refusals(self, messages.filter(as_text), pool),
        ]

    def start_tokens(self, messages: pl.DataFrame, pool: Pool) -> Ints:
        """The tokens before the first message of each plain row; 0 for rows written as text."""
        starts = WritesTurns.start_tokens(self, messages, pool)
        return np.where(self.in_text_rows(messages), 0, starts)

    def in_text_rows(self, messages: pl.DataFrame) -> Bools:
        """Which messages stand in a row that is written as text."""
        return in_structured_rows(messages)


def in_structured_rows(messages: pl.DataFrame) -> Bools:
    """Which messages stand in a row with reasoning, calls, results or tools."""
    is_in = is_structured().any().over("conversation")
    return messages.select(is_in.alias("structured")).to_series().to_numpy()


def _renumbered(segments: UnencodedSegments, rows: Bools) -> UnencodedSegments:
    """The segments, their messages numbered as in the table of which `rows` were taken."""
    return segments._replace(message=np.flatnonzero(rows)[segments.message])


def _braided(first: UnencodedSegments, second: UnencodedSegments) -> UnencodedSegments:
    """The segments of both, in the order of their messages."""
    columns = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return UnencodedSegments(*(column[order] for column in columns))
