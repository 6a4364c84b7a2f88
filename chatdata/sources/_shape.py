"""How the records of a JSON file are arranged: on lines, in an array, or in a list of an object."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

IsRecord = Callable[[object], bool]

_LINES = 100  # that are looked at
_TEXT = r'"(?:[^"\\]|\\.)*"'
_KEY = rf"{_TEXT}\s*:\s*"
_SIMPLE = rf"(?:{_TEXT}|[-+.\w]+)\s*"  # a text, a number or a constant
_PAIR = _KEY + _SIMPLE
_NAME_OF_PAIR = re.compile(rf"({_TEXT})\s*:\s*{_SIMPLE}", re.DOTALL)
_OPENS = re.compile(rf"\{{\s*(?:{_PAIR},\s*)*({_KEY})\[\s*", re.DOTALL)
_GOES_ON = re.compile(rf"\s*(?:,\s*{_PAIR})*(?:\}}|,\s*{_KEY}(?=\[))", re.DOTALL)
_DECODER = json.JSONDecoder()


def is_lines(start: bytes, is_record: IsRecord, *, by_name: bool) -> bool:
    """Whether each line of a file holds a value; `by_name`: as the name of the file says.

    `start` are the first bytes of the file.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if list_within(text.decode(errors="replace"), 0, is_record) is not None:
        return _has_more_keys(text)
    first, *rest = text.split(b"\n", _LINES)
    if not by_name:
        return isinstance(_loaded(first), dict) and any(line.strip() for line in rest)
    if first.startswith(b"["):
        lists = [_loaded(line) for line in (first, *rest[:-1]) if first.strip() != b"["]
        return any(isinstance(value, list) and is_record(value) for value in lists)
    if first.startswith(b"{"):
        lines = (line for line in (first, *rest) if line.startswith(b"{"))
        return any(isinstance(_loaded(line), dict) for line in lines)
    return True


def _has_more_keys(text: bytes) -> bool:
    """Whether the first of several lines is an object of more than a list: a record of no shape,
    since what stands beside the list belongs to it."""
    first, _, rest = text.partition(b"\n")
    value = _loaded(first)
    return isinstance(value, dict) and len(value) > 1 and rest.lstrip().startswith(b"{")


def _loaded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def list_within(text: str, at: int, is_record: IsRecord) -> int | None:
    """Where the first record stands in an object that is no record and holds a list of records;
    None where no such object stands at this place."""
    opening = _OPENS.match(text, at)
    first = opening and _value(text, opening.end())
    if not opening or not is_record(first):
        return None
    key = json.loads(opening[1].rstrip().removesuffix(":"))
    is_whole = is_record({key: [first]}) or is_record(_value(text, at))
    return None if is_whole else opening.end()


def keys_before_list(text: str, at: int) -> tuple[str, ...]:
    """The keys of an object that stand before its list, as `list_within` finds the list."""
    opening = _OPENS.match(text, at)
    before = text[at : opening.start(1)] if opening else ""
    return tuple(json.loads(name) for name in _NAME_OF_PAIR.findall(before))


def is_list_of_records(text: str, at: int, is_record: IsRecord) -> bool:
    """Whether the list that begins at this place holds records, and is none itself."""
    first = _value(text, at + 1)
    return is_record(first) or not is_record([first])


def behind_list(text: str, at: int) -> int | None:
    """The place behind the end of an object whose list has ended, or of its next list; None where
    something else stands there."""
    rest = _GOES_ON.match(text, at)
    return rest and rest.end()


def _value(text: str, at: int) -> Any:
    """The value at a place, behind white space; None where there is none."""
    at += len(text[at : at + 1000]) - len(text[at : at + 1000].lstrip())
    try:
        return _DECODER.raw_decode(text, at)[0]
    except (ValueError, RecursionError):
        return None
