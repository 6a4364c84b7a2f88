"""JSON as language models write it: strict JSON, and what is meant where it is not quite that.

    value  = object | list | text | word
    object = "{" (key ":" value ","?)* "}"      a comma may stand behind the last, or be missing
    list   = "[" (value ","?)* "]"              behind what is no text
    key    = text | letters, digits and underscores
    text   = QUOTE anything QUOTE, of " or ' or three of them, or of curly quotes
    word   = a number, true, false, null, or Python's names of these

A line break in a text is a line break. A quote that nothing follows which could follow a text
(`,` `:` `}` `]`, or the end) is a part of the text, so that `"says "hi" twice"` is a text. Escapes
are those of JSON and `\\'`; any other backslash is a backslash.
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

_DEEPEST = 24
_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_WORD = re.compile(r"[\w.+-]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_OPEN = re.compile(r"\"\"\"|'''|[\"'\u201c\u2018]")
_CLOSING = {"\u201c": "\u201d", "\u2018": "\u2019"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.)|\Z)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_NAMES = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}


class Unreadable(ValueError):
    """Raised for what is no value; `end` is how far it could be read."""

    def __init__(self, end: int) -> None:
        super().__init__(f"no value at character {end}")
        self.end = end


class Value(NamedTuple):
    """A value, and where it ends."""

    value: Any
    end: int


def read(text: str, start: int, depth: int = 0) -> Value:
    """The value that begins at `start`. Raises Unreadable."""
    start = _behind_space(text, start)
    begins = text[start : start + 1]
    if depth > _DEEPEST:
        raise Unreadable(start)
    if begins == "{":
        return _object(text, start + 1, depth)
    if begins == "[":
        return _list(text, start + 1, depth)
    if opened := _OPEN.match(text, start):
        return _text(text, opened.end(), opened.group())
    return _word(text, start)


def _object(text: str, place: int, depth: int) -> Value:
    values: dict[str, Any] = {}
    while text[(place := _behind_space(text, place)) : place + 1] != "}":
        key = read(text, place, depth + 1)
        colon = _behind_space(text, key.end)
        if not isinstance(key.value, str) or text[colon : colon + 1] != ":":
            raise Unreadable(colon)
        value = read(text, colon + 1, depth + 1)
        values.setdefault(key.value, value.value)
        place = _behind_comma(text, value.end)
    return Value(values, place + 1)


def _list(text: str, place: int, depth: int) -> Value:
    values = []
    while text[(place := _behind_space(text, place)) : place + 1] != "]":
        value = read(text, place, depth + 1)
        values.append(value.value)
        place = _behind_comma(text, value.end)
    return Value(values, place + 1)


def _text(text: str, start: int, quote: str) -> Value:
    for mark in _closing(quote).finditer(text, start):
        if not mark.group().startswith("\\"):
            return Value(unescaped(text[start : mark.start()]), mark.end())
    raise Unreadable(len(text))


@functools.cache
def _closing(quote: str) -> re.Pattern[str]:
    """Matches an escape, or what closes a text that this quote has opened."""
    closing = re.escape(_CLOSING.get(quote, quote))
    return re.compile(rf"\\.|{closing}(?=\s*(?:[,:}}\]]|\Z))", re.DOTALL)


def _word(text: str, start: int) -> Value:
    matched = _WORD.match(text, start)
    if matched is None:
        raise Unreadable(start)
    word = matched.group()
    value = float(word) if _NUMBER.fullmatch(word) else _NAMES.get(word, word)
    return Value(value, matched.end())


def unescaped(text: str) -> str:
    """A text without its escapes. Half characters become U+FFFD."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: re.Match[str]) -> str:
    number, letter = escape.groups()
    if number is not None:
        return chr(int(number, 16))
    if letter is None or letter not in "\"'\\/ntrbf":
        return escape.group()
    return _ESCAPED.get(letter, letter)


def _behind_space(text: str, place: int) -> int:
    matched = _SPACE.match(text, place)
    return matched.end() if matched else place


def _behind_comma(text: str, place: int) -> int:
    place = _behind_space(text, place)
    return place + 1 if text[place : place + 1] == "," else place
