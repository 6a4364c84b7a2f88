"""Conversations of a built folder for people at a terminal, trained text marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tokenizers
from rich.console import Console
from rich.text import Text

from chatdata.cli.terminal import has_colours, visible
from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, reader, renderings, tables
from chatdata.dataset.entries import Splits
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import words_of
from chatdata.dataset.tables import Table
from chatdata.render import token_spans

_TRAINED = "bold green"
_CONTEXT = "dim"
_CONTROL = " underline"  # added to either: a control token, not text that looks like one
_MARKS = ("⟦", "⟧")  # around trained text where there are no colours


@dataclass(frozen=True, slots=True)
class Row:
    """A row of tokens, or of messages where nothing is rendered, and where it comes from."""

    columns: Mapping[str, Any]
    source: str
    lang: str | None


# ---------------------------------------------------------------------------------- the query


def find(
    folder: Path,
    *,
    id: str | None,
    number: int,
    split: str | None,
    rendering: str | None = None,
) -> list[Row]:
    """The rows with this id, or else the first `number` rows, of one split or of all.

    `rendering` names an added rendering; None stands for that of the build. Raises OutputError
    where no row has the id.
    """
    kind, figures = _table(manifest.read(folder), rendering)
    filled = [name for name, entry in figures.items() if entry.rows]
    splits = [split] if split else filled
    rows = reader.scan(folder, kind.name, splits)
    table = (rows.filter(_has_id(id)) if id else rows.head(number)).collect()
    if table.is_empty():
        raise OutputError(
            f"no row of '{folder}' has the id '{id}'; `chatdata explain {folder} {id}` says "
            "what became of it."
        )
    origins = _origins(folder, splits, table["id"].to_list())
    return [_row(columns, origins) for columns in table.iter_rows(named=True)]


def _table(described: Manifest, rendering: str | None) -> tuple[Table, Splits]:
    """The table that is shown, and its figures: messages where nothing is rendered."""
    if rendering is None and described.render is None:
        return tables.MESSAGES, described.splits
    chosen = renderings.of(described, rendering)
    return chosen.table, chosen.splits


def decoder(folder: Path, rendering: str | None = None) -> tokenizers.Tokenizer | None:
    """The tokenizer that turns ids of the folder into text, or None where nothing is rendered."""
    described = manifest.read(folder)
    if rendering is None and described.render is None:
        return None
    return token_spans.decoder(folder / renderings.of(described, rendering).tokenizer)


def _has_id(id: str) -> pl.Expr:
    """Whether a row has this id, or is one of several rows of the conversation with this id."""
    row = pl.col("id")
    return (row == id) | (row.str.starts_with(f"{id}#") & row_id.has_span(row))


def _origins(folder: Path, splits: Sequence[str], rows: Sequence[str]) -> dict[str, Any]:
    """The source and language of the conversations of rows, by the conversation's id."""
    ids = pl.Series([*rows, *(row_id.conversation_of(row) for row in rows)]).implode()
    messages = reader.scan(folder, "messages", splits).filter(pl.col("id").is_in(ids))
    table = messages.select("id", "source", "lang").collect()
    return {origin["id"]: origin for origin in table.iter_rows(named=True)}


def _row(columns: Mapping[str, Any], origins: Mapping[str, Any]) -> Row:
    id = columns["id"]
    origin = origins.get(id) or origins[row_id.conversation_of(id)]
    return Row(columns, origin["source"], origin["lang"])


# ---------------------------------------------------------------------------------- the print


def print_rows(rows: Sequence[Row], decoder: tokenizers.Tokenizer | None, console: Console) -> None:
    """Prints rows: trained text is green, or stands in ⟦ ⟧ without colours."""
    for row in rows:
        _heading(row, console)
        columns = row.columns
        body = _tokens(columns, decoder, console) if decoder else _messages(columns, console)
        console.print(body, soft_wrap=True)
        console.print()
    _legend(console, rendered=decoder is not None)


def _heading(row: Row, console: Console) -> None:
    details = [row.columns["split"], row.source, row.lang or "language unknown"]
    if "length" in row.columns:
        details.append(f"{row.columns['trained']} of {row.columns['length']} tokens trained")
    title = Text(visible(row.columns["id"]), style="bold")
    console.print(title.append("  " + ", ".join(details), style="not bold cyan"), soft_wrap=True)


def _tokens(row: Mapping[str, Any], decoder: tokenizers.Tokenizer, console: Console) -> Text:
    text = Text()
    if not has_colours(console):
        is_trained = np.asarray(row["labels"]) != IGNORE_INDEX
        for start, end in token_spans.equal_spans(is_trained).tolist():
            words = decoder.decode(row["input_ids"][start:end], skip_special_tokens=False)
            _put(text, words, bool(is_trained[start]), console)
        return text
    for span in token_spans.text_spans(row, decoder):
        style = (_TRAINED if span.is_trained else _CONTEXT) + _CONTROL * span.is_control
        text.append(visible(span.text), style=style)
    return text


def _messages(row: Mapping[str, Any], console: Console) -> Text:
    text = Text()
    for message in row["messages"]:
        text.append(f"{message['role']}: ", style="cyan")
        is_trained = message.get("train", message["role"] == "assistant")
        _put(text, words_of(message), is_trained, console)
        text.append("\n")
    return text


def _put(text: Text, words: str, trained: bool, console: Console) -> None:
    if trained and not has_colours(console):
        text.append(_MARKS[0] + visible(words) + _MARKS[1])
    else:
        text.append(visible(words), style=_TRAINED if trained else _CONTEXT)


def _legend(console: Console, *, rendered: bool) -> None:
    legend = Text()
    _put(legend, "trained" if rendered else "spoken by the assistant", True, console)
    if has_colours(console):
        legend.append("  context", style=_CONTEXT)
        if rendered:
            legend.append("  ").append("control token", style=_CONTEXT + _CONTROL)
    console.print(legend)
