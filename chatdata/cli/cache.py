"""`chatdata cache`: what builds have kept, how much of it, and how to be rid of it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from chatdata.cli import options
from chatdata.cli.terminal import note, print_json, say
from chatdata.core import cache_folder

if TYPE_CHECKING:
    from chatdata.pipeline.cache import Cache

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}

_SHOWN = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class _Size(click.ParamType[int]):
    """A number of bytes, such as 10GB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The number of bytes. Fails for what is none."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)?", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write 500MB or 10GB.", param, ctx)
        return int(float(match[1]) * _UNITS[match[2] or ""])


def note_missing(is_wanted: bool) -> None:
    """Says that nothing is kept, where a command is to keep what it makes and cannot."""
    if is_wanted and (why := cache_folder.missing()):
        note(f"nothing is kept for the next time: {why}; set {cache_folder.VARIABLE} to a folder")


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything that is kept.")
@click.option("--limit", type=_Size(), help="The most that is kept, such as 10GB.")
@options.as_json
def cache(clear: bool, limit: int | None, as_json: bool) -> None:
    """Show what builds have kept for the next, or remove it.

    A build keeps what it made of each part of its input, words of conversations included. The next
    build takes what has not changed from there. CHATDATA_CACHE names another folder, or is `off`.

    \b
    chatdata cache
    chatdata cache --limit 10GB
    chatdata cache --clear
    """
    from chatdata.pipeline.cache import open_cache

    opened = open_cache()
    if opened is None:
        nothing: dict[str, Any] = {"folder": None, "bytes": 0, "limit": 0, "stages": {}}
        why = cache_folder.missing() or "CHATDATA_CACHE is off"
        print_json(nothing) if as_json else say(f"nothing is kept: {why}")
        return
    if clear:
        opened.clear()
    if limit is not None:
        opened.set_limit(limit)
    facts = _facts(opened)
    if limit is not None and facts["limit"] < limit:
        note(f"of {_size(limit)}, what a quarter of the free disk holds is used")
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _facts(opened: Cache) -> dict[str, Any]:
    """What there is to say of a cache, as plain values."""
    entries = opened.entries()
    stages: dict[str, dict[str, Any]] = {}
    for entry in entries:
        stage = stages.setdefault(entry.stage, {"entries": 0, "bytes": 0, "last_used": None})
        stage["entries"] += 1
        stage["bytes"] += entry.bytes
        stage["last_used"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
    return {
        "folder": str(opened.folder),
        "bytes": sum(entry.bytes for entry in entries),
        "limit": opened.limit(),
        "stages": stages,
    }


def _print(facts: dict[str, Any]) -> None:
    say(f"{facts['folder']}: {_size(facts['bytes'])} of at most {_size(facts['limit'])}")
    width = max(map(len, facts["stages"]), default=0)
    for name, stage in sorted(facts["stages"].items()):
        say(
            f"  {name.replace('-', ' '):<{width}} {stage['entries']:>6,} entries  "
            f"{_size(stage['bytes']):>9}  last used {stage['last_used']}"
        )
    if not facts["stages"]:
        say("  nothing is kept")


def _size(number: int) -> str:
    """A number of bytes, in the unit that fits."""
    unit, size = next((pair for pair in _SHOWN if number >= pair[1]), ("B", 1))
    return f"{number / size:,.1f} {unit}" if size > 1 else f"{number} B"
