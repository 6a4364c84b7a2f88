"""A build of the first conversations, which writes nothing: what `chatdata check` shows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from chatdata.core import disk, tallies
from chatdata.dataset import manifest, tables
from chatdata.dataset.entries import Preview
from chatdata.pipeline import downloads, engines, partitions
from chatdata.pipeline.build import run_pipeline
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.describe import draft
from chatdata.pipeline.find import as_recipe
from chatdata.pipeline.input_files import look_at
from chatdata.pipeline.inputs import locate, with_replaced_files
from chatdata.pipeline.prepare import prepare
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.runner import Runner

PREVIEW_GROUPS = 100


def preview(
    recipe: Recipe | str | Path, *, inputs: Sequence[str] = (), input_license: str | None = None
) -> manifest.Manifest:
    """The manifest that a build of the first trees or conversations would have, without files.

    The arguments are as for `build`. Writes nothing but temporary files, which it removes.
    """
    recipe = with_replaced_files(as_recipe(recipe), inputs, input_license)
    temporary = tempfile.TemporaryDirectory(prefix="chatdata-")
    with (
        downloads.kept(),
        temporary as work,
        disk.in_words([Path(work)]),  # before it is removed, which makes room
        engines.start("local", 1) as here,
    ):
        located = locate(recipe, inputs)
        context = prepare(recipe, located, Path(work), parts=1)
        context = replace(context, first_groups=PREVIEW_GROUPS, keeps_dropped=True)
        result = run_pipeline(context, located, Runner(here), None, None)
        looked_at = {
            "is_whole": result.read is None or result.read.is_whole,
            "examples": tallies.examples(_dropped(context)),
        }
        previewed = {"preview": Preview.model_validate(looked_at)}
        return draft(context, look_at(located).entries, result).model_copy(update=previewed)


def _dropped(context: BuildContext) -> pl.LazyFrame:
    """What a preview drops, as rows of `ledger.DROPPED`; the preview writes no tables."""
    (name,) = tables.DROPPED.splits
    parts = [context.files.table(tables.DROPPED.part(name), part) for part in context.parts]
    made = [pl.DataFrame(partitions.load(path)) for path in parts]
    problems = [pl.DataFrame(batch) for batch in partitions.batches(context.files.problems)]
    return pl.concat([*problems, *made], how="vertical_relaxed").lazy()
