"""Files with a value on each line."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator

import orjson

from chatdata.sources._record import TOO_LARGE, Record, Unreadable, damage_of
from chatdata.sources.batches import Cut
from chatdata.sources.values import excerpt_of_bytes


def piece(file: io.BufferedReader, cut: Cut) -> Iterator[bytes]:
    """Yields the lines of a piece of a file."""
    left = cut.end - file.seek(cut.start)
    while left > 0 and (line := file.readline()):
        left -= len(line)
        yield line


def values_of(
    file: io.BufferedReader | Iterator[bytes], label: str, before: int = 0
) -> Iterator[Record | Unreadable]:
    """Yields the values of lines, `before` of which stand before them."""
    number = before
    for number, line in enumerate(file, start=before + 1):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if text.isspace() or not text:
            continue
        item = _line(text, f"{label}:{number}")
        if isinstance(item, Unreadable) and not line.endswith(b"\n") and damage_of(file):
            number -= 1  # the damage cut the line
            continue
        handed = [item]
        del line, text, item  # nobody needs them while the record is used, and they may be large
        yield handed.pop()
    if damage := damage_of(file):
        yield Unreadable(f"{label}:{number + 1}", "damaged", damage)


def _line(text: bytes, where: str) -> Record | Unreadable:
    try:
        return Record(where, orjson.loads(text))
    except orjson.JSONDecodeError:
        return _line_by_json(text, where)


def _line_by_json(text: bytes, where: str) -> Record | Unreadable:
    """Reads what orjson refuses and JSON allows: lone surrogates, large numbers."""
    try:
        return Record(where, json.loads(text))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"{error.msg.removesuffix(' at')} at column {error.colno}"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = TOO_LARGE
    return Unreadable(where, "bad_json", problem, excerpt_of_bytes(text))
