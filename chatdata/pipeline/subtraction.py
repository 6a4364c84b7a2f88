"""What the first pass made of messages, less what it makes of some groups of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import polars as pl

from chatdata.pipeline.first_pass import Made

_Figure = TypeVar("_Figure")


class CannotSubtract(Exception):
    """Raised for figures that are no counts, and for tables that do not hold what is taken out."""


def subtract(total: Made, part: Made) -> Made:
    """What is made of the groups of `total` that are not those of `part`.

    What is counted nowhere any more is left out of the figures. Raises CannotSubtract.
    """
    groups = part.tables["messages"]["group"], part.tables["nodes"]["group"]
    tables = {
        name: _rows_without(table, part.tables[name], pl.concat(groups).unique())
        for name, table in total.tables.items()
    }
    return Made(tables, less(total.stats, part.stats))


def _rows_without(table: pl.DataFrame, part: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
    if "group" in table.columns:
        rows = table.filter(pl.col("group").is_in(groups.implode()).not_())
    else:
        rows = table.join(
            part, on=table.columns, how="anti", nulls_equal=True, maintain_order="left"
        )
    if rows.height + part.height != table.height:
        raise CannotSubtract
    return rows


def less(total: _Figure, part: _Figure) -> _Figure:
    """The figures that `part` is to be added to for `total`. Raises CannotSubtract."""
    made: _Figure = _less(total, part)
    return made


def _less(total: Any, part: Any) -> Any:
    if is_dataclass(total):
        names = [item.name for item in fields(total)]
        left = {name: _less(getattr(total, name), getattr(part, name)) for name in names}
        return replace(total, **left)  # type: ignore[type-var]
    if isinstance(total, Mapping):
        return _mapping_less(total, part)
    if isinstance(total, int) and isinstance(part, int) and total >= part:
        return total - part
    if type(total) is type(part) and hasattr(part, "__len__") and not len(part):
        return total
    raise CannotSubtract


def _mapping_less(total: Mapping[Any, Any], part: Any) -> Any:
    if not part.keys() <= total.keys():
        raise CannotSubtract
    left = {key: _less(value, part[key]) if key in part else value for key, value in total.items()}
    left = {key: value for key, value in left.items() if key not in part or _counts(value)}
    return Counter(left) if isinstance(total, Counter) else left


def _counts(value: Any) -> bool:
    """Whether a figure counts anything."""
    if is_dataclass(value):
        return any(_counts(getattr(value, item.name)) for item in fields(value))
    if isinstance(value, Mapping):
        return any(map(_counts, value.values()))
    return len(value) > 0 if hasattr(value, "__len__") else bool(value)
