"""Messages to token ids and labels, made together, from the same pieces.

Content goes through a tokenizer that knows no control token. Nothing scans ids afterwards:
whether a token is trained is known when its piece is written.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, field_validator, model_validator

from chatdata.core.config import Strict, nearest
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.ledger import EVENTS, events, orphaned_messages
from chatdata.core.schema import MESSAGE_KEY, empty
from chatdata.render import templates
from chatdata.render import windows as spans
from chatdata.render.chat_template import ChatTemplate
from chatdata.render.segments import (
    Bools,
    Ints,
    Pieces,
    Texts,
    TrainOn,
    gather,
    start_tokens,
    unrenderable,
    write,
)


class Render(Strict):
    """The `render` of a recipe.

    `template` is one of ours, or `tokenizer`: the chat template that the tokenizer carries, which
    is given `variables` and, for a clock, `date`. `carry_tokens` is how much of a row that is
    split off may be context; a quarter of `max_tokens` where it is not said.
    """

    tokenizer: str
    template: str = "starchat"
    train_on: TrainOn = "assistant"
    max_tokens: int | None = Field(default=None, ge=1)
    overflow: Literal["drop", "cut", "split"] = "drop"
    carry_tokens: int | None = Field(default=None, ge=0)
    system: str | None = None
    variables: dict[str, Any] = Field(default={})
    date: datetime.date | None = None

    @field_validator("template")
    @classmethod
    def _template_is_known(cls, name: str) -> str:
        if name not in templates.choices():
            raise ValueError(f"unknown template '{name}'; {nearest(name, templates.choices())}")
        return name

    @field_validator("date", mode="before")
    @classmethod
    def _date_may_be_quoted(cls, value: Any) -> Any:
        """Takes '2026-01-31' for a date, as a resolved recipe has it."""
        if not isinstance(value, str):
            return value
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"'{value}' is no date; write year, month and day, for example 2026-01-31"
            ) from None

    @model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Render:
        if self.template == "tokenizer" and self.system is not None:
            raise ValueError(
                "system is for templates of ours; the tokenizer's own may take a variable for it"
            )
        if self.template != "tokenizer" and (self.variables or self.date):
            raise ValueError(
                f"variables and date are for template 'tokenizer', and this is '{self.template}'"
            )
        if self.carry_tokens is not None and self.overflow != "split":
            raise ValueError(f"carry_tokens needs overflow: split, and overflow is {self.overflow}")
        return self

    @model_validator(mode="after")
    def _overflows_something(self) -> Render:
        if self.max_tokens is None and self.overflow != "drop":
            raise ValueError(
                f"overflow is {self.overflow}, and max_tokens is not set, so nothing is too long; "
                "set max_tokens, or leave overflow out"
            )
        if self.max_tokens and self.carry_tokens and self.carry_tokens > self.max_tokens:
            raise ValueError(
                f"carry_tokens is {self.carry_tokens}, and a row has at most max_tokens "
                f"{self.max_tokens}; write fewer, or leave carry_tokens out for a quarter"
            )
        return self

    def budget(self) -> spans.Budget:
        """What a row may hold where conversations are split."""
        limit = self.max_tokens or 0
        carried = limit // 4 if self.carry_tokens is None else self.carry_tokens
        return spans.Budget(limit, carried)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Messages of conversations that can be rendered, their windows, and what became of others.

    `windows` is None where each conversation is one row.
    """

    messages: pl.DataFrame
    windows: pl.DataFrame | None
    events: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows of tokens: flat arrays with offsets.

    `input_ids` and `labels` are int32 of one length; row i is `[offsets[i]:offsets[i + 1]]`.
    `trained` is the number of labels of a row that are not IGNORE_INDEX. `ids` are the ids of
    the rows, `conversations` those of the conversations that they are from, and `said` the
    messages of each row. `messages` are the messages of all conversations that have a row,
    `events` what became of the others.
    """

    ids: list[str]
    conversations: list[str]
    offsets: Ints
    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    trained: Ints
    said: pl.DataFrame
    messages: pl.DataFrame
    events: pl.DataFrame


# ----------------------------------------------------------------------------------------- fit


def fit(messages: pl.DataFrame, texts: Texts, options: Render) -> Fitted:
    """Drops conversations that the template refuses, and fits the others into `max_tokens`.

    `messages` are rows of MESSAGES in order. A conversation that is too long is dropped, cut
    behind an assistant turn, or split into several rows. One that a cut makes the beginning of
    another is dropped.
    """
    kept, lost = _refuse(messages, _windows(messages, texts), texts)
    if options.max_tokens is None:
        return Fitted(kept, _windows(kept, texts), _all_events(messages, kept, [lost]))
    if options.overflow == "split":
        return _split(messages, kept, lost, texts, options)
    fitted, dropped = _shorten(kept, texts, options)
    kept, repeats = _without_beginnings(kept, fitted)
    all_events = _all_events(messages, kept, [lost, dropped, repeats])
    return Fitted(kept, _windows(kept, texts), all_events)


def _all_events(
    before: pl.DataFrame, after: pl.DataFrame, lost: list[pl.DataFrame]
) -> pl.DataFrame:
    conversations = pl.concat([empty(EVENTS), *lost])
    gone = orphaned_messages(before, after, conversations, "too_long")
    return pl.concat([conversations, gone])


def _windows(messages: pl.DataFrame, texts: Texts) -> pl.DataFrame | None:
    template = texts.tokenizer.template
    keeps_history = not isinstance(template, ChatTemplate) or template.keeps_history
    return None if keeps_history else spans.each_answer(messages)


def _said(messages: pl.DataFrame, windows: pl.DataFrame | None) -> pl.DataFrame:
    return messages if windows is None else spans.rows(messages, windows)


def _refuse(
    messages: pl.DataFrame, windows: pl.DataFrame | None, texts: Texts
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops the conversations of which the template cannot write a row exactly."""
    refused = unrenderable(_said(messages, windows), texts)
    if refused.is_empty():
        return messages, empty(EVENTS)
    if windows is not None:
        refused = refused.rename({"conversation": "row"})
        refused = refused.join(windows, on="row", how="left", maintain_order="left")
    refused = refused.unique("conversation", keep="first", maintain_order=True)
    first = messages.unique("conversation", keep="first", maintain_order=True)
    gone = first.join(refused, on="conversation", how="inner", maintain_order="left")
    lost = events("conversation", gone, "conversation", pl.lit("unrenderable"), pl.col("detail"))
    return messages.join(gone, on="conversation", how="anti", maintain_order="left"), lost


def _sizes(said: pl.DataFrame, texts: Texts, options: Render) -> Ints:
    """The tokens of each message, what its template writes for it included."""
    pieces = write(said, texts, options.train_on)
    weights = np.bincount(pieces.message, pieces.tokens, said.height)
    return weights.astype(np.int64)


def _lengths(said: pl.DataFrame, texts: Texts, options: Render) -> pl.DataFrame:
    """The tokens of each row: (row, tokens)."""
    sized = said.select(row="conversation", tokens=_sizes(said, texts, options))
    return sized.group_by("row", maintain_order=True).agg(pl.col("tokens").sum())


def _so_far(messages: pl.DataFrame, texts: Texts, options: Render) -> pl.DataFrame:
    """The messages with `so_far`, the tokens of a row that would end there, where one can."""
    windows = _windows(messages, texts)
    if windows is None:
        sized = messages.with_columns(so_far=_sizes(messages, texts, options))
        return sized.with_columns(pl.col("so_far").cum_sum().over("conversation"))
    lengths = _lengths(_said(messages, windows), texts, options)
    ends = windows.join(lengths, on="row").select("conversation", position="last", so_far="tokens")
    return messages.join(ends, on=["conversation", "position"], how="left", maintain_order="left")


def _shorten(
    messages: pl.DataFrame, texts: Texts, options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops conversations that are too long, or cuts them behind the last answer that fits.

    What a template writes may depend on the last turn, so what was cut is measured again.
    """
    lost: list[pl.DataFrame] = []
    while True:
        table = _so_far(messages, texts, options)
        tokens = pl.col("so_far").max().over("conversation")
        table = table.with_columns(long=tokens > options.max_tokens, tokens=tokens)
        if not table["long"].any():
            return messages, pl.concat([empty(EVENTS), *lost])
        messages, dropped = _shorten_once(table, messages.columns, options)
        lost.append(dropped)


def _shorten_once(
    table: pl.DataFrame, columns: list[str], options: Render
) -> tuple[pl.DataFrame, pl.DataFrame]:
    position = pl.col("position")
    fits = position.filter(
        pl.col("role") == "assistant",
        pl.col("so_far") <= options.max_tokens,
        position < position.max(),
    )
    last = fits.max().over("conversation") if options.overflow == "cut" else pl.lit(None, pl.Int32)
    table = table.with_columns(last=last)
    keep = pl.col("long").not_().fill_null(True) | (position <= pl.col("last")).fill_null(False)
    gone = table.filter("long", pl.col("last").is_null())
    gone = gone.unique("conversation", keep="first", maintain_order=True)
    detail = pl.format(f"{{}} tokens, {options.max_tokens} allowed", "tokens")
    dropped = events("conversation", gone, "conversation", pl.lit("too_long"), detail)
    return table.filter(keep).select(columns), dropped


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
    if not ends.select(is_cut.any()).item():
        return after, empty(EVENTS)
    inner = after.join(ends, on=["conversation", "message"], how="anti")
    covering = pl.concat([own.select(MESSAGE_KEY) for own in (inner, ends.filter(~is_cut))])
    covered = ends.filter(is_cut).join(covering, on=MESSAGE_KEY, how="semi", maintain_order="left")
    again = ends.filter(is_cut, pl.struct(MESSAGE_KEY).is_first_distinct().not_())
    gone = pl.concat([covered, again]).unique("conversation", maintain_order=True)
    detail = "up to " + pl.col("message")
    lost = events("conversation", gone, "conversation", pl.lit("prefix_of_another"), detail)
    return after.join(gone, on="conversation", how="anti", maintain_order="left"), lost


# --------------------------------------------------------------------------------------- split


def _split(
    all_messages: pl.DataFrame,
    messages: pl.DataFrame,
    refused: pl.DataFrame,
    texts: Texts,
    options: Render,
) -> Fitted:
    """Several rows of what is too long, the latest turns before each carried as context."""
    one_row = _windows(messages, texts) is None
    windows, cuts = (_split_history if one_row else _split_answers)(messages, texts, options)
    kept, lost = _apply(cuts, messages)
    kept, also_refused = _refuse(kept, windows, texts)
    order = kept.select("conversation").unique(maintain_order=True)
    windows = order.join(windows, on="conversation", maintain_order="left_right")
    return Fitted(kept, windows, _all_events(all_messages, kept, [refused, lost, also_refused]))


def _apply(cuts: list[spans.Cut], messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ends conversations early, and the events of those of which no answer is left."""
    table = pl.DataFrame(
        cuts,
        schema={"conversation": pl.String, "cut_at": pl.Int64, "detail": pl.String},
        orient="row",
    )
    table = messages.join(table, on="conversation", how="left", maintain_order="left")
    whole, early = pl.col("cut_at").is_null(), pl.col("position") <= pl.col("cut_at")
    answered = ((pl.col("role") == "assistant") & early).any().over("conversation")
    keep = whole | (early & answered)
    gone = table.filter(whole.not_(), answered.not_())
    gone = gone.unique("conversation", keep="first", maintain_order=True)
    lost = events("conversation", gone, "conversation", pl.lit("too_long"), pl.col("detail"))
    return table.filter(keep).select(messages.columns), lost


def _split_history(
    messages: pl.DataFrame, texts: Texts, options: Render
) -> tuple[pl.DataFrame, list[spans.Cut]]:
    """Windows of conversations that are one row each where they fit.

    A template may write more at the ends of a row than in the middle of one, so the rows are
    measured, and conversations with one that is too long are split again with less to spend.
    """
    budget, cuts = options.budget(), []
    long = _too_long(messages, messages.select(row="conversation").unique(), texts, options)
    windows = [spans.whole(messages.join(long, on="conversation", how="anti"))]
    while not long.is_empty():
        again = messages.join(long, on="conversation", how="semi", maintain_order="left")
        found, ends = spans.split(again, *_sizes_and_heads(again, texts, options), budget)
        long = _too_long(spans.rows(again, found), found, texts, options)
        still = set(long["conversation"])
        windows.append(found.join(long, on="conversation", how="anti", maintain_order="left"))
        cuts += [cut for cut in ends if cut.conversation not in still]
        if still:
            excess = int(long["tokens"].to_numpy().max()) - options.budget().tokens
            budget = spans.Budget(budget.tokens - excess, budget.carried)
    return pl.concat(windows), cuts


def _too_long(
    said: pl.DataFrame, windows: pl.DataFrame, texts: Texts, options: Render
) -> pl.DataFrame:
    """Conversations with a row of more than `max_tokens`, and the most it has: (conversation,
    tokens)."""
    lengths = _lengths(said, texts, options)
    if "conversation" not in windows.columns:
        windows = windows.with_columns(conversation="row")
    lengths = lengths.join(windows, on="row", how="left", maintain_order="left")
    most = lengths.group_by("conversation", maintain_order=True).agg(pl.col("tokens").max())
    return most.filter(pl.col("tokens") > options.max_tokens)


def _sizes_and_heads(messages: pl.DataFrame, texts: Texts, options: Render) -> tuple[Ints, Ints]:
    """The tokens of each message, and of what stands before the first one of each row."""
    heads = start_tokens(messages, texts)
    return _sizes(messages, texts, options) - heads, heads


def _split_answers(
    messages: pl.DataFrame, texts: Texts, options: Render
) -> tuple[pl.DataFrame, list[spans.Cut]]:
    """Windows of conversations of which each answer is a row: earlier turns go where they must.

    A row that has to lose some keeps what fits, or as much as `carry_tokens` says.
    """

    def sizes(windows: pl.DataFrame) -> pl.DataFrame:
        return _lengths(spans.rows(messages, windows), texts, options)

    limit = options.max_tokens or 0
    budget = spans.Budget(limit, limit if options.carry_tokens is None else options.carry_tokens)
    windows, cuts = spans.each_answer(messages), list[spans.Cut]()
    lengths = sizes(windows)
    too_long = windows.filter(lengths["tokens"] > budget.tokens)
    alone = sizes(spans.without_context(too_long, messages)).rename({"tokens": "alone"})
    while (long := _exceeding(lengths, alone, budget)).any():
        windows, stuck = spans.with_less_context(windows, messages, long)
        stuck = stuck.sort("conversation", "last").unique("conversation", keep="first")
        for name, first in stuck.select("conversation", "first").sort("conversation").iter_rows():
            detail = f"an answer and its question need more than {options.max_tokens} tokens"
            cuts = [own for own in cuts if own.conversation != name]
            cuts.append(spans.Cut(name, first - 1, detail))
        ends = stuck.select("conversation", end=pl.col("first"))
        windows = windows.join(ends, on="conversation", how="left", maintain_order="left")
        early = pl.col("end").is_null() | (pl.col("last") < pl.col("end"))
        windows = windows.filter(early).select(spans.WINDOWS.keys())
        lengths = sizes(windows)
    return windows, cuts


def _exceeding(lengths: pl.DataFrame, alone: pl.DataFrame, budget: spans.Budget) -> Bools:
    """Which rows are too long, or carry too much where `alone` says what they have without it."""
    tokens = pl.col("tokens")
    sized = lengths.join(alone, on="row", how="left", maintain_order="left")
    carries = (tokens - pl.col("alone") > budget.carried).fill_null(False)
    return sized.select((tokens > budget.tokens) | carries).to_series().to_numpy()


# -------------------------------------------------------------------------------------- render


def render(
    messages: pl.DataFrame, windows: pl.DataFrame | None, texts: Texts, options: Render
) -> Rendered:
    """Renders conversations, given as rows of MESSAGES in order, one row for each window.

    Rows without a trained token are dropped, and conversations of which no row is left. Raises
    RenderError where text would become a control token.
    """
    learnt = _last_answers(messages) if options.train_on == "last_assistant" else messages
    said = _said(learnt, windows)
    pieces = write(said, texts, options.train_on)
    said, pieces = _learnable(said, pieces)
    names = said["conversation"].unique(maintain_order=True)
    kept, lost = _with_rows(messages, windows, names)
    return _join(messages, kept, said, _conversations(names, windows), pieces, texts, lost)


def _last_answers(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages, of which only the last answer of each conversation is trained."""
    answers = pl.col("position").filter(pl.col("role") == "assistant")
    is_last = pl.col("position") == answers.max().over("conversation")
    return messages.with_columns(train=pl.col("train") & is_last)


def _numbers(said: pl.DataFrame) -> Ints:
    """The number of the row of each message, counted from 0 in their order."""
    return said["conversation"].rle_id().to_numpy().astype(np.int64)


def _learnable(said: pl.DataFrame, pieces: Pieces) -> tuple[pl.DataFrame, Pieces]:
    """Drops rows of which no token is trained."""
    rows = _numbers(said)
    trained = np.bincount(rows[pieces.message], (pieces.tokens - pieces.heads) * pieces.trained)
    keep: Bools = (trained > 0)[rows]
    if keep.all():
        return said, pieces
    return said.filter(pl.Series(keep, dtype=pl.Boolean)), pieces.of(keep)


def _with_rows(
    messages: pl.DataFrame, windows: pl.DataFrame | None, names: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drops conversations without a row."""
    left = pl.DataFrame({"conversation": _conversations(names, windows)}).unique()
    gone = messages.join(left, on="conversation", how="anti", maintain_order="left")
    if gone.is_empty():
        return messages, empty(EVENTS)
    gone = gone.unique("conversation", keep="first", maintain_order=True)
    lost = events("conversation", gone, "conversation", pl.lit("no_trained_tokens"))
    return messages.join(gone, on="conversation", how="anti", maintain_order="left"), lost


def _conversations(names: pl.Series, windows: pl.DataFrame | None) -> pl.Series:
    """The conversation of each row."""
    if windows is None:
        return names
    rows = pl.DataFrame({"row": names}, schema={"row": pl.String})
    return rows.join(windows, on="row", how="left", maintain_order="left")["conversation"]


def _join(
    before: pl.DataFrame,
    kept: pl.DataFrame,
    said: pl.DataFrame,
    conversations: pl.Series,
    pieces: Pieces,
    texts: Texts,
    lost: pl.DataFrame,
) -> Rendered:
    input_ids = texts.joined(pieces.text)
    learnt = np.repeat(pieces.trained, pieces.tokens)
    learnt[_untrained_places(pieces)] = False
    rows = _numbers(said)[pieces.message]
    lengths = np.bincount(rows, pieces.tokens).astype(np.int64)
    trained = np.bincount(rows, (pieces.tokens - pieces.heads) * pieces.trained).astype(np.int64)
    return Rendered(
        said["conversation"].unique(maintain_order=True).to_list(),
        conversations.to_list(),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        input_ids,
        np.where(learnt, input_ids, np.int32(IGNORE_INDEX)),
        trained,
        said,
        kept,
        pl.concat([lost, orphaned_messages(before, kept, lost, "no_trained_tokens")]),
    )


def _untrained_places(pieces: Pieces) -> Ints:
    """Where the untrained tokens at the starts of trained pieces stand."""
    starts = np.cumsum(pieces.tokens) - pieces.tokens
    concerned = pieces.trained & (pieces.heads > 0)
    return gather(starts[concerned], pieces.heads[concerned])[0]
