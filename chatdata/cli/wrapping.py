"""Lines that are longer than a terminal is wide, broken between words."""

from __future__ import annotations

import itertools
import re
import unicodedata

_WORD = re.compile(r"\s*\S+")
# What stands before the words of a line: spaces, a mark or an outcome, the name of a check.
_LEAD = re.compile(r" *(?:[✓✗•–] (?:\w+ {2,})?|(?:ok|failed|skipped) +\w+ +)?")
_TAB = 8


def stretches(line: str, width: int) -> tuple[list[int], int]:
    """The places at which a line is broken so that each part is at most `width` wide, and the
    number of spaces before each part but the first.

    A word that is wider than a line is left whole: whoever copies a path wants all of it.
    """
    lead = _LEAD.match(line)
    hang = len(lead[0]) if lead else 0
    hang = hang if hang <= width // 2 else 0
    breaks, used = [], 0
    for word in _WORD.finditer(line):
        wide = _cells(word[0])
        if used and used + wide > width:
            start = word.end() - len(word[0].lstrip())
            breaks.append(start)
            used = hang + _cells(word[0].lstrip())
        else:
            used += wide
    return breaks, hang


def wrap(text: str, width: int) -> str:
    """A text, its lines broken between words."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> list[str]:
    breaks, hang = stretches(line, width)
    edges = [0, *breaks, len(line)]
    parts = [line[start:end] for start, end in itertools.pairwise(edges)]
    first, *rest = [part.rstrip() for part in parts] if breaks else parts
    return [first, *(" " * hang + part for part in rest)]


def _cells(text: str) -> int:
    """How wide a text is on a terminal."""
    if text.isascii():
        return len(text) + (_TAB - 1) * text.count("\t")
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
