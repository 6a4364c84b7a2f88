"""Reading: sources to messages, spread over the parts of a build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import polars as pl

from chatdata import sources
from chatdata.core import ledger, schema
from chatdata.core.errors import SourceError
from chatdata.pipeline import partitions
from chatdata.pipeline.inputs import Input
from chatdata.pipeline.job import Job


def read(
    job: Job, found: Sequence[Input], progress: Callable[[str, int, int], None]
) -> tuple[dict[str, int], pl.DataFrame]:
    """Spreads the messages of all sources over the parts.

    Returns what was read, by unit, and the events of what became no row.
    """
    read = dict.fromkeys(ledger.UNITS, 0)
    problems = [schema.empty(ledger.EVENTS)]
    for number, source in enumerate(found):
        usable = 0
        spool = partitions.Spool(job.work / f"read-{number}", job.parts)
        for batch in _batches(job, source):
            spool.add(batch.rows)
            problems.append(_problem_events(batch, source.name))
            read["records"] += batch.records
            read["conversations"] += batch.conversations
            usable += batch.rows.height
            progress("reading", read["records"], 0)
        spool.flush()
        read["messages"] += usable
        if not usable:
            _refuse_unread(source, read["records"], pl.concat(problems))
    events = pl.concat(problems)
    read["messages"] += events.filter(pl.col("unit") == "message").height
    return read, events


def _batches(job: Job, source: Input) -> Iterator[sources.Batch]:
    batches = sources.get(source.source).read(source.files, source.name, source.ids)
    if job.first_groups is None:
        yield from batches
        return
    batch = next(batches)
    first = batch.rows["group"].unique(maintain_order=True).head(job.first_groups)
    chosen = batch.rows.filter(pl.col("group").is_in(first.implode()))
    linear = chosen.filter(pl.col("conversation").is_not_null())
    by_unit = [sum(p.unit == unit for p in batch.problems) for unit in ("record", "conversation")]
    yield replace(
        batch,
        rows=chosen,
        records=chosen["where"].n_unique() + sum(by_unit),
        conversations=linear.select("conversation", "where").n_unique() + by_unit[1],
    )


def _problem_events(batch: sources.Batch, source: str) -> pl.DataFrame:
    found = [(p.unit, p.id, p.reason, p.detail) for p in batch.problems]
    return ledger.problem_events(found, source)


def _refuse_unread(source: Input, records: int, problems: pl.DataFrame) -> None:
    """Raises SourceError for a source of which nothing could be used."""
    where = source.files[0].path
    if not problems.height:
        raise SourceError(f"'{where}' holds no conversations; name a file that does.")
    id, reason, detail = problems.select("id", "reason", "detail").row(0)
    raise SourceError(
        f"none of the {records} records in '{where}' can be used as '{source.source}'; the first, "
        f"{id}, is {reason} ({detail}). The sources are {', '.join(sources.names())}."
    )


def counts(read: dict[str, int], problems: pl.DataFrame) -> ledger.Counts:
    """What reading alone decided: records that could be used, and problems by reason."""
    unreadable = problems.filter(pl.col("unit") == "record").height
    usable: ledger.Counts = {"records": {"kept": read["records"] - unreadable, "dropped": {}}}
    return ledger.add([usable, ledger.tally(problems)])
