"""What a row of tokens is made of: control tokens, and texts between them.

Control tokens cut a string before a tokenizer looks at it, so the texts between them can be
tokenised apart, each distinct one once, and joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from chatdata.render.chat_template import ChatTemplate, UnrenderableError
from chatdata.render.segments.draft import Bools, Draft, TrainOn, rows_of, value_of
from chatdata.render.segments.from_jinja import script, write_rendered
from chatdata.render.segments.from_spec import start_tokens, write_joined, write_turnwise
from chatdata.render.segments.header_mask import gather, untrained_heads
from chatdata.render.segments.text_pool import Ints, Texts
from chatdata.render.templates import Template

__all__ = [
    "Bools",
    "Ints",
    "Pieces",
    "Texts",
    "TrainOn",
    "gather",
    "start_tokens",
    "unrenderable",
    "value_of",
    "write",
]


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of all rows in order. A piece is a text, or what the template writes."""

    message: Ints  # which message, by its place in the table
    text: Ints  # which text of `Texts`
    trained: Bools
    tokens: Ints  # how many there are
    heads: Ints  # how many of them, at the start, are never trained

    def of(self, messages: Bools) -> Pieces:
        """The pieces of the chosen messages, which are numbered anew."""
        here = messages[self.message]
        numbers = messages.cumsum() - 1
        return Pieces(
            numbers[self.message[here]],
            self.text[here],
            self.trained[here],
            self.tokens[here],
            self.heads[here],
        )


def write(messages: pl.DataFrame, texts: Texts, train_on: TrainOn) -> Pieces:
    """The pieces of rows, given as messages in order, tokenised.

    Every row can be written: `unrenderable` says which cannot.
    """
    draft = _writer(texts.tokenizer.template)(messages, texts, train_on)
    texts.encode()
    _, _, lengths = texts.pool()
    heads = untrained_heads(draft, texts)
    return Pieces(draft.message, draft.text, draft.trained, lengths[draft.text], heads)


def _writer(
    template: Template | ChatTemplate,
) -> Callable[[pl.DataFrame, Texts, TrainOn], Draft]:
    value = value_of(template)
    if value is None:
        return write_rendered
    closed = all(turn.open and turn.close for turn in value.all_turns())
    return write_turnwise if closed else write_joined


def unrenderable(messages: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """The rows that the template cannot write, or not exactly: (conversation, detail)."""
    value = value_of(texts.tokenizer.template)
    reasons = _unwritten(messages, texts) if value is None else _without_place(messages, value)
    return pl.DataFrame(
        reasons, schema={"conversation": pl.String, "detail": pl.String}, orient="row"
    )


def _without_place(messages: pl.DataFrame, value: Template) -> list[tuple[str, str]]:
    known = [role for role in value.turns if role != "system"]
    known += ["system"] if "system" in value.turns else []
    lost = messages.filter(pl.col("role").cast(pl.String).is_in(known).not_())
    lost = lost.unique("conversation", keep="first", maintain_order=True)
    detail = pl.format("the template has no place for role '{}'", "role")
    return list(lost.select("conversation", detail).iter_rows())


def _unwritten(messages: pl.DataFrame, texts: Texts) -> list[tuple[str, str]]:
    reasons = []
    for name, own in rows_of(messages):
        try:
            script(texts, name, own)
        except UnrenderableError as error:
            reasons.append((name, str(error)))
    return reasons
