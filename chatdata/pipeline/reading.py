"""Reading: sources to messages, spread over the parts of a build.

Workers read splits of the sources (`split_reading`); this process plans them, adds up what they
count, in order, and proves what a split had to guess or could not know. A source of which the
records depend on each other across splits is read once more, as a whole.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from chatdata import sources
from chatdata.core import tallies
from chatdata.core.errors import ChatdataError, SourceError
from chatdata.core.tallies import Tally
from chatdata.dataset import tables
from chatdata.pipeline import python_records, split_reading
from chatdata.pipeline.calls import ReadCall
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.engines import Workers
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.partitions import Appended
from chatdata.pipeline.problems import Problems
from chatdata.pipeline.progress import Progress
from chatdata.pipeline.recipe_parts import SourceOptions
from chatdata.pipeline.split_reading import IS_USABLE, SplitResult, SplitTask, SplitWriter
from chatdata.sources import File, cutting
from chatdata.sources.batches import Place
from chatdata.sources.cutting import Split
from chatdata.sources.naming import check_variables
from chatdata.sources.unread import KeysByUnit, UnreadKeys, in_words

_NAMED = 3  # keys that a refusal names
_OPTIONS = ("variables", "fields")  # of a recipe, that some sources take
_ANY = "auto"  # the source that is named where no other reads a file


@dataclass(frozen=True, slots=True)
class ReadResult:
    """How much was read, by unit, what became no row, and by source the keys that were not read and
    the shapes of its files. `is_whole`: a preview reads a part."""

    units: Mapping[str, int]
    problems: Problems
    not_read: Mapping[str, KeysByUnit] = field(default_factory=dict)
    shapes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_whole: bool = True

    def tally(self) -> Tally:
        """What reading alone decided: records that could be used, and problems by reason."""
        problems = self.problems.tally
        unreadable = problems.dropped.get("records", Counter())
        usable = self.units["records"] - unreadable.total()
        return problems + Tally(kept=Counter(records=usable))


def read(
    context: BuildContext, inputs: Sequence[Input], workers: Workers, progress: Progress
) -> ReadResult:
    """Spreads the messages of all sources over the parts.

    Raises SourceError for a source of which nothing can be used.
    """
    if context.first_groups is not None:
        return _read_beginnings(context, inputs, workers)
    plans = list(_plans(context, inputs))
    function = ReadCall(context.files)
    tasks = [task for plan in plans for task in plan.tasks]
    results = workers.map(function, tasks)
    readings, records = [], 0
    for plan in plans:
        reading = _Reading(context, plan, workers)
        for number, result in reading.chained(results):
            reading.add(number, result)
            progress("reading", records + reading.units["records"], 0)
        reading.finish()
        records += reading.units["records"]
        readings.append(reading)
    return _together(context, readings)


def _together(context: BuildContext, readings: Sequence[_Reading]) -> ReadResult:
    """What was read of all sources. Their problems are written in order."""
    units, tally = Counter(dict.fromkeys(tallies.UNITS, 0)), Tally()
    words = Appended(context.files.problems, tables.DROPPED.schema)
    for reading in readings:
        units.update(reading.units)
        tally += reading.problems
        split_reading.problems_in_order(reading.problem_files(), words)
        reading.remove_files()
    words.close()
    not_read = {r.source.name: counts for r in readings if (counts := r.keys.counts())}
    shapes = {r.source.name: r.shapes for r in readings}
    is_whole = all(reading.is_whole for reading in readings)
    return ReadResult(units, Problems(context.files.problems, tally), not_read, shapes, is_whole)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The tasks in which a source is read. `refusal` is why there are no more of them."""

    number: int
    source: Input
    options: Mapping[str, Any]
    files: tuple[File, ...]
    tasks: Sequence[SplitTask] = ()
    refusal: ChatdataError | None = None

    def whole(self, number: int) -> SplitTask:
        """The task of this number that reads all of the source."""
        source = self.source
        return SplitTask(
            *(self.number, number, source.source, source.name, source.ids),
            *(self.options, self.files),
        )


def _plans(context: BuildContext, inputs: Sequence[Input]) -> Iterator[_Plan]:
    """Yields the plan of each source, up to the first that cannot be read."""
    for number, source in enumerate(inputs):
        try:
            plan = _planned(context, _stated(context, number, source))
        except ChatdataError as error:
            plan = _Plan(number, source, {}, source.files, refusal=error)
        yield plan
        if plan.refusal is not None:
            return


def _stated(context: BuildContext, number: int, source: Input) -> _Plan:
    """The plan of a source without its tasks. Raises ExtensionError where a function of the recipe
    makes its records, and fails."""
    stated = context.recipe.source[source.key]
    options = {key: value for key in _OPTIONS if (value := getattr(stated, key))}
    files = python_records.files(context, source, stated.python) if stated.python else source.files
    return _Plan(number, source, options, files)


def _planned(context: BuildContext, plan: _Plan) -> _Plan:
    """The plan with its tasks: of all splits before what is refused, or of the whole."""
    module: Any = sources.get(plan.source.source)
    if not hasattr(module, "splits"):
        return replace(plan, tasks=[plan.whole(0)])
    folder = context.files.unpacked(plan.number)
    splits, refusal = list[Split](), None
    try:
        splits.extend(module.splits(plan.files, folder, **plan.options))
    except ChatdataError as error:
        refusal = error
    together = list(_grouped(splits))
    if refusal is None and len(together) < 2:
        return replace(plan, tasks=[plan.whole(0)])
    whole = replace(plan, files=())
    tasks = [replace(whole.whole(n), splits=group) for n, group in enumerate(together)]
    return replace(plan, tasks=tasks, refusal=refusal)


def _grouped(splits: Sequence[Split]) -> Iterator[tuple[Split, ...]]:
    """Yields splits that are read by one task: each piece of a file by itself, and small files
    together."""
    waiting, size = list[Split](), 0
    for split in splits:
        if split.file.cut is None:
            waiting.append(split)
            size += split.file.path.stat().st_size
        if waiting and (split.file.cut is not None or size >= cutting.SPLIT_BYTES):
            yield tuple(waiting)
            waiting, size = [], 0
        if split.file.cut is not None:
            yield (split,)
    if waiting:
        yield tuple(waiting)


def _read_beginnings(
    context: BuildContext, inputs: Sequence[Input], workers: Workers
) -> ReadResult:
    """What `read` gives, of the first groups of each source alone."""
    readings = []
    for number, source in enumerate(inputs):
        plan = _stated(context, number, source)
        reading = _Reading(context, plan, workers)
        writer = SplitWriter(context.files, number, 0, source.name, is_whole=True)
        for batch, is_all in _beginning(context, plan):
            writer.add(batch)
            reading.is_whole = reading.is_whole and is_all
        reading.add(0, writer.finish())
        reading.finish()
        readings.append(reading)
    return _together(context, readings)


class _Reading:
    """What is read of a source: all that is counted of its splits, in order."""

    def __init__(self, context: BuildContext, plan: _Plan, workers: Workers) -> None:
        self.source = plan.source
        self.is_whole = True
        self._context, self._plan, self._workers = context, plan, workers
        self._start()

    def _start(self) -> None:
        self.units: Counter[str] = Counter()
        self.problems = Tally()
        self.keys = UnreadKeys()
        self.shapes: dict[str, str] = {}  # of files, by their labels
        self._splits: list[int] = []  # the numbers of those that count
        self._rows = 0
        self._has_answers = self._has_groups = self._has_treeless = False
        self._bad: tuple[str, str, str] | None = None
        self._first_problem: tuple[str, str, str] | None = None
        self._variables: set[str] = set()

    def chained(self, results: Iterator[SplitResult]) -> Iterator[tuple[int, SplitResult]]:
        """Yields what counts of the results of the tasks, with their numbers.

        A piece of values that did not begin where the piece before ended is read again from that
        place, or not at all where the piece before went through it.
        """
        ended: Place | None = None
        for task, result in zip(self._plan.tasks, results, strict=False):
            cut = task.splits[-1].file.cut if task.splits else None
            if cut is not None and cut.is_guessed and result.began != ended:
                split_reading.discard(self._context.files, task.source, task.number)
                if ended is None or ended.byte >= cut.end:
                    continue
                result = self._read(task.from_place(ended))
            ended = result.ended
            yield task.number, result

    def _read(self, task: SplitTask) -> SplitResult:
        return next(iter(self._workers.map(ReadCall(self._context.files), [task])))

    def add(self, number: int, result: SplitResult) -> None:
        """Adds the result of the next split, which has this number."""
        self._splits.append(number)
        self.units.update(result.units)
        self.problems += result.problems
        self.keys.add_counted(result.unread)
        self.shapes.update(result.shapes)
        self._rows += result.rows
        self._has_answers |= result.has_answers
        self._has_groups |= result.has_groups
        self._has_treeless |= result.has_treeless
        self._bad = self._bad or result.bad
        self._first_problem = self._first_problem or result.first_problem
        self._variables |= result.variables

    def finish(self) -> None:
        """Reads the source as a whole where its splits need each other, and checks what was read.

        Raises SourceError where nothing of the source can be used, where no record has a variable
        of the recipe, and where the source has `strict_keys` and keys that were not read.
        """
        plan, files = self._plan, self._context.files
        if plan.refusal is not None:
            raise plan.refusal
        if self._needs_whole():
            for number in self._splits:
                split_reading.discard(files, plan.number, number)
            self._start()
            self.add(0, self._read(plan.whole(0)))
        elif len(plan.tasks) > 1 and self.units["conversations"]:
            variables = plan.options.get("variables", {})
            check_variables(variables, self._variables, self.source.name)
        shutil.rmtree(files.unpacked(plan.number), ignore_errors=True)
        self.check(self._context.recipe.source[self.source.key])

    def _needs_whole(self) -> bool:
        if len(self._plan.tasks) < 2 or not (self._has_treeless or self._has_groups):
            return False
        files = self._context.files
        names = [files.split_names(self._plan.number, number) for number in self._splits]
        return self._has_treeless or split_reading.names_depend(names)

    def problem_files(self) -> list[Path]:
        """The files of what became no row, in order."""
        files = self._context.files
        return [files.split_problems(self._plan.number, number) for number in self._splits]

    def remove_files(self) -> None:
        """Removes the files of splits that nothing reads again."""
        files, source = self._context.files, self._plan.number
        for number in self._splits:
            files.split_problems(source, number).unlink(missing_ok=True)
            files.split_names(source, number).unlink(missing_ok=True)

    def check(self, options: SourceOptions) -> None:
        """Raises SourceError where nothing of the source can be used, and where the source has
        `strict_keys` and keys that were not read."""
        if not self._rows:
            _refuse_unread(self.source, self.units["records"], self._first_problem)
        if self._bad is not None and not self._has_answers:
            _refuse_unusable(self.source, self._bad, self.units["records"])
        if options.strict_keys and (counts := self.keys.counts()):
            _refuse_keys(self.source.name, counts, self.keys)


def _refuse_keys(source: str, counts: KeysByUnit, keys: UnreadKeys) -> None:
    """Raises SourceError, which names the keys that were not read."""
    words = [
        f"{name} in {in_words(number, unit)} (first in {keys.first(unit, name)})"
        for unit, names in counts.items()
        for name, number in names.items()
    ]
    more = f", and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    raise SourceError(
        f"source '{source}' has strict_keys, and nothing reads {', '.join(words[:_NAMED])}{more}; "
        "take these keys out of the files, or strict_keys out of the recipe."
    )


def _beginning(context: BuildContext, plan: _Plan) -> Iterator[tuple[sources.Batch, bool]]:
    """Yields the batches of a source up to the first groups of the first with rows, and whether
    they are all of it so far."""
    source = plan.source
    read = sources.get(source.source).read
    batches = read(plan.files, source.name, source.ids, **plan.options)
    batch = next(batches)
    while batch.rows.is_empty() and (more := next(batches, None)):
        yield batch, True
        batch = more
    first = batch.rows["group"].unique(maintain_order=True).head(context.first_groups or 0)
    chosen = batch.rows.filter(pl.col("group").is_in(first.implode()))
    is_all = chosen.height == batch.rows.height and next(batches, None) is None
    yield _chosen(batch, chosen), is_all


def _chosen(batch: sources.Batch, chosen: pl.DataFrame) -> sources.Batch:
    """A batch with some of its rows, or all, and with all that became no row."""
    if chosen.height == batch.rows.height:
        return batch
    linear = chosen.filter(pl.col("conversation").is_not_null())
    by_unit = Counter(problem.unit for problem in batch.problems)
    conversations = linear.select("conversation", "where").n_unique()
    places = set(chosen["where"])
    return replace(
        batch,
        rows=chosen,
        records=len(places.union(problem.place for problem in batch.problems)),
        conversations=conversations + by_unit["conversation"],
        unread=[entry for entry in batch.unread if entry.where in places],
    )


def _refuse_unread(source: Input, records: int, problem: tuple[str, str, str] | None) -> None:
    """Raises SourceError for a source of which no record could be used."""
    path = source.files[0].path
    if problem is None:
        raise SourceError(f"'{path}' holds no conversations; name a file that does.")
    id, reason, detail = problem
    raise SourceError(
        f"none of the {records} records in '{path}' can be used as '{source.source}'; the first, "
        f"{id}, is {reason} ({detail}). {_way_out(source)}"
    )


def _refuse_unusable(source: Input, bad: tuple[str, str, str], records: int) -> None:
    """Raises SourceError for a source of which no answer could be used."""
    id, note, place = bad
    raise SourceError(
        f"none of the {records} records in '{source.files[0].path}' has an answer that can be used "
        f"as '{source.source}'; the first message that cannot is {id} in {place} ({note}). "
        f"{_way_out(source)}"
    )


def _way_out(source: Input) -> str:
    """What reads the first file of a source, in words."""
    names = sorted(sources.names(), key=lambda name: name == _ANY)
    readers = [name for name in names if name != source.source and _reads(name, source)]
    if not readers:
        return f"No source reads the file; there are {', '.join(sources.names())}."
    setting = f"source.{source.key}.format={readers[0]}"
    return f"The source '{readers[0]}' reads the file; add --set {setting}."


def _reads(name: str, source: Input) -> bool:
    """Whether another source can use a whole record of the first file."""
    try:
        batches = sources.get(name).read(source.files[:1], name, name)
        return any(_has_records(batch.rows) for batch in batches)
    except SourceError:
        return False


def _has_records(rows: pl.DataFrame) -> bool:
    """Whether a record has an answer, and no message that cannot be used."""
    whole = rows.group_by("where").agg(
        is_whole=IS_USABLE.all() & (pl.col("role") == "assistant").any()
    )
    return bool(whole["is_whole"].any())
