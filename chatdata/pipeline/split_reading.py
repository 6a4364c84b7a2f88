"""A split of a source, read: its messages in parts, and what is counted of them.

What reading a split gives depends on the bytes of the split, the options of its source and the
numbers in its task alone. So conversations that are named for their content have no numbers yet:
all with the same name stand in the same part, where `numbered` counts them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata import sources
from chatdata.core import ledger, tallies
from chatdata.core.hashing import hash64, hash_column
from chatdata.core.tallies import Tally
from chatdata.dataset import tables
from chatdata.pipeline import partitions
from chatdata.pipeline.partitions import Appended, PartitionFiles, PartitionWriter
from chatdata.sources import File
from chatdata.sources.batches import COUNTED, Place
from chatdata.sources.cutting import Split
from chatdata.sources.naming import Names
from chatdata.sources.unread import Alike, count

PROBLEMS = tables.DROPPED.schema.append(pa.field(COUNTED, pa.bool_()))
IS_USABLE = pl.col("role").is_not_null() & pl.col("note").is_null()


@dataclass(frozen=True, slots=True)
class SplitTask:
    """What a worker reads: splits of a source, in order, or without any its files as a whole.

    `source` is the number of the source in the recipe, `number` that of the task in the source.
    """

    source: int
    number: int
    module: str
    name: str
    ids: str
    options: Mapping[str, Any]
    files: tuple[File, ...]
    splits: tuple[Split, ...] = ()

    def from_place(self, place: Place) -> SplitTask:
        """The task of a piece of values that begins at a place."""
        (split,) = self.splits
        assert split.file.cut is not None
        cut = replace(split.file.cut, place=place, is_guessed=False, reached=[])
        return replace(self, splits=(replace(split, file=replace(split.file, cut=cut)),))


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What is counted of a split, beside the rows that its files hold.

    `bad` is the first message that cannot be used (id, note, place), `first_problem` the first of
    what became no row (id, reason, detail). `variables` are those of the recipe that a record had.
    `has_groups` and `has_treeless`: something may depend on other splits. `began` and `ended` are
    the places of a piece of values.
    """

    units: Counter[str]
    rows: int = 0
    problems: Tally = field(default_factory=Tally)
    unread: Alike = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    has_answers: bool = False
    bad: tuple[str, str, str] | None = None
    first_problem: tuple[str, str, str] | None = None
    variables: frozenset[str] = frozenset()
    has_groups: bool = False
    has_treeless: bool = False
    began: Place | None = None
    ended: Place | None = None


def read_split(files: PartitionFiles, task: SplitTask) -> SplitResult:
    """What is counted of a split, whose rows are written for the parts.

    Raises SourceError where a file cannot be read.
    """
    source = sources.get(task.module)
    writer = SplitWriter(files, task.source, task.number, task.name, is_whole=not task.splits)
    if not task.splits:
        for batch in source.read(task.files, task.name, task.ids, **task.options):
            writer.add(batch)
        return writer.finish()
    names = Names(task.ids, is_whole=False)
    read: Any = source
    for split in task.splits:
        for batch in read.read_split(split, task.name, names, **task.options):
            writer.add(batch)
    cut = task.splits[-1].file.cut
    began, ended = cut.reached if cut and cut.reached else (None, None)
    counted = writer.finish(names)
    return replace(counted, began=began, ended=ended)


class SplitWriter:
    """Writes what is read of a split, and counts it."""

    def __init__(
        self, files: PartitionFiles, source: int, number: int, name: str, *, is_whole: bool
    ) -> None:
        self._is_whole = is_whole
        self._messages = PartitionWriter(files.messages(source), files.buckets, f"{number:06d}-")
        self._problems = Appended(files.split_problems(source, number), PROBLEMS)
        self._names = files.split_names(source, number)
        self._source, self._number = name, number
        self._pairs: list[npt.NDArray[np.uint64]] = []
        self.counted = SplitResult(Counter(records=0, messages=0, conversations=0))

    def add(self, batch: sources.Batch) -> None:
        """Adds a batch of the source."""
        counted = self.counted
        self._messages.add(batch.rows if self._is_whole else _with_counted(batch.rows))
        problems = _problem_outcomes(batch, self._source)
        self._problems.add(_problem_rows(batch, problems, self._is_whole))
        if COUNTED in batch.rows.columns and batch.rows.height:
            self._pairs.append(_pairs(batch.rows))
        count(batch.unread, counted.unread)
        counted.units.update(
            records=batch.records,
            messages=batch.rows.height + sum(p.unit == "message" for p in batch.problems),
            conversations=batch.conversations,
        )
        self.counted = replace(
            counted,
            rows=counted.rows + batch.rows.height,
            problems=counted.problems + tallies.tally(problems),
            shapes={**counted.shapes, **batch.shapes},
            has_answers=counted.has_answers or _has_answers(batch.rows),
            bad=counted.bad or (None if counted.has_answers else _first_bad(batch.rows)),
            first_problem=counted.first_problem or _first_problem(batch),
        )

    def finish(self, names: Names | None = None) -> SplitResult:
        """Makes the files whole. Returns what was counted; `names` are those of the split."""
        self._messages.flush()
        self._problems.close()
        if names is None:
            return self.counted
        if self._pairs or names.trees:
            self._save_names(names)
        is_repeated = any(number > 1 for number in names.trees.values())
        return replace(
            self.counted,
            variables=frozenset(names.variables),
            has_groups=names.has_groups or bool(names.trees),
            has_treeless=names.has_treeless or is_repeated,
        )

    def _save_names(self, names: Names) -> None:
        """Writes the hashes of ids and of their groups, sorted; a tree is of its split."""
        trees = [[hash64(id, "occurrence"), self._number] for id in names.trees]
        pairs = np.concatenate([np.array(trees, np.uint64).reshape(-1, 2), *self._pairs])
        np.save(self._names, np.unique(pairs, axis=0))


def _with_counted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows if COUNTED in rows.columns else rows.with_columns(pl.lit(False).alias(COUNTED))


def _problem_outcomes(batch: sources.Batch, source: str) -> pl.DataFrame:
    problems = [(p.unit, p.id, p.reason, p.detail, p.place, p.text) for p in batch.problems]
    return ledger.problem_outcomes(problems, source)


def _problem_rows(batch: sources.Batch, problems: pl.DataFrame, is_whole: bool) -> pa.Table:
    counted = pl.Series(
        COUNTED, [p.is_counted and not is_whole for p in batch.problems], dtype=pl.Boolean
    )
    return problems.select(*ledger.DROPPED, counted).to_arrow()


def _pairs(rows: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """The hashes of each conversation and of its group."""
    pairs = rows.filter(position=0).select("conversation", "group").unique()
    ids, groups = (hash_column(pairs[name], "occurrence") for name in pairs.columns)
    return np.column_stack([ids.to_numpy(), groups.to_numpy()])


def _has_answers(rows: pl.DataFrame) -> bool:
    """Whether a row has the role of the assistant, and words without a fault."""
    return not rows.filter(IS_USABLE, pl.col("role") == "assistant").is_empty()


def _first_bad(rows: pl.DataFrame) -> tuple[str, str, str] | None:
    bad = rows.filter(IS_USABLE.not_()).head(1).select("message", "note", "where").rows()
    return bad[0] if bad else None


def _first_problem(batch: sources.Batch) -> tuple[str, str, str] | None:
    return next(((p.id, p.reason, p.detail) for p in batch.problems), None)


def discard(files: PartitionFiles, source: int, number: int) -> None:
    """Removes the files of a split."""
    for path in files.messages(source).glob(f"{number:06d}-*"):
        path.unlink()
    for path in (files.split_problems(source, number), files.split_names(source, number)):
        path.unlink(missing_ok=True)


def names_depend(paths: list[Path]) -> bool:
    """Whether an id of a conversation has two groups, by what splits have written of both, so that
    the order of its records decides: looked at in ranges of the hashes of ids."""
    pairs = [np.load(path, mmap_mode="r") for path in paths if path.is_file()]
    ranges = sum(len(table) for table in pairs) // _PAIRS + 1
    bounds = [number * 2**64 // ranges for number in range(1, ranges)]
    ends = [
        [0, *np.searchsorted(table[:, 0], np.array(bounds, np.uint64)).tolist(), len(table)]
        for table in pairs
    ]
    for number in range(ranges):
        slices = [t[e[number] : e[number + 1]] for t, e in zip(pairs, ends, strict=True)]
        if slices and _has_two_groups(np.concatenate(slices)):
            return True
    return False


_PAIRS = 1 << 20


def _has_two_groups(pairs: npt.NDArray[np.uint64]) -> bool:
    pairs = pairs[np.argsort(pairs[:, 0])]
    is_same = pairs[1:, 0] == pairs[:-1, 0]
    return bool((is_same & (pairs[1:, 1] != pairs[:-1, 1])).any())


def numbered(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages of a part, in the order in which they were read, with the numbers of
    conversations that are named for their content: `x`, and `x-2` for the second `x`."""
    if COUNTED not in messages.columns:
        return messages
    rows = messages.drop(COUNTED)
    if not messages[COUNTED].any():
        return rows
    firsts = messages.filter(pl.col(COUNTED), position=0)["conversation"]
    if firsts.n_unique() == firsts.len():
        return rows
    number = (pl.col("position") == 0).cum_sum().over("conversation", COUNTED)
    numbered = messages.with_columns(number=number)
    is_again = pl.col(COUNTED) & (pl.col("number") > 1)
    id = pl.format("{}-{}", "conversation", "number")
    return numbered.with_columns(
        conversation=pl.when(is_again).then(id).otherwise("conversation"),
        message=pl.when(is_again).then(pl.format("{}#{}", id, "position")).otherwise("message"),
    ).select(rows.columns)


def problems_in_order(paths: list[Path], words: Appended) -> None:
    """Adds the rows of what became no row in the splits of a source to those of the build, with the
    numbers of those that are named for their content."""
    numbers = Counter[str]()
    for path in paths:
        for table in partitions.batches(path):
            words.add(_with_numbers(table, numbers))


def _with_numbers(table: pa.Table, numbers: Counter[str]) -> pa.Table:
    """The problems with their numbers; `numbers` counts on."""
    rows = pl.DataFrame(table)
    ids = rows.filter(COUNTED)["id"].to_list() if rows[COUNTED].any() else []
    if ids:
        numbers_of = functools.partial(_numbered_id, numbers)
        pairs = rows.select("id", COUNTED).iter_rows()
        again = [numbers_of(id) if is_counted else id for id, is_counted in pairs]
        rows = rows.with_columns(id=pl.Series(again, dtype=pl.String))
    return rows.drop(COUNTED).to_arrow()


def _numbered_id(numbers: Counter[str], id: str) -> str:
    numbers[id] += 1
    return id if numbers[id] == 1 else f"{id}-{numbers[id]}"
