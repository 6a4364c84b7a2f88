"""Messages to token ids and labels, made together, from the same pieces.

Content goes through a tokenizer that knows no control token. Nothing scans ids afterwards:
whether a token is trained is known when its piece is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.config import Strict
from chatdata.manifest import IGNORE_INDEX
from chatdata.pieces import Ints, Pieces, Texts, TrainOn, gather, write
from chatdata.schema import EVENTS, MESSAGE_KEY, empty, events, vanished
from chatdata.templates import Template


class Render(Strict):
    """The `render` of a recipe."""

    tokenizer: str
    template: Literal["starchat", "chatml", "dialogue"] = "starchat"
    train_on: TrainOn = "assistant"
    max_tokens: int | None = None
    overflow: Literal["drop", "cut"] = "drop"
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """Messages of rows that are short enough, and what became of the others."""

    messages: pl.DataFrame
    events: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows of tokens: flat arrays with offsets, one row a conversation.

    `input_ids` and `labels` are int32 of one length; row i is `[offsets[i]:offsets[i + 1]]`.
    `trained` is the number of labels of a row that are not IGNORE_INDEX. `messages` are the
    messages that the rows hold, `events` what became of the others.
    """

    conversations: list[str]
    offsets: Ints
    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    trained: Ints
    messages: pl.DataFrame
    events: pl.DataFrame


def fit(messages: pl.DataFrame, texts: Texts, options: Render) -> Fitted:
    """Drops conversations of more than `max_tokens`, or cuts them behind an assistant turn.

    `messages` are rows of MESSAGES in order. A row that a cut makes the beginning of another
    row is dropped.
    """
    if options.max_tokens is None:
        return Fitted(messages, empty(EVENTS))
    said = _with_system(messages, texts.tokenizer.template)
    lost = []
    while (long := _too_long(said, write(said, texts, options.train_on), options)).any():
        said, dropped = _shorten(said, write(said, texts, options.train_on), long, options)
        lost.append(dropped)
    own = said.filter(pl.col("message").is_not_null())
    kept, repeats = _without_beginnings(messages, own)
    events_ = pl.concat([empty(EVENTS), *lost, repeats])
    return Fitted(kept, pl.concat([events_, vanished(messages, kept, events_, "too_long")]))


def render(messages: pl.DataFrame, texts: Texts, options: Render) -> Rendered:
    """Renders conversations, given as rows of MESSAGES in order.

    Rows without a trained token are dropped. Raises RenderError where text would become a
    control token.
    """
    said = _with_system(messages, texts.tokenizer.template)
    pieces = write(said, texts, options.train_on)
    said, pieces, untrained = _learnable(said, pieces)
    return _join(messages, said, pieces, texts, untrained)


def _with_system(messages: pl.DataFrame, template: Template) -> pl.DataFrame:
    """The messages with the template's system text before conversations that have none."""
    if template.system is None:
        return messages
    first = messages.filter(pl.col("position") == 0, pl.col("role") != "system")
    system = first.with_columns(
        position=pl.lit(-1, pl.Int32),
        message=pl.lit(None, pl.String),
        role=pl.lit("system", messages.schema["role"]),
        content=pl.lit(template.system),
        train=pl.lit(False),
    )
    order = messages.select("conversation").unique(maintain_order=True).with_row_index("row")
    rows = pl.concat([messages, system]).join(order, on="conversation", maintain_order="left")
    return rows.sort("row", "position").drop("row")


def _rows(messages: pl.DataFrame) -> Ints:
    """The number of the conversation of each message, counted from 0 in their order."""
    return messages["conversation"].rle_id().to_numpy().astype(np.int64)


def _too_long(messages: pl.DataFrame, pieces: Pieces, options: Render) -> Ints:
    """The tokens of each row that has more than `max_tokens`, 0 for the others."""
    rows = _rows(messages)[pieces.message]
    tokens = np.bincount(rows, weights=pieces.tokens).astype(np.int64)
    limit = options.max_tokens
    return np.zeros_like(tokens) if limit is None else np.where(tokens > limit, tokens, 0)


def _shorten(
    messages: pl.DataFrame, pieces: Pieces, long: Ints, options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops rows that are too long, or cuts them behind the last assistant turn that fits."""
    rows = _rows(messages)
    weights = np.bincount(pieces.message, pieces.tokens, messages.height)
    table = messages.with_columns(
        row=rows, tokens=weights.astype(np.int64), long=long[rows]
    ).with_columns(so_far=pl.col("tokens").cum_sum().over("row"))
    fits = pl.col("position").filter(
        pl.col("role") == "assistant",
        pl.col("so_far") <= options.max_tokens,
        pl.col("position") < pl.col("position").max(),
    )
    last = fits.max().over("row") if options.overflow == "cut" else pl.lit(None, pl.Int32)
    table = table.with_columns(last=last)
    keep = (pl.col("long") == 0) | (pl.col("position") <= pl.col("last")).fill_null(False)
    gone = table.filter((pl.col("long") > 0) & pl.col("last").is_null())
    gone = gone.unique("conversation", keep="first", maintain_order=True)
    detail = pl.format(f"{{}} tokens, {options.max_tokens} allowed", "long")
    dropped = events("conversation", gone, "conversation", pl.lit("too_long"), detail)
    return table.filter(keep).select(messages.columns), dropped


def _without_beginnings(
    before: pl.DataFrame, after: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops rows that were cut to the beginning of another row.

    A message has one parent, so a row is known by its last message.
    """
    turns = before.group_by("conversation").agg(before=pl.len())
    ends = after.filter(pl.col("position") == pl.col("position").max().over("conversation"))
    ends = ends.join(turns, on="conversation", how="left", maintain_order="left")
    is_cut = pl.col("position") + 1 < pl.col("before")
    inner = after.join(ends, on=["conversation", "message"], how="anti")
    covering = pl.concat([own.select(MESSAGE_KEY) for own in (inner, ends.filter(~is_cut))])
    covered = ends.filter(is_cut).join(covering, on=MESSAGE_KEY, how="semi", maintain_order="left")
    again = ends.filter(is_cut, pl.struct(MESSAGE_KEY).is_first_distinct().not_())
    gone = pl.concat([covered, again]).unique("conversation", maintain_order=True)
    detail = "up to " + pl.col("message")
    lost = events("conversation", gone, "conversation", pl.lit("prefix_of_another"), detail)
    return after.join(gone, on="conversation", how="anti", maintain_order="left"), lost


def _learnable(messages: pl.DataFrame, pieces: Pieces) -> tuple[pl.DataFrame, Pieces, pl.DataFrame]:
    """Drops rows of which no token is trained."""
    rows = _rows(messages)
    trained = np.bincount(rows[pieces.message], (pieces.tokens - pieces.heads) * pieces.trained)
    keep = (trained > 0)[rows]
    gone = messages.filter(~keep).unique("conversation", keep="first", maintain_order=True)
    lost = events("conversation", gone, "conversation", pl.lit("no_trained_tokens"))
    return messages.filter(keep), pieces.of(keep), lost


def _join(
    before: pl.DataFrame,
    messages: pl.DataFrame,
    pieces: Pieces,
    texts: Texts,
    lost: pl.DataFrame,
) -> Rendered:
    pool = np.concatenate([texts.ids, pieces.control.astype(np.int32)])
    at_control = len(texts.ids) + np.arange(len(pieces.control))
    starts = np.where(pieces.text < 0, at_control, texts.starts[pieces.text])
    places, within = gather(starts, pieces.tokens)
    input_ids = pool[places]
    learnt = np.repeat(pieces.trained, pieces.tokens)
    learnt &= within >= np.repeat(pieces.heads, pieces.tokens)
    rows = np.repeat(_rows(messages)[pieces.message], pieces.tokens)
    lengths = np.bincount(rows)
    trained = np.bincount(rows, learnt).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    own = messages.filter(pl.col("message").is_not_null())
    return Rendered(
        messages["conversation"].unique(maintain_order=True).to_list(),
        offsets,
        input_ids,
        np.where(learnt, input_ids, np.int32(IGNORE_INDEX)),
        trained,
        own,
        pl.concat([lost, vanished(before, own, lost, "too_long")]),
    )
