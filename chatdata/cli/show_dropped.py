"""What was dropped, for people at a terminal: why, its place, its words, and the way to keep it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from chatdata.cli import keeping
from chatdata.cli.choosing import Choice
from chatdata.cli.terminal import visible
from chatdata.core.config import nearest_sentence
from chatdata.core.errors import OutputError
from chatdata.dataset import dropped, manifest
from chatdata.dataset.dropped import Selection
from chatdata.steps import filters

_Row = Mapping[str, Any]


def find(folder: Path, reason: str | None, choice: Choice) -> Selection:
    """The entries of what was dropped for a reason that fit what is asked for.

    Raises OutputError for a reason for which nothing was dropped, and for a folder without the
    words of what was dropped.
    """
    counts = manifest.read(folder).counts
    known = {name: None for _, count in counts.items() for name in count.dropped}
    if reason is not None and reason not in known:
        hint = nearest_sentence(reason, known) if known else "nothing was dropped at all."
        raise OutputError(f"nothing in '{folder}' was dropped for '{reason}'; {hint}")
    if known and not dropped.is_in(folder):
        raise OutputError(
            f"'{folder}' has no folder `dropped`: a folder that was pulled or rendered again, or "
            "built with --no-dropped or by an earlier chatdata, has the reasons alone "
            "(`chatdata explain`). Build it again from its sources to have the texts."
        )
    return dropped.select(
        folder, reason=reason, words=choice.words, source=choice.source, places=choice.places
    )


def print_entries(folder: Path, selection: Selection, console: Console) -> None:
    """Prints entries, numbered: what was dropped and why, its place, its words, the way to keep
    it."""
    rows = [entry.row(0, named=True) for entry in selection.entries]
    ways = keeping.to_keep(folder, rows)
    for number, (entry, way) in enumerate(zip(selection.entries, ways, strict=True), start=1):
        _print_entry(f"{number} of {selection.number}", entry, way or "", console)
        console.print()


def _print_entry(number: str, entry: pl.DataFrame, way: str, console: Console) -> None:
    first, *messages = entry.iter_rows(named=True)
    head = Text(f"{number}  ", style="dim").append(f"{first['unit']} ", style="dim")
    head.append(visible(first["id"]), style="bold").append("  ")
    head.append(visible(first["reason"]), style="yellow")
    console.print(head, soft_wrap=True)
    for line in (*_about(first), way):
        console.print(Text(f"    {visible(line)}"), soft_wrap=True)
    for row in messages or [first]:
        print_words(row, console, why=_why(row, first))


def _about(row: _Row) -> Iterator[str]:
    """Yields why something was dropped, and where it stands."""
    yield filters.about(row["reason"])
    if row["detail"]:
        yield row["detail"]
    place = f"in {row['place']}" if row["place"] else "its place is not known"
    yield f"{place}, source {row['source']}"


def _why(row: _Row, first: _Row) -> str:
    """Why a message of a conversation was dropped, where that says more than the conversation."""
    if row is first or (row["reason"], row["detail"]) == (first["reason"], first["detail"]):
        return ""
    return f"  ({row['reason']}: {row['detail']})" if row["detail"] else f"  ({row['reason']})"


def print_words(row: _Row, console: Console, why: str = "") -> None:
    """Prints what a row of what was dropped says, as far as it is held."""
    turn = f"{row['position']} " if row["position"] is not None else ""
    speaker = f"{turn}{row['role'] or ('unknown role' if row['unit'] == 'message' else '')}".strip()
    if speaker:
        console.print(Text(visible(f"  {speaker}:{why}"), style="cyan"), soft_wrap=True)
    texts = [row[name] for name in ("reasoning", "content", "tool_calls") if row[name] is not None]
    for words in texts or [_SILENT.get(row["unit"], "")]:
        text = textwrap.indent(visible(words), "    ")
        console.print(Text(text, style="" if texts else "dim"), soft_wrap=True)


# In the place of words that are not held.
_SILENT = {
    "message": "(no text that could be read)",
    "record": "(nothing of it could be read)",
    "conversation": "(its messages stand in conversations that were kept, or by themselves)",
}
