"""What a source takes and yields: files, batches of rows, and problems."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from chatdata.core.schema import SPOKEN
from chatdata.sources.unread import Unread, keys_of

Schema = dict[str, pl.DataType | type[pl.DataType]]

# Beside the columns of MESSAGES, where a piece of a source is read: whether a conversation is named
# for its content, so that its number among equal ones is not known yet.
COUNTED = "is_counted"

_MAX_MESSAGES = 20_000
_MAX_CHARACTERS = 1 << 22


class Place(NamedTuple):
    """Where the reading of JSON values is, between two of them: the byte, whether in a list of
    records, whether that list is in an object, and the keys before it that no record has yet."""

    byte: int
    in_array: bool = False
    in_object: bool = False
    beside: tuple[str, ...] = ()


class Frame(NamedTuple):
    """Where unpacking may begin: a byte of a packed file, and of what the file unpacks to."""

    packed: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a file: `lines` and `values` from a byte up to another, `rows` from a row group of
    Parquet up to another. Of a packed file the bytes are those that it unpacks to, and `frame` is
    where unpacking begins.

    `number` is how many lines or rows stand before. Values are read from the first that begins at
    `start` or later; where that is must be guessed, and `place` is the guess of the rest. `reached`
    gets the places at which reading began and ended; the end of a file is no place.
    """

    form: str
    start: int
    end: int
    number: int = 0
    place: Place | None = None
    is_guessed: bool = False
    frame: Frame | None = None
    reached: list[Place | None] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """An input file, or a piece of it, and the name of the file in ids, the ledger and the
    manifest."""

    path: Path
    label: str
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was read and became no row: a `record`, `message` or `conversation`.

    `place` is where it stands, `text` what is known of it, which may be its beginning alone.
    """

    unit: str
    id: str
    reason: str
    detail: str
    place: str
    text: str | None = None
    is_counted: bool = False  # see COUNTED


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded piece of a source: rows, how much was read for them, what became no row, and
    records and messages with keys that nothing looked at. `shapes` names the shape of each file, by
    its label, where the source has recognised that."""

    rows: pl.DataFrame
    records: int
    conversations: int
    problems: list[Problem] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    shapes: Mapping[str, str] = field(default_factory=dict)


class BatchBuilder:
    """Collects rows of a table, column by column, and cuts them into batches of bounded size.

    `records` and `conversations` are counters of the current batch, for the source to raise.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._start()

    def _start(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in self.schema}
        self.problems: list[Problem] = []
        self.unread: list[Unread] = []
        self.characters = self.records = self.conversations = 0

    def add(self, **row: Any) -> None:
        """Adds a row; columns that are not named are null."""
        for name, column in self.columns.items():
            column.append(row.get(name))
        self.characters += sum(len(row.get(name) or "") for name in SPOKEN)

    def add_many(self, count: int, common: Mapping[str, Any], **columns: list[Any]) -> None:
        """Adds `count` rows: a list for each column, or a value for all rows in `common`.

        Columns that are named in neither are null.
        """
        for name, column in self.columns.items():
            values = columns.get(name)
            column.extend([common.get(name)] * count if values is None else values)
        for name in SPOKEN:
            self.characters += sum(len(text) for text in columns.get(name, ()) if text)
        self.characters += count * len(common.get("tools") or "")

    def add_problem(self, problem: Problem) -> None:
        """Adds something that became no row."""
        self.problems.append(problem)
        self.characters += len(problem.text or "")

    def add_unread(
        self, where: str, unit: str, value: Mapping[str, Any], known: Collection[str]
    ) -> None:
        """Notes the keys of a record or a message that are not among the known ones."""
        if keys := keys_of(value, known):
            self.unread.append(Unread(where, unit, keys))

    def add_beside(self, where: str, keys: tuple[str, ...]) -> None:
        """Notes the keys of the object in whose list a record is the first."""
        if keys:
            self.unread.append(Unread(where, "objects", keys))

    def is_full(self) -> bool:
        """Whether it is time to take a batch."""
        height = len(self.columns["message"])
        return height >= _MAX_MESSAGES or self.characters >= _MAX_CHARACTERS

    def take(self) -> Batch:
        """All that was collected since the last batch was taken."""
        rows = pl.DataFrame(self.columns, schema=self.schema)
        batch = Batch(rows, self.records, self.conversations, self.problems, self.unread)
        self._start()
        return batch
