"""Sources: one file each, named as in a recipe.

A source module has

    SCHEMA   the table it yields: `schema.NODES` (trees) or `schema.MESSAGES` (conversations)
    IDS      what its ids begin with
    read(files, name, ids) -> Iterator[Batch]

and a docstring whose first line says what it reads.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from chatdata.sources.records import Record, Shape, Unreadable
from chatdata.sources.records import read as read_records

EMBEDDED = "chatdata:"  # before a file that comes with the package
_NOT_SOURCES = {"records"}  # reads records of any kind; no source
_MAX_MESSAGES = 20_000
_MAX_CHARACTERS = 1 << 22
_LARGEST = 2**63
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class File:
    """An input file, and the name it has in ids, the ledger and the manifest."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something read that became no row: a `record`, `message` or `conversation`, and why."""

    unit: str
    id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded piece of a source: rows, how much was read for them, what became no row."""

    rows: pl.DataFrame
    records: int
    conversations: int
    problems: list[Problem] = field(default_factory=list)


class Source(Protocol):
    """What a source module offers."""

    SCHEMA: dict[str, pl.DataType | type[pl.DataType]]
    IDS: str
    __doc__: str

    def read(self, files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
        """Yields the messages of `files`, in order, in bounded batches."""


def names() -> list[str]:
    """The sources there are, sorted."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(name for name in found - _NOT_SOURCES if not name.startswith("_"))


def get(name: str) -> Source:
    """The source of this name. Names come from `names()`."""
    return importlib.import_module(f"{__name__}.{name}")


def records(files: Sequence[File], is_record: Shape) -> Iterator[Record | Problem]:
    """Yields the records of all files in order, and a Problem for each that is none."""
    for file in files:
        for item in read_records(file.path, file.label, is_record):
            if isinstance(item, Unreadable):
                yield Problem("record", item.where, item.reason, item.detail)
            elif is_record(item.value):
                yield item
            else:
                yield Problem("record", item.where, "unknown_record", _outline(item.value))


def _outline(value: object) -> str:
    if isinstance(value, dict):
        names = [str(key)[:40] for key in list(value)[:8]]
        keys = ", ".join(names).encode(errors="backslashreplace").decode()
        return f"no known shape; its keys: {keys or 'none'}"
    return f"no known shape: {type(value).__name__}"


def text(value: object) -> tuple[str | None, str | None]:
    """A value as (text, note): the text, or None and what is in its place."""
    if not isinstance(value, str):
        return None, "no text" if value is None else f"not text but {type(value).__name__}"
    if not value.isascii() and (lone := _SURROGATE.search(value)):
        return None, f"a lone surrogate (U+{ord(lone[0]):04X}) at character {lone.start()}"
    return value, None


def word(value: object) -> str | None:
    """A value that should be a word (a language, a state), or None where it is not text."""
    return value if isinstance(value, str) and not _SURROGATE.search(value) else None


def identifier(value: object) -> str | None:
    """An id as text: a string or a whole number that says something, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _LARGEST else None
    text = word(value)
    return text if text and text.strip() else None


def whole(value: object) -> int | None:
    """A whole number of 64 bits; Parquet files that went through pandas hold it as a float."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if abs(number) < _LARGEST else None


class Rows:
    """Collects rows of a table, column by column, and cuts them into batches of bounded size."""

    def __init__(self, schema: dict[str, pl.DataType | type[pl.DataType]]) -> None:
        self.schema = schema
        self._start()

    def _start(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in self.schema}
        self.problems: list[Problem] = []
        self.characters = self.records = self.conversations = 0

    def add(self, **row: Any) -> None:
        """Adds one row; columns that are not named are null."""
        for name, column in self.columns.items():
            column.append(row.get(name))
        self.characters += len(row.get("content") or "")

    def add_many(self, count: int, common: Mapping[str, Any], **columns: list[Any]) -> None:
        """Adds `count` rows: a list a column, or one value for all; other columns are null."""
        for name, column in self.columns.items():
            values = columns.get(name)
            column.extend([common.get(name)] * count if values is None else values)
        self.characters += sum(len(words) for words in columns["content"] if words)

    def problem(self, unit: str, id: str, reason: str, detail: str) -> None:
        """Notes something that became no row."""
        self.problems.append(Problem(unit, id, reason, detail))

    def full(self) -> bool:
        """Whether it is time for a batch."""
        height = len(self.columns["message"])
        return height >= _MAX_MESSAGES or self.characters >= _MAX_CHARACTERS

    def batch(self) -> Batch:
        """What was collected since the last batch."""
        rows = pl.DataFrame(self.columns, schema=self.schema)
        batch = Batch(rows, self.records, self.conversations, self.problems)
        self._start()
        return batch


def embedded(name: str) -> Path:
    """The file that comes with the package under a name that begins with EMBEDDED."""
    return Path(__file__).parent / name.removeprefix(EMBEDDED)
