"""Conversations of a built folder for people at a terminal, trained text marked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tokenizers
from rich.console import Console
from rich.text import Text

from chatdata.cli import choosing
from chatdata.cli.choosing import Choice
from chatdata.cli.terminal import has_colours, visible
from chatdata.core import row_id, train_parts
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import OutputError
from chatdata.core.template_variables import KEY
from chatdata.dataset import manifest, reader, renderings, tables
from chatdata.dataset.entries import Splits
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import NO_VARIABLES, words_of
from chatdata.dataset.tables import Table
from chatdata.render import token_parts, token_spans
from chatdata.render.conversation import Message

_TRAINED = "bold green"
_CONTEXT = "dim"
_CONTROL = " underline"  # added to either: a control token, not text that looks like one
# Of trained tokens by the part of an answer, and of the others.
_STYLES = {
    token_parts.CONTEXT: _CONTEXT,
    "empty_thought": "bold magenta",
    "reasoning": "bold magenta",
    "answer": _TRAINED,
    "tool_calls": "bold yellow",
    "end": "bold blue",
}
_MARKS = ("⟦", "⟧")  # around trained text where there are no colours


@dataclass(frozen=True, slots=True)
class Row:
    """A row of tokens, or of messages where nothing is rendered, and where it comes from.

    `taught` are the messages that a row of tokens teaches, with their calls as objects, and `about`
    are lines about what is given beside the words: variables, weights and `train_parts`.
    """

    columns: Mapping[str, Any]
    source: str
    lang: str | None
    taught: Sequence[Message]
    about: Sequence[str] = ()


# ---------------------------------------------------------------------------------- the query


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that are shown, and how many fit what is asked for; None where nobody counted."""

    rows: list[Row]
    fitting: int | None = None


def find(folder: Path, choice: Choice, rendering: str | None = None) -> Found:
    """The rows that fit what is asked for.

    `rendering` names an added rendering; None stands for that of the build. Raises OutputError
    where no row fits.
    """
    kind, figures = _table(manifest.read(folder), rendering)
    filled = [name for name, entry in figures.items() if entry.rows]
    splits = [choice.split] if choice.split else filled
    rows = reader.scan(folder, kind.name, splits)
    fitting = None
    if choice.id:
        table = rows.filter(_has_id(choice.id)).collect()
    elif choice.limits() or choice.seed is not None:
        table, fitting = _chosen(folder, choice, rows, splits)
    else:
        table = rows.head(choice.number).collect()
    if table.is_empty():
        raise OutputError(
            f"no row of '{folder}' has the id '{choice.id}'; `chatdata explain {folder} "
            f"{choice.id}` says what became of it."
        )
    origins = _origins(folder, splits, table["id"].to_list())
    return Found([_row(columns, origins) for columns in table.iter_rows(named=True)], fitting)


def _chosen(
    folder: Path, choice: Choice, rows: pl.LazyFrame, splits: list[str]
) -> tuple[pl.DataFrame, int]:
    """The rows that are shown of those that fit, and how many fit. Of their columns only the
    stretches of the table that hold them are read."""
    ids = rows.select("id").with_row_index()
    if choice.limits():
        ids = ids.filter(choosing.of_conversations(choosing.conversations(folder, choice, splits)))
    fitting = ids.collect()
    if fitting.is_empty():
        raise OutputError(
            f"what fits in '{folder}' has no row in this rendering; `chatdata explain` says why."
        )
    places = fitting["index"][choice.places(fitting.height)].to_list()
    return pl.concat([rows.slice(place, 1) for place in places]).collect(), fitting.height


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
    """The source, language and messages of the conversations of rows, by the conversation's id."""
    ids = pl.Series([*rows, *(row_id.conversation_of(row) for row in rows)]).implode()
    messages = _around(reader.scan(folder, "messages", splits), pl.col("id").is_in(ids))
    optional = [KEY] if KEY in messages.collect_schema().names() else []
    table = messages.select("id", "source", "lang", "messages", *optional).collect()
    return {origin["id"]: origin for origin in table.iter_rows(named=True)}


def _around(rows: pl.LazyFrame, is_wanted: pl.Expr) -> pl.LazyFrame:
    """The rows that are wanted by their ids. Of the other columns only the stretch of the table
    that holds them is read."""
    numbered = rows.select("id").with_row_index().filter(is_wanted).collect()
    places = numbered["index"].to_list() or [0]
    return rows.slice(places[0], places[-1] - places[0] + 1).filter(is_wanted)


def _row(columns: Mapping[str, Any], origins: Mapping[str, Any]) -> Row:
    id = columns["id"]
    origin = origins.get(id) or origins[row_id.conversation_of(id)]
    messages = origin["messages"]
    first, last = row_id.parse(id, origin["id"]) or (0, len(messages) - 1)
    taught = [_with_calls(message) for message in messages[first : last + 1]]
    variables = origin.get(KEY) or NO_VARIABLES
    about = [f"variables: {variables}"] if variables != NO_VARIABLES else []
    about += _settings(taught, first)
    return Row(columns, origin["source"], origin["lang"], taught, about)


def _settings(messages: Sequence[Message], first: int) -> Iterator[str]:
    """Yields a line for each message with a weight or `train_parts`; `first` is the number of the
    first message."""
    for number, message in enumerate(messages, first):
        weight, parts = message.get("weight"), message.get(train_parts.KEY)
        settings = [f"weight {weight:g}"] if weight is not None else []
        settings += [f"{train_parts.KEY} {', '.join(parts)}"] if parts is not None else []
        if settings:
            yield f"message {number}: {'; '.join(settings)}"


def _with_calls(message: Message) -> Message:
    """A published message with its calls as objects."""
    calls = message.get("tool_calls")
    return {**message, "tool_calls": json.loads(calls)} if calls else message


# ---------------------------------------------------------------------------------- the print


def print_rows(
    rows: Sequence[Row],
    decoder: tokenizers.Tokenizer | None,
    console: Console,
    pattern: str | None,
) -> None:
    """Prints rows: trained text has the colour of its part, or stands in ⟦ ⟧ without colours. What
    the pattern matches is shown in reverse."""
    for row in rows:
        _heading(row, console)
        body = _tokens(row, decoder, console) if decoder else _messages(row.columns, console)
        if pattern:
            body.highlight_regex(pattern, "reverse")
        console.print(body, soft_wrap=True)
        console.print()
    _legend(console, rendered=decoder is not None)


def print_ids(rows: Sequence[Row], decoder: tokenizers.Tokenizer, console: Console) -> None:
    """Prints rows as a line for each token: its place, id, part of an answer, and text."""
    for row in rows:
        _heading(row, console)
        parts = token_parts.of_row(row.columns, row.taught, decoder)
        for place, (id, part) in enumerate(zip(row.columns["input_ids"], parts, strict=True)):
            token = json.dumps(decoder.decode([id], skip_special_tokens=False), ensure_ascii=False)
            line = Text(f"{place:6} {id:7}  {part:13} ").append(visible(token))
            line.stylize(_STYLES[part])
            console.print(line, soft_wrap=True)
        console.print()


def _heading(row: Row, console: Console) -> None:
    details = [row.columns["split"], row.source, row.lang or "language unknown"]
    if "length" in row.columns:
        details.append(f"{row.columns['trained']} of {row.columns['length']} tokens trained")
    title = Text(visible(row.columns["id"]), style="bold")
    console.print(title.append("  " + ", ".join(details), style="not bold cyan"), soft_wrap=True)
    for line in row.about:
        console.print(Text(visible(line), style="cyan"), soft_wrap=True)


def _tokens(shown: Row, decoder: tokenizers.Tokenizer, console: Console) -> Text:
    row, text = shown.columns, Text()
    if not has_colours(console):
        is_trained = np.asarray(row["labels"]) != IGNORE_INDEX
        for start, end in token_spans.equal_spans(is_trained).tolist():
            words = decoder.decode(row["input_ids"][start:end], skip_special_tokens=False)
            _put(text, words, bool(is_trained[start]), console)
        return text
    special = token_spans.special_ids(decoder)
    styles = np.array(
        [
            _STYLES[part] + _CONTROL * (id in special)
            for part, id in zip(
                token_parts.of_row(row, shown.taught, decoder), row["input_ids"], strict=True
            )
        ]
    )
    for start, end in token_spans.equal_spans(styles).tolist():
        words = decoder.decode(row["input_ids"][start:end], skip_special_tokens=False)
        text.append(visible(words), style=str(styles[start]))
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
            for part in ("reasoning", "tool_calls", "end"):
                legend.append("  ").append(part.replace("_", " "), style=_STYLES[part])
    console.print(legend)
