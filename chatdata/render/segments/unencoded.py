"""Segments before their texts are tokenised, and what templates ask of messages."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core import train_parts
from chatdata.render.parts import WHOLE, TrainParts

TrainOn = Literal["assistant", "last_assistant", "assistant_with_header", "all"] | TrainParts

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

NO_HEADER = np.iinfo(np.int64).max


def learnt_parts(train_on: TrainOn) -> TrainParts:
    """The parts of an answer that are learnt, where its message names none."""
    return train_on if isinstance(train_on, TrainParts) else WHOLE


def learns(messages: pl.DataFrame, train_on: TrainOn, part: str) -> Bools:
    """Of which messages this part is learnt, where they are trained and have it."""
    of_recipe = np.full(messages.height, getattr(learnt_parts(train_on), part))
    if not names_parts(messages):
        return of_recipe
    names = pl.col(train_parts.KEY).str.split(train_parts.SEPARATOR)
    of_message = messages.select(names.list.contains(part).fill_null(True)).to_series().to_numpy()
    learnt: Bools = of_recipe & of_message
    return learnt


def names_parts(messages: pl.DataFrame) -> bool:
    """Whether a message names the only parts of it that may be learnt."""
    key = train_parts.KEY
    return key in messages.columns and messages[key].null_count() < messages.height


class UnencodedSegments(NamedTuple):
    """The segments of rows in order, as texts of a pool.

    `header_text_id` is the text with which a segment begins and that is not learnt, mostly since
    the generation prompt supplies it, or NO_HEADER. `end_text_id` is the text up to the end of
    what is learnt, or NO_HEADER where that is the end of the segment.
    """

    message: Ints  # by its place in the table
    text_id: Ints
    header_text_id: Ints
    end_text_id: Ints
    trained: Bools


class SegmentBuilder:
    """Collects segments of row after row."""

    def __init__(self) -> None:
        self._segments: list[tuple[int, int, int, int, bool]] = []

    def put(
        self,
        message: int,
        text_id: int,
        trained: bool,
        header_text_id: int = NO_HEADER,
        end_text_id: int = NO_HEADER,
    ) -> None:
        """Adds a segment of a message."""
        self._segments.append((message, text_id, header_text_id, end_text_id, trained))

    def segments(self) -> UnencodedSegments:
        """The segments that were put, in their order."""
        columns = np.asarray(self._segments, np.int64).reshape(-1, 5).T
        message, text_id, header_text_id, end_text_id, trained = columns
        is_trained = trained.astype(np.bool_)
        return UnencodedSegments(message, text_id, header_text_id, end_text_id, is_trained)


def loss_mask(messages: pl.DataFrame, train_on: TrainOn) -> Bools:
    """Which messages are trained."""
    is_answer = pl.col("role") == "assistant"
    is_trained = pl.col("train") & is_answer
    if train_on == "last_assistant":
        is_trained = is_trained & is_last_answer()
    if train_on == "all":
        is_trained = pl.col("train") | is_answer.not_()
    is_trained = is_trained & pl.col("train").is_not_null()
    return messages.select(is_trained.fill_null(False)).to_series().to_numpy()


def is_last_answer() -> pl.Expr:
    """Whether a message is the last answer of its conversation."""
    answers = pl.col("position").filter(pl.col("role") == "assistant")
    return pl.col("position") == answers.max().over("conversation")


def is_context(messages: pl.DataFrame) -> Bools:
    """Which messages another row has shown before: never trained."""
    return messages["train"].is_null().to_numpy()


def begins_row(messages: pl.DataFrame) -> Bools:
    """Which messages are the first of their row."""
    return np.diff(messages["conversation"].rle_id().to_numpy(), prepend=-1).astype(np.bool_)
