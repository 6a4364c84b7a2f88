"""What is found in messages before filters mark them: secrets, and what filters declare."""

from __future__ import annotations

import polars as pl

from chatdata.pipeline.job import Job
from chatdata.steps import filtering, redact
from chatdata.steps.figures import FiguresByKey


def annotate(job: Job, messages: pl.DataFrame) -> tuple[pl.DataFrame, FiguresByKey]:
    """The messages, redacted, with the columns that filters declare, and what was found.

    What was found counts, whatever then becomes of the messages.
    """
    figures = FiguresByKey()
    if job.recipe.redact is not None:
        messages, secrets = redact.replace(messages, job.recipe.redact.kinds)
        figures += FiguresByKey({redact.KEY: secrets})
    messages, more = filtering.add_columns(messages, job.drops("message"), job.columns)
    return messages, figures + more
