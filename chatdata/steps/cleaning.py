"""The cleaners of a recipe in the order of its list: those of texts and of whole messages."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from chatdata.core.extensions import Registry
from chatdata.steps import clean, functions, structure
from chatdata.steps.clean import Cleaned, Cleaner
from chatdata.steps.figures import add_counts
from chatdata.steps.structure import RowCleaner


def _adopt(name: str, thing: Any, package: str) -> Cleaner | RowCleaner:
    """The cleaner that a package adds, as a `Cleaner` or as a function of a text."""
    if isinstance(thing, Cleaner):
        return replace(thing, name=name, packages=(*thing.packages, package))
    return functions.as_cleaner(name, thing, f"package {package}", package)


CLEANERS: Registry[Cleaner | RowCleaner] = Registry(
    {**structure.ROW_CLEANERS, **clean.CLEANERS}, "cleaner", "chatdata.cleaners", _adopt
)


class RowStep:
    """A cleaner of whole messages as a recipe lists it, with its options."""

    def __init__(self, cleaner: RowCleaner, options: Mapping[str, Any]) -> None:
        self.cleaner, self.options = cleaner, options


Step = clean.Step | RowStep


def step(name: str, options: Mapping[str, Any]) -> Step:
    """A cleaner by its name, with its options."""
    return step_of(CLEANERS[name], options)


def step_of(cleaner: Cleaner | RowCleaner, options: Mapping[str, Any]) -> Step:
    """A cleaner with its options."""
    if isinstance(cleaner, Cleaner):
        return clean.Step(cleaner, options)
    return RowStep(cleaner, options)


def run(messages: pl.DataFrame, steps: Sequence[Step]) -> tuple[pl.DataFrame, Cleaned]:
    """The messages, cleaned by all steps in order, and what each step did.

    The cleaners of texts that follow each other run together, until none changes anything. The
    messages that a cleaner should have changed and left as they were have its name in `left_by`.
    """
    total = Cleaned()
    for kind, group in itertools.groupby(steps, key=type):
        run_group = _texts if kind is clean.Step else _rows
        messages, cleaned = run_group(messages, list(group))
        total += cleaned
    return messages, _with_left(total, messages["left_by"])


def _with_left(cleaned: Cleaned, left_by: pl.Series) -> Cleaned:
    """What was done, with the number of messages that each cleaner left as they were; of a cleaner
    of texts where there are any."""
    names = left_by.drop_nulls().str.split(clean.SEPARATOR).explode()
    left = dict(names.value_counts().iter_rows())
    always = {name: 0 for name in cleaned.by_cleaner if name in structure.ROW_CLEANERS}
    counts = {name: {"left": number} for name, number in {**always, **left}.items()}
    return Cleaned(add_counts(cleaned.by_cleaner, counts))


def _texts(messages: pl.DataFrame, steps: Sequence[Any]) -> tuple[pl.DataFrame, Cleaned]:
    return clean.clean(messages, steps)


def _rows(messages: pl.DataFrame, steps: Sequence[Any]) -> tuple[pl.DataFrame, Cleaned]:
    counts = {}
    for step in steps:
        before = _characters(messages)
        name = step.cleaner.name
        messages, changed, is_left = step.cleaner.function(messages, **step.options)
        counts[name] = {"messages": changed, "characters": before - _characters(messages)}
        if is_left is not None:
            messages = clean.note_left(messages, is_left, name)
    return messages, Cleaned(counts)


def _characters(messages: pl.DataFrame) -> int:
    words = ("content", "reasoning")  # what is lifted into calls is JSON, and longer than its tags
    lengths = pl.sum_horizontal(pl.col(name).str.len_chars().sum() for name in words)
    return int(messages.select(lengths).item())
