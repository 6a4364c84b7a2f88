"""Texts and numbers as the page shows them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_KEPT = "\n\t\u200c\u200d"  # joiners shape letters and pictures, and nothing else
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Piece(NamedTuple):
    """A part of an answer; code stands between fences."""

    text: str
    is_code: bool


class Shortened(NamedTuple):
    """A text in pieces, and the number of its characters that are left out."""

    pieces: list[Piece]
    left: int


class _Signs(dict[int, str]):
    """What stands in place of each character, made when it is first met."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        self[point] = character if _is_plain(character) else _sign(point)
        return self[point]


def _is_plain(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character) not in _UNSEEN


def _sign(point: int) -> str:
    if point < 0x20:
        return chr(0x2400 + point)
    return "\u2421" if point == 0x7F else f"\u27e8U+{point:04X}\u27e9"


_SIGNS = _Signs()


def shown(text: str) -> str:
    """The text with a sign in place of each character that acts or that nobody sees: controls,
    directions, joiners of words, halves of characters."""
    return text.replace("\r\n", "\n").translate(_SIGNS)


def shortened(text: str, most: int) -> Shortened:
    """The first characters of a text, in pieces."""
    return Shortened(list(pieces(text[:most])), max(0, len(text) - most))


def pieces(text: str) -> Iterator[Piece]:
    """Yields the text as prose and code, of which together it consists."""
    part: list[str] = []
    fence = ""
    for line in text.replace("\r\n", "\n").splitlines(keepends=True):
        match = _FENCE.match(line)
        is_end = bool(fence) and match is not None and match[1].startswith(fence)
        if match and not fence:
            yield from _piece(part, False)
            part, fence = [], match[1]
        part.append(line)
        if is_end:
            yield from _piece(part, True)
            part, fence = [], ""
    yield from _piece(part, bool(fence))


def _piece(lines: list[str], is_code: bool) -> Iterator[Piece]:
    if lines:
        yield Piece("".join(lines), is_code)


def label(model: str) -> str:
    """A model's name, for people: of a folder the last part."""
    path = PurePath(model)
    is_folder = model.startswith(("/", ".", "~")) or model.count("/") > 1
    return path.name if is_folder and path.name else model


def setting(value: object) -> str:
    """A value of a setting, for people; of a path from the root the last part."""
    if value is None or value == "":
        return "–"
    return label(value) if isinstance(value, str) and value.startswith("/") else str(value)


def beginning(text: str, most: int = 80) -> str:
    """The first words of a text, in a line."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[:most].rpartition(' ')[0] or line[:most]} …"


def share(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def between(ends: Any) -> str:
    """An interval of shares."""
    return "–" if not ends else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"


def points(value: float | None) -> str:
    """A difference of shares."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def decimals(value: float | None) -> str:
    """A number with two decimals."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def number(value: float | None) -> str:
    """A number with its thousands apart."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def p_value(value: float | None) -> str:
    """The probability of a test."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"
