"""A rendering added to a built folder: its tokens, its tokenizer, and what it leaves out.

What the folder holds stays, byte for byte, but for manifest and card. A conversation that the added
template refuses, or that is too long for it, is left out of the added rows alone, and stands with
the reason in a ledger of the rendering.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatdata.core import files, tallies
from chatdata.core.errors import ConfigError
from chatdata.core.hashing import sha256_file
from chatdata.core.tallies import Tally
from chatdata.dataset import (
    remote_copy,
    renderings,
    replacing,
    row_digests,
    tables,
)
from chatdata.dataset.entries import FileEntry
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.tables import Table
from chatdata.pipeline import digests, downloads, pieces, render_folder
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.describe import rendering_entry
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.pieces import Folder, Piece
from chatdata.pipeline.prepare import find_tokenizer
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.render_folder import Means
from chatdata.pipeline.runner import Runner
from chatdata.pipeline.stats import BuildResult, PartStats
from chatdata.pipeline.tokenizing import save_rows
from chatdata.render.encoding import audit


@dataclass(frozen=True, slots=True)
class _Added:
    """The name of a rendering, and its tables: of tokens, and of what is left out."""

    name: str
    tokens: Table
    left_out: Table

    @property
    def tables(self) -> tuple[Table, Table]:
        """Both tables."""
        return self.tokens, self.left_out


def add_rendering(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    tokenizer: str,
    template: str | None = None,
    name: str | None = None,
    settings: Sequence[str] = (),
    workers: int = 1,
    verify: str = audit.DEFAULT,
    force: bool = False,
    progress: Progress = silent,
    cache: bool = True,
) -> Manifest:
    """Adds a rendering to the built folder `folder`, or to a copy of it, `out`. Of a published
    version (`org/name@1.0.0`), which `chatdata.add_rendering` takes too, there must be a copy.

    `tokenizer` and `template` are those of a recipe's `render`, whose further options are those of
    the folder, but for the `settings` (`render.KEY=VALUE`). `name` is what the rendering is called:
    after its template or tokenizer unless it is given. `workers`, `verify`, `force`, `progress`
    and `cache` are as in `render_again`. Returns the manifest. Raises a ChatdataError, and leaves
    everything as it was, where something is wrong.
    """
    source = remote_copy.to_change(folder, out)
    with downloads.writing(source if out is None else out, progress) as written:
        one_in = audit.mode(verify).one_in
        means = Means(workers=workers, one_in=one_in, progress=progress, cache=cache)
        built = render_folder.read(source)
        values = built.manifest.recipe.as_json() | {"pack": None}  # bins are of the built rows
        recipe = pieces.recipe_of(values, tokenizer, template, settings)
        return _add(written, built, recipe, _added(built, recipe, name), means, force)


def _add(
    out: Path, built: Folder, recipe: Recipe, added: _Added, means: Means, force: bool
) -> Manifest:
    """Adds a rendering by a recipe to a folder, or to a copy of it. Returns the manifest."""
    before = built.manifest
    replacing.check_same(out, before.recipe.as_json(), before.sources, is_forced=force)
    with replacing.new_dataset(out) as new:
        replacing.carry_over(built.path, new, shares=out == built.path)
        write = functools.partial(_write, built, added, new)
        context, result = render_folder.run(recipe, built, new / ".work", write, means)
        left_out = added.left_out.files_in(new)
        tallies.check_dropped(result.counts, recipe.max_dropped, left_out)
        with files.removing(context.files.folder):
            described = _complete(context, built, added, result, new)
        replacing.keep_words(out, new)
        return described


# --------------------------------------------------------------------------------- what is there


def _added(folder: Folder, recipe: Recipe, name: str | None) -> _Added:
    """The rendering to add. Raises ConfigError where the folder cannot take its name."""
    if name is None:
        name = _default_name(recipe)
    renderings.check_name(name, folder.manifest)
    added = _Added(name, tables.tokens_of(name), tables.ledger_of(name))
    folders = (*added.tables, tables.packs_of(name))
    for path in (*(table.name for table in folders), renderings.tokenizer_folder(name)):
        if (folder.path / path).exists():
            raise ConfigError(
                f"'{folder.path / path}' is there already, and not of a rendering; remove it, or "
                "choose another name with --name."
            )
    return added


def _default_name(recipe: Recipe) -> str:
    """The name of a rendering after its template or tokenizer."""
    assert recipe.render is not None
    _, tokenizer = find_tokenizer(recipe.render.tokenizer)
    return tables.slug(recipe.render.template, tokenizer).lstrip("_.-") or "tokenizer"


# --------------------------------------------------------------------------------- what is added


def _render(context: BuildContext, folder: Folder, name: str, piece: Piece) -> PartStats:
    """The figures of a piece, whose rows of tokens are written for the shards, with what became of
    the rest."""
    made = pieces.render(context, folder, piece)
    save_rows(context, piece.number, made.rows, [tables.tokens_of(name)])
    pieces.save_outcomes(context, piece, made)
    hashed = digests.save(context.files, piece.number, row_digests.of_tokens(made.rows))
    return made.rendered.figures(made.rows, hashed)


def _write(
    folder: Folder,
    added: _Added,
    out: Path,
    context: BuildContext,
    runner: Runner,
    parts: Sequence[Piece],
) -> BuildResult:
    render = functools.partial(_render, context, folder, added.name)
    tally = Tally()
    with OutputWriter(context, out, added.tables, runner).all_or_nothing() as shards:
        stats = shards.add_all(runner.map("rendering", render, parts))
        changes = pieces.ledger_changes_of(context, folder, parts)
        for entries in changes.entries_of_kept(folder.path, folder.manifest):
            shards.add_entries(added.left_out, entries.filter(outcome="dropped"))
            tally += tallies.tally(entries.select("unit", "reason"))
        written = shards.finish()
    return BuildResult(
        stats=stats,
        content_hash=stats.digests.content_hash(context.files),
        counts=_balance(folder.manifest, tally),
        files=written,
        encoder=context.encoder,
        near_duplicates={},
    )


def _balance(before: Manifest, tally: Tally) -> tallies.Counts:
    """What the rendering keeps of what the folder keeps. Raises BuildError where the counts do not
    add up."""
    read = {unit: count.kept for unit, count in before.counts.items()}
    counts = tallies.balance(read, tally + Tally(kept=Counter(records=read["records"])))
    return {unit: count for unit, count in counts.items() if unit != "records"}


def _complete(
    context: BuildContext, folder: Folder, added: _Added, result: BuildResult, out: Path
) -> Manifest:
    """Writes the tokenizer, the card, and last the manifest. Returns the manifest."""
    saved = pieces.tokenizer(context).save(out / renderings.tokenizer_folder(added.name))
    before = folder.manifest
    entry = rendering_entry(context, result)
    extras = [
        FileEntry(path=path.relative_to(out).as_posix(), sha256=sha256_file(path)) for path in saved
    ]
    after = before.model_copy(
        update={
            "files": (*before.files, *result.files),
            "extras": (*before.extras, *extras),
            "renders": {**before.renders, added.name: entry},
        }
    )
    replacing.describe(out, after, folder.path, before)
    return after
