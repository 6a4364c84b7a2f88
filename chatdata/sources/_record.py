"""What is read of a file: a value and its place, or what could not be read and why."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOO_LARGE = "a number of too many digits"


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON value and its place: `<file>:<line>`, `<file>@<byte>` or `<file>#<row>`.

    `beside` are the keys before the list in an object in which it is the first.
    """

    where: str
    value: Any
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a file that holds no JSON value, why, and the text where that is known."""

    where: str
    reason: str
    detail: str
    text: str | None = None


def damage_of(file: io.BufferedReader | Iterator[bytes]) -> str:
    """What is wrong with a packed file that was read to its end; nothing where nothing is."""
    damage = getattr(getattr(file, "raw", None), "damage", "")
    return f"the file is damaged: {damage}" if damage else ""
