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
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.partitions import PartitionWriter
from chatdata.pipeline.progress import Progress
from chatdata.pipeline.recipe import SourceOptions
from chatdata.sources import unread
from chatdata.sources.unread import KeysByUnit, UnreadKeys

_NAMED = 3  # keys that a refusal names


@dataclass(frozen=True, slots=True)
class ReadResult:
    """How much was read, by unit, outcomes of what became no row, and by source the keys that were
    not read. `is_whole`: a preview reads a part."""

    units: Mapping[str, int]
    problems: pl.DataFrame
    not_read: Mapping[str, KeysByUnit] = field(default_factory=dict)
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
    not_read, is_whole = {}, True
    for number, source in enumerate(inputs):
        before, keys = units["records"], UnreadKeys()
        writer = PartitionWriter(context.files.messages(number), context.files.parts)
        for batch, is_all in _batches(context, source):
            writer.add(batch.rows)
            problems.append(_problem_outcomes(batch, source.name))
            keys.add(batch.unread)
            is_whole = is_whole and is_all
            units.update(
                records=batch.records,
                messages=batch.rows.height + sum(p.unit == "message" for p in batch.problems),
                conversations=batch.conversations,
            )
            progress("reading", units["records"], 0)
        writer.flush()
        if not writer.rows:
            _refuse_unread(source, units["records"] - before, pl.concat(problems))
        if counts := keys.counts():
            _check_strict(context.recipe.source[source.key], source.name, keys)
            not_read[source.name] = counts
    return ReadResult(units, pl.concat(problems), not_read, is_whole)


def _check_strict(options: SourceOptions, source: str, keys: UnreadKeys) -> None:
    """Raises SourceError where a source with `strict_keys` has keys that were not read."""
    if not options.strict_keys:
        return
    counts = keys.counts()
    words = [
        f"{name} in {unread.in_words(number, unit)} (first in {keys.first(unit, name)})"
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
    variables = context.recipe.source[source.key].variables
    options = {"variables": variables} if variables else {}
    batches = sources.get(source.source).read(source.files, source.name, source.ids, **options)
    if context.first_groups is None:
        yield from ((batch, True) for batch in batches)
        return
    batch = next(batches)
    first = batch.rows["group"].unique(maintain_order=True).head(context.first_groups)
    chosen = batch.rows.filter(pl.col("group").is_in(first.implode()))
    is_all = chosen.height == batch.rows.height and next(batches, None) is None
    yield _chosen(batch, chosen), is_all


def _chosen(batch: sources.Batch, chosen: pl.DataFrame) -> sources.Batch:
    """A batch with some of its rows, and with all that became no row."""
    linear = chosen.filter(pl.col("conversation").is_not_null())
    by_unit = Counter(problem.unit for problem in batch.problems)
    conversations = linear.select("conversation", "where").n_unique()
    places = set(chosen["where"])
    return replace(
        batch,
        rows=chosen,
        records=len(places) + by_unit["record"] + by_unit["conversation"],
        conversations=conversations + by_unit["conversation"],
        unread=[entry for entry in batch.unread if entry.where in places],
    )


def _problem_outcomes(batch: sources.Batch, source: str) -> pl.DataFrame:
    problems = [(p.unit, p.id, p.reason, p.detail) for p in batch.problems]
    return ledger.problem_outcomes(problems, source)


def _refuse_unread(source: Input, records: int, problems: pl.DataFrame) -> None:
    """Raises SourceError for a source of which nothing could be used."""
    path = source.files[0].path
    if not problems.height:
        raise SourceError(f"'{path}' holds no conversations; name a file that does.")
    id, reason, detail = problems.select("id", "reason", "detail").row(0)
    raise SourceError(
        f"none of the {records} records in '{path}' can be used as '{source.source}'; the first, "
        f"{id}, is {reason} ({detail}). The sources are {', '.join(sources.names())}."
    )
