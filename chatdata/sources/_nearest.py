"""What the records of a file look like, and the shape that is nearest to them, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from chatdata.sources.shapes._base import Shape
from chatdata.sources.values import is_name

_MOST = 8  # keys that are named


def describe(values: Sequence[object]) -> str:
    """What values, of which there are some, look like: their keys, and what stands under them."""
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        return f"its records are {_kind(values[0])}, not objects"
    keys = Counter(key for value in objects for key in value if is_name(key))
    if not keys:
        return "its records have no keys that look like names"
    shown = [f"{key} ({_kind(_first(objects, key))})" for key, _ in keys.most_common(_MOST)]
    more = f" and {len(keys) - _MOST} more" if len(keys) > _MOST else ""
    return f"its records have {', '.join(shown)}{more}"


def nearest(values: Sequence[object], shapes: Sequence[Shape]) -> str:
    """The shape of which most keys stand in the first record, and what is missing, in words."""
    first: Any = next((value for value in values if isinstance(value, dict)), {})
    with_keys = [shape for shape in shapes if shape.keys]
    shape = max(with_keys, key=lambda shape: _likeness(first, shape.keys))
    missing = [f"'{key}'" for key in shape.keys if first.get(key) is None]
    if len(missing) == len(shape.keys):
        return "No shape that is known has any of these keys"
    blank = [f"'{key}'" for key in shape.keys if first.get(key) in ("", [], {})]
    lacks = "what stands under these keys is not what the shape has there"
    if missing:
        lacks = f"there is no {' and no '.join(missing)}"
    elif blank:
        lacks = f"nothing stands under {' and '.join(blank)}"
    keys = " and ".join(f"'{key}'" for key in shape.keys)
    return f"The nearest shape is '{shape.name}', with {keys}: {lacks}"


def _likeness(record: dict[str, Any], keys: Sequence[str]) -> tuple[float, int]:
    given = sum(record.get(key) is not None for key in keys)
    return given / len(keys), given


def _first(objects: Sequence[dict[str, Any]], key: str) -> object:
    values = (value[key] for value in objects if value.get(key) is not None)
    return next(values, None)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return f"list of {_kind(value[0])}" if value else "empty list"
    kinds = {str: "text", bool: "yes or no", dict: "object", type(None): "null"}
    return kinds.get(type(value), "number")
