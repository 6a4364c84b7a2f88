"""Keys of records and of messages that no source looked at, counted.

A key whose value is null holds nothing, so it is not counted. Counts go where everybody can read
them, so a key that does not look like a name is counted without being named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from chatdata.sources.values import is_name

UNNAMED = "(no name)"  # keys that do not look like names, counted as a single key
MORE = "(more keys)"  # all keys behind the first _MOST names
_MOST = 100  # names of a unit: ids in place of keys fill no manifest

# "records", "messages" or "objects" (which have the records in a list); key; how many have it.
KeysByUnit = dict[str, dict[str, int]]


class Unread(NamedTuple):
    """A record or a message with keys that nothing looked at, and the place of its record."""

    where: str
    unit: str
    keys: tuple[str, ...]


def keys_of(value: Mapping[str, Any], known: Collection[str]) -> tuple[str, ...]:
    """The keys of a value that hold something and are not among the known ones."""
    return tuple(key for key, item in value.items() if item is not None and key not in known)


# How many records or messages have the same keys, by unit and keys, and the place of the first of
# them, in the order of these places.
Alike = dict[tuple[str, tuple[str, ...]], tuple[int, str]]


class UnreadKeys:
    """Counts unread keys, each with the first place at which it stood."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._first: dict[tuple[str, str], str] = {}

    def add(self, unread: Iterable[Unread]) -> None:
        """Adds records and messages in the order in which they were read."""
        counted: Alike = {}
        count(unread, counted)
        self.add_counted(counted)

    def add_counted(self, units: Alike) -> None:
        """Adds records and messages that were counted, in the order of their first places."""
        for (unit, keys), (number, where) in units.items():
            counts = self._counts.setdefault(unit, Counter())
            for name in dict.fromkeys(_name(key, counts) for key in keys):
                counts[name] += number
                self._first.setdefault((unit, name), where)

    def counts(self) -> KeysByUnit:
        """The counts of keys by unit, the most frequent key first; empty where all was read."""
        return {unit: _sorted(self._counts[unit]) for unit in sorted(self._counts, reverse=True)}

    def first(self, unit: str, name: str) -> str:
        """The first place at which a key of `counts` stood."""
        return self._first[unit, name]


def in_words(number: int, unit: str) -> str:
    """A number of records or messages in words."""
    return f"{number:,} {unit.removesuffix('s') if number == 1 else unit}"


def count(unread: Iterable[Unread], counted: Alike) -> None:
    """Counts records and messages among those that were counted before."""
    for where, unit, keys in unread:
        number, first = counted.get((unit, keys), (0, where))
        counted[unit, keys] = number + 1, first


def _name(key: str, counts: Mapping[str, int]) -> str:
    """The name under which a key is counted."""
    if not is_name(key):
        return UNNAMED
    return key if key in counts or len(counts) < _MOST else MORE


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
