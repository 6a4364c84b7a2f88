"""Reading: sources to messages, spread over the parts of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from chatdata import sources
from chatdata.core import ledger, schema
from chatdata.core.errors import SourceError
from chatdata.core.ledger import Tally
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.partitions import PartitionWriter
from chatdata.pipeline.progress import Progress


@dataclass(frozen=True, slots=True)
class ReadResult:
    """How much was read, by unit, and outcomes of what became no row."""

    units: Mapping[str, int]
    problems: pl.DataFrame

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
    for number, source in enumerate(inputs):
        before = units["records"]
        writer = PartitionWriter(context.files.messages(number), context.files.parts)
        for batch in _batches(context, source):
            writer.add(batch.rows)
            problems.append(_problem_outcomes(batch, source.name))
            units.update(
                records=batch.records,
                messages=batch.rows.height + sum(p.unit == "message" for p in batch.problems),
                conversations=batch.conversations,
            )
            progress("reading", units["records"], 0)
        writer.flush()
        if not writer.rows:
            _refuse_unread(source, units["records"] - before, pl.concat(problems))
    return ReadResult(units, pl.concat(problems))


def _batches(context: BuildContext, source: Input) -> Iterator[sources.Batch]:
    """Yields the batches of a source; in a preview the first groups of the first batch alone."""
    variables = context.recipe.source[source.key].variables
    options = {"variables": variables} if variables else {}
    batches = sources.get(source.source).read(source.files, source.name, source.ids, **options)
    if context.first_groups is None:
        yield from batches
        return
    batch = next(batches)
    first = batch.rows["group"].unique(maintain_order=True).head(context.first_groups)
    chosen = batch.rows.filter(pl.col("group").is_in(first.implode()))
    linear = chosen.filter(pl.col("conversation").is_not_null())
    by_unit = Counter(problem.unit for problem in batch.problems)
    conversations = linear.select("conversation", "where").n_unique()
    yield replace(
        batch,
        rows=chosen,
        records=chosen["where"].n_unique() + by_unit["record"] + by_unit["conversation"],
        conversations=conversations + by_unit["conversation"],
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
