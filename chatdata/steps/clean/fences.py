"""Which parts of a text are code, as Markdown has it: fenced blocks and spans in backticks.

What is not code is prose. Code that stands in a text without fences cannot be told from prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Rewrite = Callable[[str], str]
Stretch = tuple[str, bool]  # a piece of a text, and whether it is code

# A line that may open or close a block: quoted, in a list, indented to any depth.
_FENCE = re.compile(
    r"^(?P<lead>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$",
    re.MULTILINE,
)
_MARK = re.compile("```|~~~")  # which is looked for much faster than a line that has it
_TICKS_OR_BREAK = re.compile(r"`+|\n[ \t]*\n")


def outside_blocks(text: str, change: Rewrite) -> str:
    """The text with its prose and its spans changed, and its fenced blocks as they were."""
    return "".join(piece if is_code else change(piece) for piece, is_code in blocks(text))


def outside_code(text: str, change: Rewrite) -> str:
    """The text with its prose changed, and its fenced blocks and spans as they were."""
    return outside_blocks(text, lambda prose: _outside_spans(prose, change))


def without_code(text: str) -> str:
    """The prose of a text: fenced blocks and spans are gone."""
    prose = "".join(piece for piece, is_code in blocks(text) if not is_code)
    return "".join(piece for piece, is_code in _spans(prose) if not is_code)


def blocks(text: str) -> Iterator[Stretch]:
    """Yields the text in stretches; fenced blocks, with their fences, are code.

    Both kinds consist of whole lines. A block that nothing closes goes on to the end of the text.
    """
    if "```" not in text and "~~~" not in text:
        yield text, False
        return
    start, opened = 0, None
    for line in _fences(text):
        if opened is None and _opens(line):
            if line.start() > start:
                yield text[start : line.start()], False
            opened, start = line, line.start()
        elif opened is not None and _closes(line, opened):
            end = min(line.end() + 1, len(text))
            yield text[start:end], True
            opened, start = None, end
    if start < len(text):
        yield text[start:], opened is not None


def _fences(text: str) -> Iterator[re.Match[str]]:
    """Yields the lines of a text that may open or close a block."""
    end = 0
    while mark := _MARK.search(text, end):
        line = _FENCE.match(text, text.rfind("\n", 0, mark.start()) + 1)
        if line:
            yield line
        end = text.find("\n", mark.end())
        if end < 0:
            return


def _opens(line: re.Match[str]) -> bool:
    """Whether a fence opens a block; text between two runs of backticks is a span instead."""
    return line["fence"][0] == "~" or "`" not in line["info"]


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    closing, opening = line["fence"], opened["fence"]
    is_bare = not line["info"].strip() and not line["lead"].strip(" \t>")
    return closing[0] == opening[0] and len(closing) >= len(opening) and is_bare


def _outside_spans(prose: str, change: Rewrite) -> str:
    return "".join(piece if is_code else change(piece) for piece, is_code in _spans(prose))


def _spans(prose: str) -> Iterator[Stretch]:
    """Yields prose in stretches; what stands between equal runs of backticks is code.

    A span ends in the paragraph in which it begins.
    """
    if "`" not in prose:
        yield prose, False
        return
    marks = list(_TICKS_OR_BREAK.finditer(prose))
    closing = _closing(marks)
    rest = number = 0
    while number < len(marks):
        last = closing[number]
        if last is not None:
            opening, end = marks[number].start(), marks[last].end()
            yield prose[rest:opening], False
            yield prose[opening:end], True
            rest, number = end, last
        number += 1
    yield prose[rest:], False


def _closing(marks: list[re.Match[str]]) -> list[int | None]:
    """For each run of backticks, the number of the next equal run in its paragraph."""
    following: dict[str, int] = {}
    closing: list[int | None] = [None] * len(marks)
    for number in reversed(range(len(marks))):
        mark = marks[number][0]
        if mark[0] == "`":
            closing[number] = following.get(mark)
            following[mark] = number
        else:
            following.clear()
    return closing
