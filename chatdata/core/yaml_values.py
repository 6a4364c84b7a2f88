"""What YAML can say and no file of settings means: rings, depths, explosions, half characters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 100  # levels
_MOST = 1_000_000  # values, an alias counting as all that it stands for

_CONTAINERS = (dict, list, tuple, set, frozenset)  # that YAML and JSON are read to
_Container = dict[Any, Any] | list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]


def fault(value: Any) -> str | None:
    """What is wrong with a value that YAML was read to, in words; None where nothing is.

    Aliases are followed once each, however often they are named.
    """
    sizes: dict[int, tuple[int, int]] = {}  # levels and values of a container
    inside: set[int] = set()
    waiting = [value] if isinstance(value, _CONTAINERS) else []
    while waiting:
        item = waiting[-1]
        if id(item) in sizes:
            waiting.pop()
            continue
        parts = _parts(item)
        containers = [part for part in parts if isinstance(part, _CONTAINERS)]
        if id(item) in inside:
            inside.remove(id(item))
            sizes[id(item)] = _size(len(parts), containers, sizes)
        elif any(part is item or id(part) in inside for part in containers):
            return "an alias (`*name`) stands within what it names; write the value out"
        else:
            inside.add(id(item))
            waiting += containers
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
    texts = [item for item in _all(value) if isinstance(item, str)]
    if _is_whole("".join(texts)):
        return None
    shown = next(text for text in texts if not _is_whole(text))[:40]
    return (
        f'"{shown.encode("ascii", "backslashreplace").decode()}" has half of a character (a lone '
        "surrogate); write the character"
    )


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
        if isinstance(item, _CONTAINERS) and id(item) not in seen:
            seen.add(id(item))
            waiting += _parts(item)


def _parts(value: _Container) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)


def _size(
    number: int, containers: list[Any], sizes: Mapping[int, tuple[int, int]]
) -> tuple[int, int]:
    """The levels of a container and the values in it: of `number` parts, the sizes of those that
    are containers being known."""
    within = [sizes[id(part)] for part in containers]
    levels = max((levels for levels, _ in within), default=0)
    values = number - len(containers) + sum(values for _, values in within)
    return levels + 1, min(_MOST, values) + 1
