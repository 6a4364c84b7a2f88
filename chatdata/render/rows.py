"""Rows of tokens: ids and labels, made together from the same segments.

Content goes through a tokenizer that knows no control token. Nothing scans ids afterwards:
whether a token is trained is known when its segment is written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core import ledger
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.ledger import OUTCOMES, orphaned_messages
from chatdata.core.schema import empty
from chatdata.render.options import Render
from chatdata.render.row_plans import row_messages
from chatdata.render.segments.encoded import Segments, encode
from chatdata.render.segments.prompt_prefix import gather
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import Bools, Ints, is_last_answer


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows of tokens: flat arrays with offsets.

    `input_ids` and `labels` are int32 of one length; row i is `[offsets[i]:offsets[i + 1]]`.
    `trained` is the number of labels of a row that are not IGNORE_INDEX. `weights` are those of the
    labels, 0 where a label is IGNORE_INDEX; None where all others are 1. `ids` are the ids of
    the rows, `conversations` the ids of their conversations, and `row_messages` the messages of
    each row (`conversation` is the id of the row). `messages` are the messages of all
    conversations that have a row, `outcomes` what became of the others.
    """

    ids: list[str]
    conversations: list[str]
    offsets: Ints
    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    trained: Ints
    weights: npt.NDArray[np.float32] | None
    row_messages: pl.DataFrame
    messages: pl.DataFrame
    outcomes: pl.DataFrame


def render(
    messages: pl.DataFrame, windows: pl.DataFrame | None, pool: TextPool, options: Render
) -> Rendered:
    """Renders conversations, given as rows of MESSAGES in order, one row for each window.

    Rows without a trained token are dropped, and conversations of which no row is left. Raises
    RenderError where text would become a control token.
    """
    trained = _last_answers(messages) if options.train_on == "last_assistant" else messages
    rows = row_messages(trained, windows)
    segments = encode(rows, pool, options.train_on)
    rows, segments = _with_trained_tokens(rows, segments)
    ids = rows["conversation"].unique(maintain_order=True)
    conversations = _conversations(ids, windows)
    kept, dropped = _with_rows(messages, conversations)
    outcomes = pl.concat([dropped, orphaned_messages(messages, kept, dropped, "no_trained_tokens")])
    numbers = _row_numbers(rows)[segments.message]
    lengths = np.bincount(numbers, segments.tokens).astype(np.int64)
    input_ids, is_trained = pool.joined(segments.text_id), _is_trained(segments)
    return Rendered(
        ids=ids.to_list(),
        conversations=conversations.to_list(),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        input_ids=input_ids,
        labels=np.where(is_trained, input_ids, np.int32(IGNORE_INDEX)),
        trained=np.bincount(numbers, segments.trained_tokens()).astype(np.int64),
        weights=_weights(rows, segments, is_trained),
        row_messages=rows,
        messages=kept,
        outcomes=outcomes,
    )


def _last_answers(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages, of which only the last answer of each conversation is trained."""
    return messages.with_columns(train=pl.col("train") & is_last_answer())


def _row_numbers(rows: pl.DataFrame) -> Ints:
    """The number of the row of each message, counted from 0 in their order."""
    return rows["conversation"].rle_id().to_numpy().astype(np.int64)


def _with_trained_tokens(rows: pl.DataFrame, segments: Segments) -> tuple[pl.DataFrame, Segments]:
    """The rows of which a token is trained."""
    numbers = _row_numbers(rows)
    trained = np.bincount(numbers[segments.message], segments.trained_tokens())
    keep: Bools = (trained > 0)[numbers]
    if keep.all():
        return rows, segments
    return rows.filter(pl.Series(keep, dtype=pl.Boolean)), segments.of(keep)


def _with_rows(
    messages: pl.DataFrame, conversations: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops the messages of conversations other than these, which have a row."""
    with_rows = pl.DataFrame({"conversation": conversations}).unique()
    without = messages.join(with_rows, on="conversation", how="anti", maintain_order="left")
    if without.is_empty():
        return messages, empty(OUTCOMES)
    return ledger.drop(messages, without, "no_trained_tokens")


def _conversations(ids: pl.Series, windows: pl.DataFrame | None) -> pl.Series:
    """The conversation of each row."""
    if windows is None:
        return ids
    rows = pl.DataFrame({"row": ids}, schema={"row": pl.String})
    return rows.join(windows, on="row", how="left", maintain_order="left")["conversation"]


def _is_trained(segments: Segments) -> Bools:
    """Which tokens are trained: those of trained segments, after their prompt prefix and before
    the end of what is trained."""
    is_trained = np.repeat(segments.trained, segments.tokens)
    starts = np.cumsum(segments.tokens) - segments.tokens
    prefixed = segments.trained & (segments.prompt_prefix_len > 0)
    is_trained[gather(starts[prefixed], segments.prompt_prefix_len[prefixed])[0]] = False
    ended = segments.trained & (segments.trained_end < segments.tokens)
    ends = segments.trained_end[ended]
    is_trained[gather(starts[ended] + ends, segments.tokens[ended] - ends)[0]] = False
    return is_trained


def _weights(
    rows: pl.DataFrame, segments: Segments, is_trained: Bools
) -> npt.NDArray[np.float32] | None:
    """The weight of each label: that of its message, and 0 where nothing is trained."""
    if rows["weight"].null_count() == rows.height:
        return None
    of_message = rows["weight"].fill_null(1.0).to_numpy().astype(np.float32)
    of_token = np.repeat(of_message[segments.message], segments.tokens)
    return np.where(is_trained, of_token, np.float32(0))
