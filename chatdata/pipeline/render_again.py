"""A built folder rendered again: another template or tokenizer, and everything else as it was.

Ids, groups, splits, what may be learnt, and what the manifest tells of the sources stay. What the
new template refuses, or what is too long for it, goes as in a build, with its row of the ledger.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from chatdata.core import disk, files, tallies
from chatdata.core.tallies import Tally
from chatdata.dataset import (
    plots,
    remote_copy,
    replacing,
    row_digests,
    tables,
)
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows
from chatdata.pipeline import (
    digests,
    downloads,
    forget_again,
    inputs,
    kept_messages,
    pieces,
    render_folder,
)
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.describe import complete, redraft
from chatdata.pipeline.kept_messages import KeptMessages
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.pieces import Folder, Piece
from chatdata.pipeline.prepare import find_tokenizer
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.render_folder import Means
from chatdata.pipeline.runner import Runner
from chatdata.pipeline.stats import BuildResult, PartStats, Totals, total
from chatdata.pipeline.tokenizing import save_rows
from chatdata.pipeline.tokenizing_pairs import tokenize_shard
from chatdata.render.encoding import audit
from chatdata.steps import keeping
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.forgetting import ForgetList


def render_again(
    folder: str | Path,
    out: str | Path,
    *,
    tokenizer: str,
    template: str | None = None,
    settings: Sequence[str] = (),
    forget: Sequence[str] = (),
    workers: int = 1,
    verify: str = audit.DEFAULT,
    force: bool = False,
    progress: Progress = silent,
    cache: bool = True,
) -> Manifest:
    """Renders the conversations of the built folder `folder` into the folder `out`. Both may be
    URLs; `chatdata.render_dataset` takes a published version (`org/name@1.0.0`) as `folder` too.

    `tokenizer` and `template` are those of a recipe's `render`, whose further options stay, but
    for the `settings` (`render.KEY=VALUE`). `forget` are files of ids of conversations that are
    taken out, as by `forget` of a recipe. `workers`, `verify`, `force`, `progress` and `cache` are
    as in a build; rows are made anew, and what was proved of like ones is not proved again.
    Returns the manifest. Raises a ChatdataError, and leaves `out` as it was, where something is
    wrong.
    """
    with downloads.writing(out, progress) as new:
        path = remote_copy.folder(folder)
        one_in = audit.mode(verify).one_in
        means = Means(workers=workers, one_in=one_in, progress=progress, cache=cache)
        built = render_folder.read(path)
        recipe = pieces.recipe_of(built.manifest.recipe.as_json(), tokenizer, template, settings)
        return _render_into(new, built, recipe, inputs.forget_list(forget), means, force)


def _render_into(
    out: Path, built: Folder, recipe: Recipe, listed: ForgetList, means: Means, force: bool
) -> Manifest:
    """Renders a folder into another, without what is `listed`. Returns the manifest."""
    before = built.manifest
    forget = [*recipe.forget, *(file.path for file in listed.files)]
    recipe = recipe.model_copy(update={"forget": forget})
    names, known = forget_again.resolve(built.path, listed.ids)
    forget_again.refuse_pairs(built.path, before, listed.ids)
    replacing.check_same(out, _as_stated(recipe).resolved(), before.sources, is_forced=force)
    with replacing.new_dataset(out) as new:
        disk.check_room(new.parent, _size(built))
        write = functools.partial(_write, built, new)
        context, result = render_folder.run(recipe, built, new / ".work", write, means, names)
        tallies.check_dropped(result.counts, recipe.max_dropped, tables.LEDGER.files_in(new))
        with files.removing(context.files.folder):
            drawn = plots.drawn_in(built.path, before)
            forgotten = forget_again.both(before, listed, known)
            described = redraft(context, before, result).model_copy(update=dict(forgotten))
            described = complete(context, described, new, drawn)
        replacing.keep_words(out, new)
        return described


def _as_stated(recipe: Recipe) -> Recipe:
    """The recipe as a manifest states it: with the name of its tokenizer, not the path."""
    assert recipe.render is not None
    _, name = find_tokenizer(recipe.render.tokenizer)
    render = recipe.render.model_copy(update={"tokenizer": name})
    return recipe.model_copy(update={"render": render})


def _size(folder: Folder) -> int:
    """The bytes of the rows of a folder."""
    paths = (folder.path / file.path for file in folder.manifest.files)
    return sum(path.stat().st_size for path in paths if path.is_file())


def _render(context: BuildContext, folder: Folder, piece: Piece) -> PartStats:
    """The figures of a piece, whose rows are written for the shards, with what became of the
    rest."""
    stored = pieces.conversations(folder, piece)
    made = pieces.rendered(context, pieces.messages_of(context, stored), piece)
    _save(context, folder, piece, stored, made.rows)
    pieces.save_outcomes(context, piece, made)
    sources = made.rows.messages["source"].to_pylist()
    is_mixed = context.recipe.mix is not None
    again = pieces.repeats(context)["conversation"]
    more = PartStats(
        sources=Counter(sources),
        source_tokens=Totals(made.rows.tokens_by(sources) if is_mixed else {}),
        repeats=int(made.rows.is_named(again).sum()),
    )
    hashed = digests.save(context.files, piece.number, row_digests.of_conversations(made.rows))
    return made.rendered.figures(made.rows, hashed) + more


def _save(
    context: BuildContext, folder: Folder, piece: Piece, stored: pl.DataFrame, rows: Rows
) -> None:
    """Writes the rows of a piece for the shards, its messages only where they have changed."""
    if kept_messages.are_kept(context, folder.manifest, stored, rows.messages):
        file = context.files.table(tables.MESSAGES.part(piece.split), piece.number)
        file.unlink(missing_ok=True)  # of an encoder that was wrong
        save_rows(context, piece.number, rows, [tables.TOKENS])
    else:
        save_rows(context, piece.number, rows, tables.TABLES)


def _write(
    folder: Folder, out: Path, context: BuildContext, runner: Runner, parts: Sequence[Piece]
) -> BuildResult:
    render = functools.partial(_render, context, folder)
    tally, by_hand = Tally(), keeping.KeptByHand()
    with OutputWriter(context, out, tables.TABLES, runner).all_or_nothing() as shards:
        of_pairs = _add_pairs(context, folder, shards)
        messages = KeptMessages(context, folder, shards)
        made = zip(parts, runner.map("rendering", render, parts), strict=True)
        stats = total(itertools.chain([of_pairs], _added(made, messages, shards)))
        kept = messages.copied_to(out)
        changes = pieces.ledger_changes_of(context, folder, parts)
        for entries in changes.entries(folder.path, folder.manifest):
            shards.add_entries(tables.LEDGER, entries)
            tally += tallies.tally(entries.select("unit", "reason"))
            by_hand += keeping.count(entries.filter(keeping.is_noted()))
        written = shards.finish()
    return BuildResult(
        stats=stats + PartStats(figures=FiguresByKey({keeping.KEY: by_hand})),
        content_hash=stats.digests.content_hash(context.files),
        counts=_balance(folder.manifest, tally),
        files=(*kept, *written),
        encoder=context.encoder,
        near_duplicates={},
    )


def _added(
    made: Iterable[tuple[Piece, PartStats]], messages: KeptMessages, shards: OutputWriter
) -> Iterator[PartStats]:
    """Adds pieces to the shards as they come. Yields the figures of each."""
    for piece, stats in made:
        messages.add(piece)
        shards.add(piece.number)
        yield stats


def _add_pairs(context: BuildContext, folder: Folder, shards: OutputWriter) -> PartStats:
    """Writes pairs and ranked answers, which no rendering changes, and the rows of tokens of the
    pairs. Returns the figures of these rows."""
    stats = list[PartStats]()
    for split in tables.RANKED.splits:
        for file in tables.RANKED.shards(folder.manifest.files, split):
            shards.add_rows(tables.RANKED, split, pq.read_table(folder.path / file.path))
    for split in tables.PAIRS.splits:
        for file in tables.PAIRS.shards(folder.manifest.files, split):
            shard = folder.path / file.path
            shards.add_rows(tables.PAIRS, split, pq.read_table(shard))
            for made in tokenize_shard(context, shard, split):
                shards.add_rows(tables.PAIR_TOKENS, split, made.rows.table)
                stats.append(made.stats)
    return total(stats)


def _balance(before: Manifest, tally: Tally) -> tallies.Counts:
    """The counts of the ledger, in which records that could be read have no row.

    Raises BuildError where they do not add up.
    """
    read = {unit: count.read for unit, count in before.counts.items()}
    return tallies.balance(read, tally + Tally(kept=Counter(records=before.counts.records.kept)))
