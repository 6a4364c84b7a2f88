"""Nested mappings, as YAML and JSON have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as a single mapping: `a.b` is the key `b` of the mapping under `a`.

    Keys whose value is null are left out; an empty mapping stays a value.
    """
    return {key: value for key, value in _leaves(values, "") if value is not None}


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
