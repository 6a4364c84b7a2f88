"""What is found in messages before filters mark them: secrets, and what evaluation sets hold."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from chatdata.pipeline.job import Job, Seen
from chatdata.steps import contamination, redact


def examine(job: Job, messages: pl.DataFrame, seen: Seen) -> pl.DataFrame:
    """Redacts messages, and adds the columns that filters go by which look into them.

    What was found is added to `seen`, whatever then becomes of the messages.
    """
    if job.recipe.redact is not None:
        messages, counts = redact.replace(messages, job.recipe.redact.kinds)
        redact.add(seen.secrets, counts)
    for drop in job.drops("message"):
        if drop.filter.detail == "secret":
            messages, counts = redact.label(messages, drop.options["kinds"])
            redact.add(seen.secrets, counts)
        if drop.filter.detail == "overlap":
            messages, found = contamination.label(messages, contamination.load(job.overlaps))
            seen.overlaps.append(found)
    return messages


def total(parts: Iterable[Seen]) -> Seen:
    """What was found in all parts."""
    whole = Seen()
    for part in parts:
        redact.add(whole.secrets, part.secrets)
        whole.overlaps.extend(part.overlaps)
    return whole
