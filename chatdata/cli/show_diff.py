"""For people at a terminal: what differs between two folders, and what a verification found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatdata.cli.terminal import has_colours, visible
from chatdata.dataset.manifest_diff import Change
from chatdata.verify.dataset_diff import Difference, Example
from chatdata.verify.verification import Verdict

_STYLES = {"=": "dim", "-": "red strike", "+": "green"}
_MARKS = {"=": ("", ""), "-": ("[-", "-]"), "+": ("{+", "+}")}  # where there are no colours
_MOST_LINES = 20  # of one kind
_VERDICTS = {"ok": "green", "failed": "bold red", "skipped": "dim"}


def difference(own: Difference, console: Console) -> None:
    """Prints what differs, the rows first."""
    one, other = own.before, own.after
    _line(console, f"{one['name']} {one['version']} → {other['name']} {other['version']}", "bold")
    _rows(own, console)
    for title, changes in (
        ("dropped", own.changes.dropped),
        ("recipe", own.changes.recipe),
        ("sources", own.changes.sources),
        ("rendering", own.changes.render),
        ("versions", own.changes.versions),
    ):
        _changes(title, changes, console)
    _ids("added", own.added, "green", console)
    _ids("removed", own.removed, "red", console)
    for example in own.changed:
        _example(example, console)


def _rows(own: Difference, console: Console) -> None:
    counts = own.rows
    _line(
        console,
        f"conversations {_step(own, 'rows')}: {counts['added']:,} added, {counts['removed']:,} "
        f"removed, {counts['changed']:,} changed, {counts['the_same']:,} the same",
    )
    for key, words in (
        ("facts", "have another group, source or language"),
        ("retokenised", "say the same in other tokens"),
        ("relabelled", "have the same tokens, of which others are trained"),
    ):
        if counts[key]:
            _line(console, f"  {counts[key]:,} {words}")
    for way, number in own.moved.items():
        _line(console, f"  {number:,} moved, {way}")
    if own.before["tokens"] or own.after["tokens"]:
        _line(
            console,
            f"tokens {_step(own, 'tokens')}, of them trained {_step(own, 'trained_tokens')}",
        )
    _sources(own.sources, console)
    _reasons("removed, and what the second ledger says", own.removed_because, console)
    _reasons("added, and what the first ledger says", own.added_because, console)


def _step(own: Difference, key: str) -> str:
    old, new = own.before[key] or 0, own.after[key] or 0
    return f"{old:,} → {new:,} ({new - old:+,})"


def _sources(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    columns = ("source", "before", "after", "added", "removed", "changed")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(f"{row[name]:,}" if name != "source" else row[name] for name in columns))
    console.print(table)


def _reasons(title: str, reasons: Mapping[str, int], console: Console) -> None:
    if reasons:
        found = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        _line(console, f"{title}: {found}")


def _changes(title: str, changes: Sequence[Change], console: Console) -> None:
    if changes:
        _line(console, title, "bold")
    for change in changes[:_MOST_LINES]:
        _line(console, f"  {change}")
    if len(changes) > _MOST_LINES:
        _line(console, f"  and {len(changes) - _MOST_LINES} more (--json has all)", "dim")


def _ids(title: str, ids: Iterable[str], style: str, console: Console) -> None:
    for id in ids:
        console.print(Text(f"{title} ", style=style).append(visible(id)), soft_wrap=True)


def _example(example: Example, console: Console) -> None:
    head = f"changed {visible(example.id)}, turn {example.turn} ({example.role})"
    _line(console, head, "yellow")
    text = Text("  ")
    for sign, words in example.words:
        before, after = ("", "") if has_colours(console) else _MARKS[sign]
        text.append(before + visible(words) + after, style=_STYLES[sign])
    console.print(text, soft_wrap=True)


def _line(console: Console, words: str, style: str = "") -> None:
    console.print(Text(visible(words), style=style), soft_wrap=True)


def verdicts(found: Sequence[Verdict], strangers: Sequence[str], console: Console) -> None:
    """Prints a line a check, and lines for what is wrong."""
    for own in found:
        head = Text(f"{own.outcome:<8}", style=_VERDICTS[own.outcome])
        words = own.about if own.outcome == "ok" else _problem(own, 0)
        console.print(head.append(f"{own.check:<12}{words}", style="not bold"), soft_wrap=True)
        for number in range(1, len(own.problems)):
            _line(console, f"{'':20}{_problem(own, number)}")
    if strangers:
        names = ", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else "")
        _line(console, f"beside the dataset: {names}", "dim")


def _problem(own: Verdict, number: int) -> str:
    return own.problems[number] if own.problems else "something above is wrong"
