"""An audit, for people at a terminal."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.text import Text

from chatdata.cli.terminal import visible
from chatdata.verify.audit.auditing import Audit
from chatdata.verify.audit.findings import MARKS, Result

_STYLES = {"ok": "green", "fault": "bold red", "remark": "cyan", "skipped": "dim"}
_TITLES = {"messages": ("conversations", "messages"), "records": (), "tokens": ("rows", "tokens")}
_INDENT = 4


def print_audit(audit: Audit, console: Console) -> None:
    """Prints a line for each check, and under each case an example, its meaning, the way out."""
    names = ", ".join(audit.files[:3]) + (", ..." if len(audit.files) > 3 else "")
    files = f"{len(audit.files)} files: {names}" if len(audit.files) > 1 else names
    _line(console, files, "bold", indent=0)
    for kind, results in groupby(audit.results, lambda result: result.kind):
        numbers = [f"{audit.read[unit]:,} {unit}" for unit in _TITLES[kind]]
        if numbers:
            _line(console, ", ".join(numbers), "bold", indent=0)
        for result in results:
            _print_result(result, console)
    if audit.unknown:
        _line(console, f"not audited: {', '.join(audit.unknown)}", "dim", indent=0)
    _line(console, _sum(audit.faults), "bold", indent=0)


def _sum(faults: int) -> str:
    if not faults:
        return "no faults"
    return f"{faults} check found faults" if faults == 1 else f"{faults} checks found faults"


def _print_result(result: Result, console: Console) -> None:
    style = _STYLES[result.outcome]
    head = Text(f"{MARKS[result.outcome]} ", style=style)
    head.append(f"{result.check.name:<24}", style="not bold")
    console.print(head.append(result.headline, style="not bold"), soft_wrap=True)
    if result.why or not result.cases.count:
        return
    if result.details:
        _line(console, result.details)
    if result.cases.example:
        id, where, words = result.cases.example
        place = "" if where == id else f" ({where})"
        _line(console, f"for example {id}{place}" + (f": {words}" if words else ""))
    _line(console, f"{result.check.means} {result.check.way_out}".strip(), "dim")


def _line(console: Console, words: str, style: str = "", indent: int = _INDENT) -> None:
    console.print(Text(" " * indent + visible(words), style=style), soft_wrap=True)
