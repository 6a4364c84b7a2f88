"""Reading: sources to messages, spread over the parts of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from chatdata import sources
from chatdata.core import ledger, schema
from chatdata.core.errors import SourceError
from chatdata.core.ledger import Tally
from chatdata.dataset import tables
from chatdata.pipeline import python_records
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.partitions import Appended, PartitionWriter
from chatdata.pipeline.progress import Progress
from chatdata.pipeline.recipe import SourceOptions
from chatdata.sources.unread import KeysByUnit, UnreadKeys, in_words

_NAMED = 3  # keys that a refusal names
_OPTIONS = ("variables", "fields")  # of a recipe, that some sources take
_ANY = "auto"  # the source that is named where no other reads a file


@dataclass(frozen=True, slots=True)
class ReadResult:
    """How much was read, by unit, outcomes of what became no row, and by source the keys that were
    not read and the shapes of its files. `is_whole`: a preview reads a part."""

    units: Mapping[str, int]
    problems: pl.DataFrame
    not_read: Mapping[str, KeysByUnit] = field(default_factory=dict)
    shapes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_whole: bool = True

    def tally(self) -> Tally:
        """What reading alone decided: records that could be used, and problems by reason."""
        problems = ledger.tally(self.problems)
        unreadable = problems.dropped.get("records", Counter())
        usable = self.units["records"] - unreadable.total()
        return problems + Tally(kept=Counter(records=usable))


def read(context: BuildContext, inputs: Sequence[Input], progress: Progress) -> ReadResult:
    """Spreads the messages of all sources over the parts.

    Raises SourceError for a source of which nothing can be used.
    """
    units, problems = Counter(dict.fromkeys(ledger.UNITS, 0)), [schema.empty(ledger.OUTCOMES)]
    not_read, shapes, is_whole = {}, {}, True
    words = Appended(context.files.problems, tables.DROPPED.schema)
    for number, source in enumerate(inputs):
        writer = PartitionWriter(context.files.messages(number), context.files.parts)
        reading = _SourceReading(source, writer, words)
        for batch, is_all in _batches(context, source):
            reading.add(batch)
            is_whole = is_whole and is_all
            progress("reading", units["records"] + reading.units["records"], 0)
        writer.flush()
        reading.check(context.recipe.source[source.key])
        units.update(reading.units)
        problems += reading.problems
        if counts := reading.keys.counts():
            not_read[source.name] = counts
        shapes[source.name] = reading.shapes
    words.close()
    return ReadResult(units, pl.concat(problems), not_read, shapes, is_whole)


@dataclass(slots=True)
class _SourceReading:
    """What is read of a source: the rows and the words of what became none, which go to files, and
    all that is counted."""

    source: Input
    writer: PartitionWriter
    words: Appended
    units: Counter[str] = field(default_factory=Counter)
    problems: list[pl.DataFrame] = field(default_factory=list)
    keys: UnreadKeys = field(default_factory=UnreadKeys)
    shapes: dict[str, str] = field(default_factory=dict)  # of files, by their labels
    has_answers: bool = False
    bad: pl.DataFrame | None = None  # the first message that cannot be used

    def add(self, batch: sources.Batch) -> None:
        """Adds a batch of the source."""
        self.writer.add(batch.rows)
        problems = _problem_outcomes(batch, self.source.name)
        self.words.add(problems.select(ledger.DROPPED.keys()).to_arrow())
        self.problems.append(problems.with_columns(content=pl.lit(None, pl.String)))
        self.keys.add(batch.unread)
        self.shapes.update(batch.shapes)
        self.units.update(
            records=batch.records,
            messages=batch.rows.height + sum(p.unit == "message" for p in batch.problems),
            conversations=batch.conversations,
        )
        if not self.has_answers:
            self.has_answers = _has_answers(batch.rows)
            bad = batch.rows.filter(_IS_USABLE.not_()).head(1)
            self.bad = bad if self.bad is None and bad.height else self.bad

    def check(self, options: SourceOptions) -> None:
        """Raises SourceError where nothing of the source can be used, and where the source has
        `strict_keys` and keys that were not read."""
        if not self.writer.rows:
            _refuse_unread(self.source, self.units["records"], pl.concat(self.problems))
        if self.bad is not None and not self.has_answers:
            _refuse_unusable(self.source, self.bad, self.units["records"])
        if options.strict_keys and (counts := self.keys.counts()):
            _refuse_keys(self.source.name, counts, self.keys)


_IS_USABLE = pl.col("role").is_not_null() & pl.col("note").is_null()


def _has_answers(rows: pl.DataFrame) -> bool:
    """Whether a row has the role of the assistant, and words without a fault."""
    return not rows.filter(_IS_USABLE, pl.col("role") == "assistant").is_empty()


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


def _batches(context: BuildContext, source: Input) -> Iterator[tuple[sources.Batch, bool]]:
    """Yields the batches of a source, and whether they are all of it so far; in a preview the first
    groups of the first batch alone."""
    stated = context.recipe.source[source.key]
    options = {key: value for key in _OPTIONS if (value := getattr(stated, key))}
    files = python_records.files(context, source, stated.python) if stated.python else source.files
    batches = sources.get(source.source).read(files, source.name, source.ids, **options)
    if context.first_groups is None:
        yield from ((batch, True) for batch in batches)
        return
    batch = next(batches)
    while batch.rows.is_empty() and (more := next(batches, None)):
        yield batch, True
        batch = more
    first = batch.rows["group"].unique(maintain_order=True).head(context.first_groups)
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


def _problem_outcomes(batch: sources.Batch, source: str) -> pl.DataFrame:
    problems = [(p.unit, p.id, p.reason, p.detail, p.place, p.text) for p in batch.problems]
    return ledger.problem_outcomes(problems, source)


def _refuse_unread(source: Input, records: int, problems: pl.DataFrame) -> None:
    """Raises SourceError for a source of which no record could be used."""
    path = source.files[0].path
    if not problems.height:
        raise SourceError(f"'{path}' holds no conversations; name a file that does.")
    id, reason, detail = problems.select("id", "reason", "detail").row(0)
    raise SourceError(
        f"none of the {records} records in '{path}' can be used as '{source.source}'; the first, "
        f"{id}, is {reason} ({detail}). {_way_out(source)}"
    )


def _refuse_unusable(source: Input, bad: pl.DataFrame, records: int) -> None:
    """Raises SourceError for a source of which no answer could be used."""
    id, note, place = bad.select("message", "note", "where").row(0)
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
        is_whole=_IS_USABLE.all() & (pl.col("role") == "assistant").any()
    )
    return bool(whole["is_whole"].any())
