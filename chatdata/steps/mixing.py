"""Mixing: how much of each source is taken, which conversations, and how often.

What is measured is conversations, tokens or trained tokens: each conversation has a `size`. The
conversations of a source are taken in the order of a hash of their groups, so that a larger share
takes what a smaller share took and more, and what is taken of a source does not depend on the
content of other sources. A source that is taken more than once is taken as a whole first, then
again from the beginning of that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

import polars as pl
from pydantic import Field

from chatdata.core.config import Strict
from chatdata.core.hashing import hash_column

Measure = Literal["conversations", "tokens", "trained_tokens"]


class Share(NamedTuple):
    """What a recipe says of a source: a weight relative to the other sources', and a limit."""

    weight: float | None = None
    cap: int | None = None


class Mix(Strict):
    """The `mix` of a recipe.

    `by` is what weights and caps measure. A source is taken at most `max_epochs` times to reach its
    weight. `temperature` makes weights of sizes: 1 leaves each source its size, a larger number
    brings the weights nearer to each other.
    """

    by: Measure = "conversations"
    max_epochs: float = Field(default=1, ge=1, le=1000)
    temperature: float | None = Field(default=None, gt=0)


def times(
    conversations: pl.DataFrame, shares: Mapping[str, Share], mix: Mix | None = None
) -> pl.DataFrame:
    """The conversations, given as (conversation, group, source, size), with `times`: how often each
    is taken, in the order in which they are taken."""
    mix = mix or Mix()
    order = hash_column(conversations["group"], "mix")
    ordered = conversations.with_columns(order=order).sort("source", "order", "conversation")
    ordered = ordered.with_columns(reach=pl.col("size").cum_sum().over("source"))
    sizes = dict(ordered.group_by("source").agg(pl.col("size").sum()).iter_rows())
    available = {name: sizes.get(name, 0) for name in shares}
    wanted = targets(available, shares, mix)
    often = _times(_of_source(available), _of_source(wanted))
    return ordered.with_columns(times=often.cast(pl.Int64)).drop("order", "reach")


def _of_source(numbers: Mapping[str, int]) -> pl.Expr:
    return pl.col("source").replace_strict(dict(numbers), return_dtype=pl.Int64)


def _times(whole: pl.Expr, wanted: pl.Expr) -> pl.Expr:
    """How often a conversation is taken of a source of a size, of which so much is wanted. Nothing
    is measured of a source of size 0, which is taken as it is."""
    rest = wanted % whole
    is_again = (rest > 0) & (pl.col("reach") <= rest)
    return pl.when(whole > 0).then(wanted // whole + is_again).otherwise(1)


def left_out(conversations: pl.DataFrame, shares: Mapping[str, Share]) -> pl.DataFrame:
    """The conversations, given as (conversation, group, source), that are not taken, each counted
    once."""
    counted = times(conversations.with_columns(size=pl.lit(1, pl.Int64)), shares)
    return counted.filter(times=0).drop("times", "size")


def targets(
    available: Mapping[str, int], shares: Mapping[str, Share], mix: Mix | None = None
) -> dict[str, int]:
    """How much of each source is taken of what is available, at most its cap, rounded down.

    Where there are weights, the largest source for its weight is taken once, unless another source
    would then be taken more than `max_epochs` times, or beyond its cap: the source that has least
    for its weight decides, and the other sources follow in proportion. A source of which there is
    nothing does not count.
    """
    mix = mix or Mix()
    once = {name: int(_capped(size, shares[name].cap)) for name, size in available.items()}
    weights = _weights(once, shares, mix)
    if not weights:
        return once
    epochs = Fraction(str(mix.max_epochs))
    most = {name: _capped(epochs * available[name], shares[name].cap) for name in weights}
    unit = min(
        min(most[name] / weight for name, weight in weights.items()),
        max(once[name] / weight for name, weight in weights.items()),
    )
    return {**once, **{name: int(weight * unit) for name, weight in weights.items()}}


def _capped(size: Fraction | int, cap: int | None) -> Fraction:
    """A size, at most the cap."""
    return Fraction(size if cap is None else min(size, cap))


def limits(available: Mapping[str, int], shares: Mapping[str, Share]) -> dict[str, int]:
    """How many conversations of each source are taken, each at most once."""
    return targets(available, shares)


_DIGITS = Context(prec=28)


def _weights(
    available: Mapping[str, int], shares: Mapping[str, Share], mix: Mix
) -> dict[str, Fraction]:
    """The weight of each source of which there is anything, exactly; nothing without weights."""
    there_is = {name: size for name, size in available.items() if size}
    if mix.temperature is not None:  # decimals, since floating-point powers differ by machine
        power = _DIGITS.divide(Decimal(1), Decimal(str(mix.temperature)))
        return {n: Fraction(_DIGITS.power(Decimal(size), power)) for n, size in there_is.items()}
    return {name: Fraction(str(weight)) for name in there_is if (weight := shares[name].weight)}


def epochs(mixed: pl.DataFrame) -> dict[str, float]:
    """How often what there is of each source is taken, given as (source, size, times)."""
    sums = mixed.group_by("source").agg(
        taken=(pl.col("size") * pl.col("times")).sum(), there=pl.col("size").sum()
    )
    rates = sums.select(
        "source", pl.when(pl.col("there") > 0).then(pl.col("taken") / pl.col("there"))
    )
    return {name: round(rate or 0.0, 4) for name, rate in rates.sort("source").iter_rows()}


# ------------------------------------------------------------------------------------------ repeats

AGAIN = "~"  # before the number of a repeat, from 2 on


def repeated(messages: pl.DataFrame, taken: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages with those of conversations that are taken more than once again, under names of
    their own, and the repeats: (conversation, of).

    `taken` has (conversation, times). The second copy of X is X~2, and so are its messages.
    """
    several = taken.filter(pl.col("times") > 1).select("conversation", "times")
    copies = several.with_columns(number=pl.int_ranges(2, pl.col("times") + 1)).explode("number")
    rows = copies.drop("times").join(messages, on="conversation", maintain_order="left")
    suffix = pl.lit(AGAIN) + pl.col("number").cast(pl.String)
    rows = rows.with_columns(of="conversation").with_columns(
        conversation=pl.col("conversation") + suffix, message=pl.col("message") + suffix
    )
    names = rows.select("conversation", "of").unique(maintain_order=True)
    return pl.concat([messages, rows.select(messages.columns)]), names
