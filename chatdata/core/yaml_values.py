"""What YAML can say and no file of settings means: rings, depths, explosions, half characters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

_DEEPEST = 100  # levels
_MOST = 1_000_000  # values, an alias counting as all that it stands for

_Container = Mapping[Any, Any] | Sequence[Any] | Set[Any]


def fault(value: Any) -> str | None:
    """What is wrong with a value that YAML was read to, in words; None where nothing is.

    Aliases are followed once each, however often they are named.
    """
    sizes: dict[int, tuple[int, int]] = {}  # levels and values of a container
    inside: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting[-1]
        if not _is_container(item) or id(item) in sizes:
            waiting.pop()
        elif id(item) in inside:
            inside.remove(id(item))
            sizes[id(item)] = _size(item, sizes)
        elif any(part is item or id(part) in inside for part in _parts(item)):
            return "an alias (`*name`) stands within what it names; write the value out"
        else:
            inside.add(id(item))
            waiting += _parts(item)
    levels, values = sizes.get(id(value), (0, 1))
    if levels > _DEEPEST:
        return f"it is nested {levels} levels deep, and {_DEEPEST} are the most"
    if values > _MOST:
        return f"its aliases stand for more than {_MOST} values; write the value out"
    return _half_character(value)


def not_finite(value: Any) -> float | None:
    """The first number in a value that is infinite or not a number; None without any."""
    numbers = (item for item in _all(value) if isinstance(item, float))
    return next((number for number in numbers if not math.isfinite(number)), None)


def _half_character(value: Any) -> str | None:
    for text in _all(value):
        if isinstance(text, str) and not _is_whole(text):
            shown = text[:40].encode("ascii", "backslashreplace").decode()
            return f'"{shown}" has half of a character (a lone surrogate); write the character'
    return None


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _all(value: Any) -> Iterator[Any]:
    """Yields a value and all that stands within it, keys among it, each container once."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if _is_container(item) and id(item) not in seen:
            seen.add(id(item))
            waiting += _parts(item)


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple | Set)


def _parts(value: _Container) -> list[Any]:
    parts: Iterable[Any] = value
    if isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    return list(parts)


def _size(value: _Container, sizes: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """The levels of a container and the values in it, those of its parts being known."""
    within = [sizes.get(id(part), (0, 1)) for part in _parts(value)]
    levels = max((levels for levels, _ in within), default=0)
    return levels + 1, min(_MOST, sum(values for _, values in within)) + 1
