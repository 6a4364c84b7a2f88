"""The difference of two folders, and the verdicts on a folder, for people at a terminal."""

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
_SAYS = {
    "added": "added",
    "removed": "removed",
    "changed": "changed",
    "the_same": "the same",
    "retokenised": "with other tokens",
    "relabelled": "with other tokens trained",
}
_VERDICTS = {"ok": "green", "failed": "bold red", "skipped": "dim"}


def print_difference(difference: Difference, console: Console) -> None:
    """Prints the difference, the rows first."""
    old, new = difference.before, difference.after
    _line(console, f"{old['name']} {old['version']} → {new['name']} {new['version']}", "bold")
    _rows(difference, console)
    for title, changes in (
        ("dropped", difference.changes.dropped),
        ("recipe", difference.changes.recipe),
        ("sources", difference.changes.sources),
        ("rendering", difference.changes.render),
        ("pairs", difference.changes.pairs),
        ("added renderings", difference.changes.renders),
        ("versions", difference.changes.versions),
    ):
        _changes(title, changes, console)
    _ids("added", difference.added, "green", console)
    _ids("removed", difference.removed, "red", console)
    for example in difference.changed:
        _example(example, console)


def _rows(difference: Difference, console: Console) -> None:
    counts = difference.rows
    _line(
        console,
        f"conversations {_step(difference, 'rows')}: {counts['added']:,} added, "
        f"{counts['removed']:,} removed, {counts['changed']:,} changed, "
        f"{counts['the_same']:,} the same",
    )
    for key, words in (
        ("facts", "have another group, source or language"),
        ("retokenised", "have the same messages and other tokens"),
        ("relabelled", "have the same tokens, and other tokens are trained"),
    ):
        if counts[key]:
            _line(console, f"  {counts[key]:,} {words}")
    for way, number in difference.moved.items():
        _line(console, f"  {number:,} moved, {way}")
    if difference.before["tokens"] or difference.after["tokens"]:
        tokens, trained = _step(difference, "tokens"), _step(difference, "trained_tokens")
        _line(console, f"tokens {tokens}, trained tokens {trained}")
    if difference.pairs:
        _line(console, f"pairs: {_numbers(difference.pairs)}")
    for name, rows in difference.renders.items():
        _line(console, f"rendering {name}: {_numbers(rows)}")
    _sources(difference.sources, console)
    _reasons("removed, by the reason in the second ledger", difference.removed_because, console)
    _reasons("added, by the reason in the first ledger", difference.added_because, console)


def _numbers(rows: Mapping[str, int]) -> str:
    """How many rows there are of each kind, in words."""
    return ", ".join(f"{number:,} {_SAYS[key]}" for key, number in rows.items() if number)


def _step(difference: Difference, key: str) -> str:
    """Both numbers and their difference, such as `10 → 12 (+2)`."""
    old, new = difference.before[key] or 0, difference.after[key] or 0
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
        numbers = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        _line(console, f"{title}: {numbers}")


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


def print_verdicts(
    verdicts: Sequence[Verdict], unknown_files: Sequence[str], console: Console
) -> None:
    """Prints a line for each check, and a line for each further problem."""
    for verdict in verdicts:
        head = Text(f"{verdict.outcome:<8}", style=_VERDICTS[verdict.outcome])
        first, *rest = _texts(verdict)
        console.print(head.append(f"{verdict.check:<12}{first}", style="not bold"), soft_wrap=True)
        for text in rest:
            _line(console, f"{'':20}{text}")
    if unknown_files:
        names = ", ".join(unknown_files[:5]) + (", ..." if len(unknown_files) > 5 else "")
        _line(console, f"not part of the dataset: {names}", "dim")


def _texts(verdict: Verdict) -> list[str]:
    if verdict.outcome == "ok":
        return [verdict.about]
    return verdict.problems or ["not checked, because a check above failed"]
