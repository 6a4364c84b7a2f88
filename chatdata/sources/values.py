"""Values of records as the texts, words and numbers of a table, or the fault."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_LARGEST = 2**63
_SURROGATE = re.compile("[\ud800-\udfff]")


class Text(NamedTuple):
    """A text, or None and the fault: why the value that stands there cannot be carried as text."""

    text: str | None
    fault: str | None = None


def first_fault(*texts: Text) -> str | None:
    """The first fault of some texts; None where all of them are texts."""
    return next((text.fault for text in texts if text.fault), None)


def text(value: object) -> Text:
    """A string as a text that can be written as UTF-8."""
    if not isinstance(value, str):
        return Text(None, "no text" if value is None else f"not text but {type(value).__name__}")
    if not value.isascii() and (lone := _SURROGATE.search(value)):
        fault = f"a lone surrogate (U+{ord(lone[0]):04X}) at character {lone.start()}"
        return Text(None, fault)
    return Text(value)


def word(value: object) -> str | None:
    """A value that should be a word (a language, a state); None where the value is not text."""
    return value if isinstance(value, str) and not _SURROGATE.search(value) else None


def identifier(value: object) -> str | None:
    """An id as text: a string that is not blank or a whole number; else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _LARGEST else None
    name = word(value)
    return name if name and name.strip() else None


def whole(value: object) -> int | None:
    """A whole number of 64 bits, or None; a float that is whole counts, since Parquet files that
    went through pandas hold whole numbers as floats."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if abs(number) < _LARGEST else None


_EXCERPT = 1 << 16  # characters


def excerpt(value: object) -> str | None:
    """The beginning of a text, or of a value as JSON, for what was dropped; None where JSON cannot
    say the value."""
    try:
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None
    beginning = words[:_EXCERPT] + ("…" if len(words) > _EXCERPT else "")
    return _SURROGATE.sub("\ufffd", beginning)


def excerpt_of_bytes(text: bytes) -> str:
    """The beginning of a text that may not be UTF-8, as `excerpt`."""
    beginning = text[: 4 * _EXCERPT].decode(errors="replace")
    return excerpt(beginning.rstrip("\r\n")) or ""


_NAME = re.compile(r"[\w.:/-]{1,40}")


def is_name(text: str) -> bool:
    """Whether a text looks like a name: short, of letters, digits and a few marks."""
    return _NAME.fullmatch(text) is not None


def shown(value: object) -> str:
    """A value as a note shows it: itself where it is a number or looks like a name, else its kind.

    Notes stand in the ledger, which is published, so a note quotes no text of a message.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return repr(value) if is_name(value) else f"a text of {len(value)} characters"
