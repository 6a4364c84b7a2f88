"""A built folder whose rows are written anew, piece by piece, by workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chatdata.dataset import finished, manifest
from chatdata.pipeline import engines, pieces
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.pieces import Folder, Piece
from chatdata.pipeline.progress import Progress
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.runner import Runner, store_of
from chatdata.pipeline.stats import BuildResult

Write = Callable[[BuildContext, Runner, Sequence[Piece]], BuildResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What decides how fast rows are made and how well they are watched, and not what they are."""

    workers: int
    one_in: int | None  # how many texts there are to one that `tokenizers` encodes too
    progress: Progress
    cache: bool


def read(path: Path) -> Folder:
    """A built folder. Raises OutputError where a file of it is not there."""
    facts = manifest.read(path)
    finished.check_files(path, [file.path for file in facts.files])
    return Folder(path, facts)


def run(
    recipe: Recipe,
    folder: Folder,
    work: Path,
    write: Write,
    means: Means,
    forgotten: pl.DataFrame | None = None,
) -> tuple[BuildContext, BuildResult]:
    """What `write` makes of the pieces of a folder, with the context that it was made in, whose
    files stand in `work`.

    `write` is called once more where a fast encoder differs. `forgotten` are rows of
    `forget_again.NAMES`. Raises RenderError where the template cannot be rendered exactly with the
    tokenizer.
    """
    parts = pieces.split_up(folder)
    number = pieces.processes(folder, parts, means.workers)
    with engines.start("local", number) as workers:  # they start meanwhile
        store = store_of(recipe) if means.cache else None
        context = pieces.prepare(recipe, folder, len(parts), means.one_in, work, forgotten, store)
        runner = Runner(workers, means.progress)
        result = pieces.with_any_encoder(context, lambda context: write(context, runner, parts))
    if store is not None:
        store.cache.tidy()
    return context, result
