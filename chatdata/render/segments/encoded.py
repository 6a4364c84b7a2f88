"""Segments with the ids of their texts: what rows of tokens are joined from.

Control tokens cut a string before a tokenizer looks at it, so the texts between them can be
tokenised apart, each distinct text once, and joined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from chatdata.render.segments.prompt_prefix import prefix_lengths
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import (
    NO_HEADER,
    Bools,
    Ints,
    TrainOn,
    UnencodedSegments,
    begins_row,
)


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of all rows in order. A segment is a text, or what the template writes."""

    message: Ints  # by its place in the table
    text_id: Ints  # in the pool
    trained: Bools
    tokens: Ints  # how many there are
    prompt_prefix_len: Ints  # how many of them, at the start, are never trained
    trained_end: Ints  # how many of them stand before the end of what is trained

    def of(self, messages: Bools) -> Segments:
        """The segments of the chosen messages, which are numbered anew."""
        chosen = messages[self.message]
        numbers = messages.cumsum() - 1
        return Segments(
            numbers[self.message[chosen]],
            self.text_id[chosen],
            self.trained[chosen],
            self.tokens[chosen],
            self.prompt_prefix_len[chosen],
            self.trained_end[chosen],
        )

    def trained_tokens(self) -> Ints:
        """The number of trained tokens of each segment."""
        counts: Ints = (self.trained_end - self.prompt_prefix_len) * self.trained
        return counts


def encode(messages: pl.DataFrame, pool: TextPool, train_on: TrainOn) -> Segments:
    """The segments of rows, given as messages in order, tokenised.

    The template must be able to write every row: `refusals` names those that it cannot write.
    The rows that were measured last are mostly those that are rendered, and the same table is not
    encoded again.
    """
    last = pool.last_rows
    if last is None or last[0] is not messages or last[1] != train_on:
        last = pool.last_rows = messages, train_on, _encode(messages, pool, train_on)
    segments: Segments = last[2]
    return segments


def _encode(messages: pl.DataFrame, pool: TextPool, train_on: TrainOn) -> Segments:
    segments = pool.tokenizer.template.encode(messages, pool, train_on)
    if pool.place_matters:
        segments = _with_starts(segments, messages, pool)
    pool.encode()
    _, _, lengths = pool.arrays()
    tokens = lengths[segments.text_id]
    ends_early = segments.end_text_id != NO_HEADER
    return Segments(
        segments.message,
        segments.text_id,
        segments.trained,
        tokens,
        prefix_lengths(segments, segments.header_text_id, pool),
        np.where(ends_early, prefix_lengths(segments, segments.end_text_id, pool), tokens),
    )


def _with_starts(
    segments: UnencodedSegments, messages: pl.DataFrame, pool: TextPool
) -> UnencodedSegments:
    """The segments, the first of each row that holds any text being one that begins a row."""
    rows = (np.cumsum(begins_row(messages)) - 1)[segments.message]
    distinct, which = np.unique(segments.text_id, return_inverse=True)
    has_text = np.asarray([pool.text(int(id)) != "" for id in distinct], np.bool_)[which]
    filled = np.flatnonzero(has_text)
    first = filled[np.unique(rows[filled], return_index=True)[1]]
    columns = {
        name: getattr(segments, name).copy()
        for name in ("text_id", "header_text_id", "end_text_id")
    }
    for ids in columns.values():
        ids[first] = [id if id == NO_HEADER else pool.at_start(id) for id in ids[first].tolist()]
    return segments._replace(**columns)


def refusals(messages: pl.DataFrame, pool: TextPool) -> pl.DataFrame:
    """The rows that the template cannot write, or not exactly: (conversation, detail)."""
    return pl.DataFrame(
        pool.tokenizer.template.refusals(messages, pool),
        schema={"conversation": pl.String, "detail": pl.String},
        orient="row",
    )
