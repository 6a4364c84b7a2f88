"""Labels: what the people of a source judged of its messages, such as OASST's `toxicity`.

A label is a number by its name, mostly the mean of what several people said, from 0 to 1. A message
may have some of them, or none. They are for filters and figures, and are not published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ConfigDict, Field, model_validator

from chatdata.core.config import Strict, close
from chatdata.steps.entries import LabelEntry
from chatdata.steps.figures import Figures, Nothing, add_counts

KEY = "labels"  # the column of messages, the filter, and the key of the manifest
WHY = "label_why"  # the column that says which label removes a message

_STEPS = (0.25, 0.5, 0.75)  # at which messages are counted
_PARTS = 1_000_000  # a mean is of whole numbers, whose sum is the same in any order


# ------------------------------------------------------------------------------------- the filter


class Bound(Strict):
    """Where a label removes a message: `above` a number, or `below` it."""

    above: float | None = Field(
        default=None, description="A message with more of the label goes.", examples=[0.5]
    )
    below: float | None = Field(
        default=None, description="A message with less of the label goes.", examples=[0.2]
    )

    @model_validator(mode="after")
    def _has_a_side(self) -> Bound:
        if self.above is None and self.below is None:
            raise ValueError("it removes nothing; write {above: NUMBER} or {below: NUMBER}")
        if self.above is not None and self.below is not None and self.above < self.below:
            raise ValueError(
                f"above {self.above:g} and below {self.below:g} is everything; turn them around"
            )
        return self


class LabelOptions(Strict):
    """The options of the filter: a bound by the name of each label."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Bound]

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        """Takes any key but those of the model for the name of a label."""
        names = [name for name in value if name not in cls.model_fields]
        if not names:
            raise ValueError(
                "it names no label; write, for example, labels: {toxicity: {above: 0.5}}"
            )
        for name in names:
            if not isinstance(value[name], Mapping | Bound):
                raise ValueError(
                    f"'{name}' is {value[name]!r}; write {{above: NUMBER}} or {{below: NUMBER}}"
                )
        return value


def value_of(name: str) -> pl.Expr:
    """The label of this name of each message; null where a message has none."""
    path = "$[" + json.dumps(name) + "]"
    return pl.col(KEY).str.json_path_match(path).cast(pl.Float64, strict=False)


def is_beyond(**bounds: Mapping[str, float | None]) -> pl.Expr:
    """Messages by what the source's people judged of them, such as {toxicity: {above: 0.5}}.

    A message without the label stays. A bound is `above` a number or `below` it.
    """
    return pl.any_horizontal(hit for hit, _ in _hits(bounds))


def _hits(bounds: Mapping[str, Mapping[str, float | None]]) -> list[tuple[pl.Expr, pl.Expr]]:
    """For each side of each bound: whether a message is beyond, and the words that say so."""
    hits = []
    for name, sides in bounds.items():
        value = value_of(name)
        for side, is_hit in (("above", value.gt), ("below", value.lt)):
            if (bound := sides.get(side)) is not None:
                shown = value.round(4).cast(pl.String)
                words = pl.format(f"{{}} is {{}}, {side} {bound:g}", pl.lit(name), shown)
                hits.append((is_hit(bound).fill_null(False), words))
    return hits


def with_why(
    messages: pl.DataFrame, options: Mapping[str, Any], folder: Path
) -> tuple[pl.DataFrame, Figures]:
    """The messages with WHY, which names all labels that are beyond their bounds."""
    bounds = {name: value for name, value in options.items() if isinstance(value, Mapping)}
    if KEY not in messages.columns:
        return messages, Nothing()
    removing = [pl.when(hit).then(words) for hit, words in _hits(bounds)]
    why = pl.concat_str(removing, separator="; ", ignore_nulls=True)
    return messages.with_columns(why.alias(WHY)), Nothing()


# ------------------------------------------------------------------------------------- the figures


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """The labels of messages: whole numbers by the name of a label, which add up."""

    by_name: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, more: LabelFigures) -> LabelFigures:
        """The figures of both."""
        return LabelFigures(add_counts(self.by_name, more.by_name))

    def entry(self) -> dict[str, Any] | None:
        """What the manifest holds, by name; None where no message has a label."""
        return {name: _entry(self.by_name[name]) for name in sorted(self.by_name)} or None


def _entry(counts: Mapping[str, int]) -> LabelEntry:
    mean = counts["sum"] / _PARTS / max(1, counts["messages"])
    at_least = {f"{step:g}": counts[f"{step:g}"] for step in _STEPS}
    return LabelEntry(messages=counts["messages"], mean=round(mean, 4), at_least=at_least)


def count(messages: pl.DataFrame) -> LabelFigures:
    """The figures of the labels of messages."""
    if KEY not in messages.columns or messages[KEY].null_count() == messages.height:
        return LabelFigures()
    by_name: dict[str, dict[str, int]] = {}
    for text in messages[KEY].drop_nulls():
        for name, value in json.loads(text).items():
            counts = by_name.setdefault(name, dict.fromkeys(_NAMES, 0))
            counts["messages"] += 1
            counts["sum"] += round(value * _PARTS)
            for step in _STEPS:
                counts[f"{step:g}"] += value >= step
    return LabelFigures(by_name)


_NAMES = ("messages", "sum", *(f"{step:g}" for step in _STEPS))


def unknown(named: Mapping[str, Any], known: Mapping[str, Any] | None) -> str | None:
    """Why the names that a recipe gives are none of the labels that there are; None where they
    are."""
    for name in named:
        if name in (known or {}):
            continue
        if not known:
            return (
                f"labels names '{name}', and no message that was read has any label; leave it out"
            )
        near = close(name, known)
        hint = f"did you mean '{near}'? There are" if near else "there are"
        return (
            f"labels names '{name}', and no message has such a label; {hint}: "
            f"{', '.join(sorted(known))}."
        )
    return None
