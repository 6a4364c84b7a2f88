"""What became of something, for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from rich.console import Console
from rich.text import Text

from chatdata.cli.show_dropped import print_words
from chatdata.cli.terminal import visible
from chatdata.steps import filters


def print_explanation(outcomes: pl.DataFrame, ways: Sequence[str | None], console: Console) -> None:
    """Prints rows of the ledger: each outcome, the reason for it, and the way to keep it."""
    for row, way in zip(outcomes.iter_rows(named=True), ways, strict=True):
        head = Text(f"{row['unit']} ", style="dim").append(visible(row["id"]), style="bold")
        kept = row["outcome"] == "kept"
        head.append("  ").append(row["outcome"], style="green" if kept else "yellow")
        why = [] if kept else [f"{row['reason']}: {filters.about(row['reason'])}"]
        why += [row["detail"]] if row["detail"] else []
        why = [f"left out of rendering {row['rendering']}", *why] if row["rendering"] else why
        why += [f"in {row['conversation']}"] if row["conversation"] else []
        why += [way] if way else []
        console.print(head, soft_wrap=True)
        for line in why:
            console.print(Text(f"    {visible(line)}"), soft_wrap=True)
        if not kept and row.get("content") is not None:
            print_words(row, console)
