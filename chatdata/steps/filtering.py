"""What a filter is, what a recipe makes of it, and how messages are marked by filters.

A filter is a Boolean expression, and declares what has to be there before it is evaluated: columns
that only some sources have, and a column that no source has, with the function that makes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, create_model

from chatdata.core.config import Strict, arguments_model
from chatdata.sources import File
from chatdata.steps.figures import Figures, FiguresByKey

Unit = Literal["message", "conversation", "corpus"]
OnRemoved = Literal["cut", "drop", "untrain", "skip"]
_Goes = Literal["cut", "drop", "skip"]
_ON_REMOVED = (
    "What becomes of the conversation: it ends before the message, goes as a whole, keeps the "
    "message untrained, or loses that exchange."
)

Options = Mapping[str, Any]
Files = Mapping[str, Sequence[File]]  # of each option that names files


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is made for a filter, before any filter marks messages; that of a corpus filter
    before conversations are compared.

    `prepare` runs once a build, before anything is read: it takes the options of the filter, the
    files that they name and a new folder of its own, and returns the figures of no messages at
    all. `make` runs on the messages of each part, possibly in another process: it takes them, the
    options and the folder, and returns the messages with the column, and figures for them.
    """

    name: str
    make: Callable[[pl.DataFrame, Options, Path], tuple[pl.DataFrame, Figures]]
    prepare: Callable[[Options, Files, Path], Figures]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, and what it declares.

    unit        what it looks at
    expression  of its options: true where a row goes; of a corpus filter: what is compared
    needs       columns that only some sources have; a source without them is left alone
    options     the model of its options
    about       what it removes, in a line
    skips       where this is true, a message goes as by `skip`, not by `cut`
    detail      the column that says why, in the ledger
    on_removed  what becomes of the conversation, where a recipe does not say
    can_stay    may what it removes stay untrained? Not where no template can write it
    siblings    of a corpus filter: may two paths of one tree be compared?
    is_near     of a corpus filter: may conversations be merely alike? `options` has the fields of
                `likeness.Alike`
    against     of such a filter: the text whose words count against likeness
    is_prefix   of a corpus filter: are beginnings compared? The expression is then that of a turn
    repeats     of a corpus filter: the ledger's words before the id of the conversation that stays
    column      a column that is made for it
    key         the key of the manifest that has its figures
    files       the options that name files
    packages    the packages whose versions may change what it removes
    """

    name: str
    unit: Unit
    expression: Callable[..., pl.Expr]
    needs: frozenset[str]
    options: type[Strict]
    about: str
    skips: pl.Expr | None = None
    detail: str = "note"
    on_removed: OnRemoved = "cut"
    can_stay: bool = True
    siblings: bool = False
    is_near: bool = False
    against: pl.Expr | None = None
    is_prefix: bool = False
    repeats: str = "repeats "
    column: Column | None = None
    key: str | None = None
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def recipe_model(self) -> type[Strict]:
        """The model of what a recipe may write: the options and, for a message, `on_removed`."""
        if self.unit != "message":
            return self.options
        kind: Any = OnRemoved if self.can_stay else _Goes
        on_removed = Field(default=self.on_removed, description=_ON_REMOVED)
        return create_model(self.name, __base__=self.options, on_removed=(kind, on_removed))

    def columns(self) -> set[str]:
        """The columns that must be there for its expression and its detail."""
        made = {self.column.name} if self.column else set()
        return {*self.needs, self.detail, *made}


def define(
    unit: Unit, function: Callable[..., pl.Expr], needs: Sequence[str] = (), **declared: Any
) -> Filter:
    """The filter of a function: its name, its keyword arguments as options, its docstring."""
    name = function.__name__
    options = arguments_model(function)
    about = (inspect.getdoc(function) or "").splitlines()[0]
    return Filter(name, unit, function, frozenset(needs), options, about, **declared)


class Filters(dict[str, Filter]):
    """The filters of a unit by name, in the order in which they are entered."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit = unit

    def removes(
        self, needs: Sequence[str] = (), **declared: Any
    ) -> Callable[[Callable[..., pl.Expr]], Callable[..., pl.Expr]]:
        """A decorator that enters the filter of a function, with what the filter declares."""

        def enter(function: Callable[..., pl.Expr]) -> Callable[..., pl.Expr]:
            self[function.__name__] = define(self._unit, function, needs, **declared)
            return function

        return enter


@dataclass(frozen=True, slots=True)
class Drop:
    """A filter as a recipe lists it: with its options, and what becomes of the conversation."""

    filter: Filter
    options: dict[str, Any]
    on_removed: OnRemoved

    def expression(self) -> pl.Expr:
        """True where a row is to be removed; never null."""
        return self.filter.expression(**self.options).fill_null(False)

    def files(self) -> dict[str, list[str]]:
        """The names of files in its options, by option."""
        return {option: self.options[option] for option in self.filter.files}


# ------------------------------------------------------------------------------------- made columns


def prepare_columns(
    drops: Sequence[Drop], files: Mapping[str, Files], folder: Path
) -> FiguresByKey:
    """Prepares what makes the columns of filters, in a subfolder of `folder` for each column.

    `files` are those that the options of each filter name, by filter. Returns the figures of no
    messages at all.
    """
    figures = FiguresByKey()
    for drop, column in _columns(drops):
        home = folder / column.name
        home.mkdir(parents=True)
        prepared = column.prepare(drop.options, files.get(drop.filter.name, {}), home)
        figures += _under_key(drop.filter, prepared)
    return figures


def add_columns(
    messages: pl.DataFrame, drops: Sequence[Drop], folder: Path
) -> tuple[pl.DataFrame, FiguresByKey]:
    """The messages with the columns that filters declare, and figures for them."""
    figures = FiguresByKey()
    for drop, column in _columns(drops):
        messages, made = column.make(messages, drop.options, folder / column.name)
        figures += _under_key(drop.filter, made)
    return messages, figures


def _columns(drops: Sequence[Drop]) -> list[tuple[Drop, Column]]:
    """The columns to make, each for the first filter that declares it."""
    first: dict[str, tuple[Drop, Column]] = {}
    for drop in drops:
        if drop.filter.column is not None:
            first.setdefault(drop.filter.column.name, (drop, drop.filter.column))
    return list(first.values())


def _under_key(filter_: Filter, figures: Figures) -> FiguresByKey:
    return FiguresByKey({filter_.key: figures} if filter_.key else {})


# ------------------------------------------------------------------------------------------ marking


def mark(messages: pl.DataFrame, drops: Sequence[Drop]) -> pl.DataFrame:
    """Marks each message with the first filter that removes it.

    Returns the table with `removed_by` (a filter's name or null), `on_removed` and `why` added,
    and `train` false where a filter only untrains. A filter whose columns the messages do not
    have leaves them alone.
    """
    nothing = pl.lit(None, pl.String)
    marked = messages.with_columns(removed_by=nothing, on_removed=nothing, why=nothing)
    for drop in drops:
        if drop.filter.columns() <= set(messages.columns):
            marked = _untrain(marked, drop) if drop.on_removed == "untrain" else _hit(marked, drop)
    return marked


def _untrain(marked: pl.DataFrame, drop: Drop) -> pl.DataFrame:
    return marked.with_columns(train=pl.col("train") & drop.expression().not_())


def _hit(marked: pl.DataFrame, drop: Drop) -> pl.DataFrame:
    hit = marked.select(drop.expression() & pl.col("removed_by").is_null()).to_series()
    on_removed = pl.lit(drop.on_removed)
    if drop.filter.skips is not None and drop.on_removed == "cut":
        on_removed = pl.when(drop.filter.skips).then(pl.lit("skip")).otherwise(on_removed)
    return marked.with_columns(
        removed_by=pl.when(hit).then(pl.lit(drop.filter.name)).otherwise("removed_by"),
        on_removed=pl.when(hit).then(on_removed).otherwise("on_removed"),
        why=pl.when(hit).then(drop.filter.detail).otherwise("why"),
    )
