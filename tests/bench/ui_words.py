"""Proposes words of pages and extensions in a dump: texts that many turns begin or end with.

python -m tests.bench.ui_words --input "$CHATDATA_SHAREGPT"

A button that was copied along stands at the same place of many turns, whatever the turns say: it is
their first or last line, or glued to it. Counted are conversations, not turns, since a user repeats
what is the user's. Whoever reads the table decides; what was confirmed is removed by the cleaner
`artefacts`. Prints a Markdown table.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import polars as pl

from tests.bench import _dump

_LENGTHS = range(4, 49)  # characters of what is glued
_LONGEST_LINE = 80
_EXTENDED = 0.7  # the share of its conversations with which a longer text takes the place of a text


class Proposal(NamedTuple):
    """A text at a place: in how many conversations, and in how many of these glued to words."""

    text: str
    conversations: int
    glued: int


def lines(turns: Iterable[tuple[str, str]], least: int) -> list[Proposal]:
    """The last lines that at least so many conversations share, behind other lines."""
    groups: dict[str, set[str]] = defaultdict(set)
    for group, text in turns:
        before, _, last = text.rpartition("\n")
        if before.strip() and _LENGTHS[0] <= len(last.strip()) <= _LONGEST_LINE:
            groups[last.strip()].add(group)
    shared = (Proposal(line, len(names), 0) for line, names in groups.items())
    return [proposal for proposal in shared if proposal.conversations >= least]


def glued_ends(turns: Iterable[tuple[str, str]], least: int) -> list[Proposal]:
    """The ends that at least so many conversations share, most of them glued to a word before; of
    ends that contain each other the longest that nearly all of these conversations have."""
    ends = list(dict.fromkeys((group, text[-_LENGTHS[-1] - 1 :]) for group, text in turns))
    by_length = {length: _shared(ends, length, least) for length in _LENGTHS}
    proposals = []
    for length, shared in by_length.items():
        longer = Counter[str]()
        for end, names in by_length.get(length + 1, {}).items():
            longer[end[1:]] = max(longer[end[1:]], len(names))
        proposals += [
            proposal
            for end, names in shared.items()
            if longer[end] < _EXTENDED * len(names)
            if (proposal := _glued(end, names)).glued > proposal.conversations / 2
        ]
    return proposals


def _shared(ends: Iterable[tuple[str, str]], length: int, least: int) -> dict[str, dict[str, str]]:
    """Of each end of this length the conversations that have it, and what stands before it."""
    shared: dict[str, dict[str, str]] = defaultdict(dict)
    for group, text in ends:
        if len(text) > length:
            shared[text[-length:]][group] = text[-length - 1]
    return {end: names for end, names in shared.items() if len(names) >= least}


def _glued(end: str, names: dict[str, str]) -> Proposal:
    """The proposal of an end; it begins with a capital, or in another script."""
    begins = end[0].isupper() or not end[0].isascii()
    glued = sum(before.isalnum() or before in ".?!)" for before in names.values())
    return Proposal(end, len(names), glued if begins else 0)


def proposals(messages: pl.DataFrame, least: int) -> Iterator[tuple[str, str, Proposal]]:
    """Yields role, place and proposal, the most frequent first in each."""
    flipped = pl.col("content").str.reverse()
    for role in ("user", "assistant"):
        turns = messages.filter(role=role).with_columns(pl.col("content").str.strip_chars())
        texts = turns.select("group", "content").rows()
        backwards = turns.select("group", flipped).rows()
        firsts = [p._replace(text=p.text[::-1]) for p in lines(backwards, least)]
        for place, made in (
            ("first line", firsts),
            ("last line", lines(texts, least)),
            ("glued to the end", glued_ends(texts, least)),
        ):
            for proposal in sorted(made, key=lambda made: (-made.conversations, made.text)):
                yield role, place, proposal


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--least", default=5, help="Conversations that share a text.")
@click.option("--most", default=25, help="Rows of each role and place.")
def main(path: Path, least: int, most: int) -> None:
    """Prints the proposals."""
    messages = _dump.messages(path).select("group", "role", "content").drop_nulls("content")
    shown = Counter[tuple[str, str]]()
    print("| role | place | conversations | glued | text |\n|---|---|--:|--:|---|")
    for role, place, proposal in proposals(messages, least):
        shown[role, place] += 1
        if shown[role, place] <= most:
            glued = proposal.glued or ""
            print(f"| {role} | {place} | {proposal.conversations} | {glued} | {proposal.text!r} |")


if __name__ == "__main__":
    main()
