"""Mixing: how many conversations of each source are taken, and which."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import polars as pl

from chatdata.core.hashing import hash_column


class Share(NamedTuple):
    """What a recipe says of a source: a weight relative to the other sources', and a limit."""

    weight: float | None = None
    cap: int | None = None


def left_out(conversations: pl.DataFrame, shares: Mapping[str, Share]) -> pl.DataFrame:
    """The conversations, given as (conversation, group, source), that are not taken.

    The conversations with the smallest hash of their group are taken, so a larger share takes what
    a smaller share took and more. What is taken of a source does not depend on the content of
    other sources.
    """
    counts = dict(conversations.group_by("source").len().iter_rows())
    numbers = limits({name: counts.get(name, 0) for name in shares}, shares)
    order = hash_column(conversations["group"], "mix")
    ordered = conversations.with_columns(order=order).sort("source", "order", "conversation")
    place = pl.int_range(pl.len()).over("source")
    limit = pl.col("source").replace_strict(numbers, return_dtype=pl.Int64)
    return ordered.filter(place >= limit).drop("order")


def limits(available: Mapping[str, int], shares: Mapping[str, Share]) -> dict[str, int]:
    """How many conversations of each source are taken.

    No conversation is taken twice: where weights are given, the source that has least for its
    weight is used up, and the other sources follow in proportion, rounded down. A source without
    conversations does not count.
    """
    capped = {
        name: number if (cap := shares[name].cap) is None else min(number, cap)
        for name, number in available.items()
    }
    weights = {
        name: Fraction(str(share.weight))
        for name, share in shares.items()
        if share.weight and capped[name]
    }
    if not weights:
        return capped
    unit = min(capped[name] / weight for name, weight in weights.items())
    return {**capped, **{name: int(weight * unit) for name, weight in weights.items()}}
