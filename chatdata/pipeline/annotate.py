"""Annotation: secrets are redacted, and the columns that filters declare are added."""

from __future__ import annotations

import polars as pl

from chatdata.pipeline.context import BuildContext
from chatdata.steps import filtering, labels, redact
from chatdata.steps.figures import FiguresByKey


def annotate(context: BuildContext, messages: pl.DataFrame) -> tuple[pl.DataFrame, FiguresByKey]:
    """The messages, redacted, with the columns that filters declare, and figures of what they hold.

    The figures count, whatever then becomes of the messages.
    """
    figures = FiguresByKey({labels.KEY: labels.count(messages)})
    options = context.recipe.redact
    if options is not None:
        countries = options.countries or "all"
        messages, secrets = redact.replace(messages, options.kinds, countries)
        figures += FiguresByKey({redact.KEY: secrets})
    drops = context.drops("message")
    messages, more = filtering.add_columns(messages, drops, context.files.columns)
    return messages, figures + more
