"""The shards of a dataset, planned as parts are made, and written by workers."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.dataset import shards
from chatdata.dataset.entries import ShardEntry
from chatdata.dataset.row_groups import RowFacts
from chatdata.dataset.shards import PlannedShard, ShardPlan
from chatdata.dataset.tables import Table
from chatdata.pipeline import partitions, shard_rows
from chatdata.pipeline.calls import StageCall
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.runner import Runner
from chatdata.pipeline.shard_writing import WRITING, RowsOfFile, ShardTask
from chatdata.pipeline.stage import Done
from chatdata.pipeline.stats import PartStats, total

_WAITING = 4  # shards, at least, whose rows may wait on the disk: one for each worker


@dataclass
class _Rows:
    """The rows of a table and a split: those that no shard has yet, and the shards."""

    table: Table
    split: str
    plan: ShardPlan = field(default_factory=ShardPlan)
    waiting: deque[RowsOfFile] = field(default_factory=deque)
    shards: list[ShardTask] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)  # of those that are written, by number

    def add(self, some: RowsOfFile, facts: RowFacts) -> Iterator[ShardTask]:
        """Adds rows. Yields the shards that are complete."""
        self.waiting.append(some)
        yield from map(self._task, self.plan.add(facts))

    def rest(self) -> Iterator[ShardTask]:
        """Yields the last shard, where rows are left."""
        yield from map(self._task, self.plan.rest())

    def _task(self, shard: PlannedShard) -> ShardTask:
        rows = tuple(self._take(sum(shard.groups)))
        number = len(self.shards)
        task = ShardTask(self.table.name, self.split, number, rows, shard.groups, shard.bytes)
        self.shards.append(task)
        return task

    def _take(self, rows: int) -> Iterator[RowsOfFile]:
        """Yields the next rows, so many."""
        while rows:
            some = self.waiting.popleft()
            if some.rows > rows:
                self.waiting.appendleft(some.behind(rows))
                some = some.until(rows)
            rows -= some.rows
            yield some


class OutputWriter:
    """Writes some tables of parts as shards. This process holds numbers of rows: when the end of a
    shard is known, a worker writes it."""

    def __init__(
        self, context: BuildContext, folder: Path, written: Sequence[Table], runner: Runner
    ) -> None:
        self._context, self._folder, self._runner = context, folder, runner
        self._write = StageCall(WRITING, WRITING.narrowed(context), None)
        rows = (_Rows(table, split) for table in written for split in table.splits)
        self._rows = {(each.table.name, each.split): each for each in rows}
        self._sent: deque[tuple[ShardTask, Future[Done[str]]]] = deque()
        self._unwritten = Counter[str]()  # rows of files that are removed then
        self._numbers = itertools.count()
        self._most = max(_WAITING, runner.workers.number)

    def add(self, part: int) -> None:
        """Adds a part behind those that were added before."""
        for rows in self._rows.values():
            path = self._context.files.table(rows.table.part(rows.split), part)
            self._add_saved(rows, path)

    def add_all(self, parts: Iterable[PartStats]) -> PartStats:
        """Adds parts as they come, numbered from 0. Returns the figures of all of them."""
        return total(self._added(parts))

    def _added(self, parts: Iterable[PartStats]) -> Iterator[PartStats]:
        for number, part in enumerate(parts):
            self.add(number)
            yield part

    def add_entries(self, table: Table, entries: pl.DataFrame) -> None:
        """Adds rows of a ledger behind those that were added before."""
        (split,) = table.splits
        self.add_rows(table, split, entries.to_arrow().cast(table.schema))

    def add_rows(self, table: Table, split: str, rows: pa.Table) -> None:
        """Adds rows behind those that were added before."""
        path = self._context.files.folder / f"rows-{next(self._numbers):06d}.arrow"
        shard_rows.save_as(path, table, rows)
        self._add_saved(self._rows[table.name, split], path)

    def add_file(self, table: Table, path: Path) -> None:
        """Adds the rows of a file of the work folder behind those that were added before, if there
        is such a file, which stays."""
        (split,) = table.splits
        first = 0
        for batch in partitions.batches(path):
            some = RowsOfFile(path.name, first, batch.num_rows)
            facts = shard_rows.facts_of(table, batch)
            self._plan(self._rows[table.name, split], some, facts)
            first += batch.num_rows

    def finish(self) -> tuple[ShardEntry, ...]:
        """Waits until all is written. Returns the manifest's entries for the files, which has none
        for tables that are local."""
        last = [task for rows in self._rows.values() for task in rows.rest()]
        last.sort(key=lambda task: -task.bytes)  # the largest would end when nobody else works
        for task, done in zip(last, self._runner.write("writing", self._write, last), strict=True):
            self._take_in(task, done)
        while self._sent:
            self._receive()
        return tuple(entry for rows in self._rows.values() for entry in self._named(rows))

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[OutputWriter]:
        """The writer, which removes all that was written if the block fails."""
        try:
            yield self
        except BaseException:
            for _, future in self._sent:
                future.cancel()
            wait([future for _, future in self._sent])
            for rows in self._rows.values():
                for task in rows.shards:
                    self._path(rows, task).unlink(missing_ok=True)
            raise

    def _add_saved(self, rows: _Rows, path: Path) -> None:
        """Adds the rows of a file of `shard_rows`, which is removed once they are written."""
        facts = shard_rows.facts(path)
        self._unwritten[path.name] = len(facts)
        shard_rows.facts_file(path).unlink(missing_ok=True)
        if len(facts):
            self._plan(rows, RowsOfFile(path.name, 0, len(facts)), facts)
        else:
            self._remove(path.name)

    def _plan(self, rows: _Rows, some: RowsOfFile, facts: RowFacts) -> None:
        for task in rows.add(some, facts):
            self._sent.append((task, self._runner.workers.submit(self._write, task)))
        while len(self._sent) > self._most or (self._sent and self._sent[0][1].done()):
            self._receive()

    def _receive(self) -> None:
        task, future = self._sent.popleft()
        self._take_in(task, future.result())

    def _take_in(self, task: ShardTask, done: Done[str]) -> None:
        """Takes note of a shard that is written, and removes files of which all rows are."""
        self._rows[task.table, task.split].digests[task.number] = done.result
        for some in task.rows:
            if some.name in self._unwritten:
                self._unwritten[some.name] -= some.rows
                if not self._unwritten[some.name]:
                    self._remove(some.name)

    def _remove(self, name: str) -> None:
        del self._unwritten[name]
        self._runner.workers.remove(self._context.files.folder / name)

    def _named(self, rows: _Rows) -> list[ShardEntry]:
        """Gives the shards of a split their names. Returns what the manifest says of them."""
        entries = []
        for task in rows.shards:
            path = self._path(rows, task)
            path.parent.mkdir(exist_ok=True)
            task.path(self._context).rename(path)
            name = path.relative_to(self._folder).as_posix()
            digest = rows.digests[task.number]
            entries.append(ShardEntry(path=name, sha256=digest, rows=sum(task.groups)))
        return [] if rows.table.is_local else entries

    def _path(self, rows: _Rows, task: ShardTask) -> Path:
        """Where a shard stands in the dataset, when all of its split are known."""
        name = shards.name(rows.split, task.number, len(rows.shards))
        return self._folder / rows.table.name / name
