"""Pieces before their texts are tokenised, and what their writers ask of messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.render.chat_template import ChatTemplate
from chatdata.render.segments.text_pool import Ints
from chatdata.render.templates import Template

TrainOn = Literal["assistant", "last_assistant", "assistant_with_header", "all"]

Bools = npt.NDArray[np.bool_]

NONE = np.iinfo(np.int64).max


class Draft(NamedTuple):
    """Pieces before their texts are tokenised; `header` is the text of a piece's head, or NONE."""

    message: Ints
    text: Ints
    header: Ints
    trained: Bools


class Pen:
    """Writes pieces of one row after the other, as lists that become a draft."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int, int, bool]] = []

    def put(self, message: int, text: int, trained: bool, header: int = NONE) -> None:
        """Adds a piece of a message."""
        self.pieces.append((message, text, header, trained))

    def draft(self) -> Draft:
        """What was put."""
        columns = np.asarray(self.pieces, np.int64).reshape(-1, 4).T
        message, text, header, trained = columns
        return Draft(message, text, header, trained.astype(np.bool_))


def value_of(template: Template | ChatTemplate) -> Template | None:
    """The template as a value, where it is one or was proved to be."""
    return template.compiled if isinstance(template, ChatTemplate) else template


def learnt_of(messages: pl.DataFrame, train_on: TrainOn) -> Bools:
    """Which messages are trained."""
    is_answer = pl.col("role") == "assistant"
    learnt = pl.col("train") & is_answer
    if train_on == "last_assistant":
        answers = pl.col("position").filter(is_answer)
        learnt = learnt & (pl.col("position") == answers.max().over("conversation"))
    if train_on == "all":
        learnt = pl.col("train") | is_answer.not_()
    learnt = learnt & pl.col("train").is_not_null()
    return messages.select(learnt.fill_null(False)).to_series().to_numpy()


def context_of(messages: pl.DataFrame) -> Bools:
    """Which messages another row has shown before."""
    return messages["train"].is_null().to_numpy()


def begins(messages: pl.DataFrame) -> Bools:
    """Which messages are the first of their row."""
    return np.diff(messages["conversation"].rle_id().to_numpy(), prepend=-1).astype(np.bool_)


def rows_of(messages: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yields the rows by name, each with its messages."""
    names = messages["conversation"]
    starts = np.flatnonzero(begins(messages)).tolist()
    for start, end in zip(starts, [*starts[1:], len(names)][: len(starts)], strict=True):
        yield names[start], messages[start:end]
