"""The cleaners of a recipe in the order of its list: those of texts and of whole messages."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from chatdata.steps import clean, structure
from chatdata.steps.clean import Cleaned, Cleaner
from chatdata.steps.structure import RowCleaner

CLEANERS: dict[str, Cleaner | RowCleaner] = {**structure.ROW_CLEANERS, **clean.CLEANERS}


class RowStep:
    """A cleaner of whole messages as a recipe lists it, with its options."""

    def __init__(self, cleaner: RowCleaner, options: Mapping[str, Any]) -> None:
        self.cleaner, self.options = cleaner, options


Step = clean.Step | RowStep


def step(name: str, options: Mapping[str, Any]) -> Step:
    """A cleaner by its name, with its options."""
    cleaner = CLEANERS[name]
    if isinstance(cleaner, Cleaner):
        return clean.Step(cleaner, options)
    return RowStep(cleaner, options)


def run(messages: pl.DataFrame, steps: Sequence[Step]) -> tuple[pl.DataFrame, Cleaned]:
    """The messages, cleaned by all steps in order, and what each step did.

    The cleaners of texts that follow each other run together, until none changes anything.
    """
    total = Cleaned()
    for kind, group in itertools.groupby(steps, key=type):
        run_group = _texts if kind is clean.Step else _rows
        messages, cleaned = run_group(messages, list(group))
        total += cleaned
    return messages, total


def _texts(messages: pl.DataFrame, steps: Sequence[Any]) -> tuple[pl.DataFrame, Cleaned]:
    return clean.clean(messages, steps)


def _rows(messages: pl.DataFrame, steps: Sequence[Any]) -> tuple[pl.DataFrame, Cleaned]:
    counts = {}
    for step in steps:
        before = _characters(messages)
        messages, changed, left = step.cleaner.function(messages, **step.options)
        fewer = before - _characters(messages)
        counts[step.cleaner.name] = {"messages": changed, "characters": fewer, "left": left}
    return messages, Cleaned(counts)


def _characters(messages: pl.DataFrame) -> int:
    words = ("content", "reasoning")  # what is lifted into calls is JSON, and longer than its tags
    lengths = pl.sum_horizontal(pl.col(name).str.len_chars().sum() for name in words)
    return int(messages.select(lengths).item())
