"""A built folder rendered again: another template or tokenizer, and everything else as it was.

Ids, groups, splits, what may be learnt, and what the manifest tells of the sources stay. What the
new template refuses, or what is too long for it, goes as in a build, with its row of the ledger.
"""

from __future__ import annotations

import functools
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from chatdata.core import config, files, ledger, schema
from chatdata.core.errors import ConfigError
from chatdata.core.ledger import Tally
from chatdata.dataset import learnt, manifest, published, reader, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows, message_rows, owners, token_rows
from chatdata.pipeline import encoders, engines, ledger_changes, shared_turns
from chatdata.pipeline.build import Runner
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.describe import complete, redraft
from chatdata.pipeline.ledger_changes import LedgerChanges
from chatdata.pipeline.output import OutputWriter
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.prepare import with_tokenizer
from chatdata.pipeline.progress import Progress, silent
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.stats import BuildResult, PartStats
from chatdata.pipeline.tokenizing import RenderedPart, save_rows, tokenize
from chatdata.render import certificate
from chatdata.render.encoding import audit
from chatdata.render.encoding.encoder import EncoderDiffers
from chatdata.steps.figures import FiguresByKey

PART_BYTES = 8 * 2**20  # of text, about
_SETTABLE = ("render.", "max_dropped=")  # what the settings may change


def render_again(
    folder: str | Path,
    out: str | Path,
    *,
    tokenizer: str,
    template: str | None = None,
    settings: Sequence[str] = (),
    workers: int = 1,
    verify: str = audit.DEFAULT,
    progress: Progress = silent,
) -> Manifest:
    """Renders the conversations of the built folder `folder` into the folder `out`.

    `tokenizer` and `template` are those of a recipe's `render`, whose further options stay, but
    for the `settings` (`render.KEY=VALUE`). `workers`, `verify` and `progress` are as in a build.
    Returns the manifest. Raises a ChatdataError, and leaves `out` as it was, where something is
    wrong.
    """
    folder, one_in = Path(folder), audit.mode(verify).one_in
    before = manifest.read(folder)
    recipe = _recipe(before, tokenizer, template, settings)
    with files.new_folder(Path(out), manifest.FILE) as new:
        work = new / ".work"
        work.mkdir()
        pieces = list(_pieces(folder, before))
        context = BuildContext(
            recipe=recipe,
            files=PartitionFiles(work, len(pieces)),
            figures=FiguresByKey(),
            sample=min(1.0, certificate.SAMPLE / max(1, before.splits.total("rows"))),
            columns=tables.optional_columns_of(before),
        )
        context = with_tokenizer(context)
        context = replace(context, encoder=encoders.choose_encoder(context, one_in))
        shared_turns.new_turns(reader.scan_ledger(folder)).write_ipc(_new_turns_file(context))
        learnt.untrained(folder, before).write_ipc(_untrained_file(context))
        with engines.start("local", min(workers, len(pieces))) as running:
            runner = Runner(running, progress)
            result = _run(context, runner, _Folder(folder, before), pieces, new)
        ledger.check_dropped(result.counts, recipe.max_dropped)
        shutil.rmtree(work)
        return complete(context, redraft(context, before, result), new)


def _recipe(
    before: Manifest, tokenizer: str, template: str | None, settings: Sequence[str]
) -> Recipe:
    """The recipe of a folder with another rendering. Raises ConfigError where a setting is none
    of its rendering."""
    for setting in settings:
        if not setting.startswith(_SETTABLE):
            raise ConfigError(
                f"--set {setting}: only `render.KEY` and `max_dropped` can be set, since the "
                "conversations stay as they are; build again to change anything else."
            )
    values = before.recipe.as_json()
    named = {"tokenizer": tokenizer, **({"template": template} if template else {})}
    values = {**values, "render": {**(values["render"] or {}), **named}}
    return config.parse(Recipe, config.override(values, settings), f"recipe '{before.name}'")


# ----------------------------------------------------------------------------------- the pieces


@dataclass(frozen=True, slots=True)
class _Folder:
    """The folder whose conversations are rendered, and its manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class _Piece:
    """Conversations of a split, from a row on. Its number is that of a part of the build."""

    number: int
    split: str
    first: int
    rows: int


def _pieces(folder: Path, described: Manifest) -> Iterator[_Piece]:
    """Yields pieces of bounded size, none of which tears a group apart, in order."""
    numbers = itertools.count()
    for split, entry in described.splits.items():
        if not entry.rows:
            continue
        size = max(1, entry.rows * PART_BYTES // max(entry.bytes, PART_BYTES))
        groups = reader.scan(folder, "messages", [split]).select("group").collect().to_series()
        begins = (groups != groups.shift()).fill_null(True).arg_true().to_numpy()
        wanted = np.arange(0, len(groups), size)
        places = np.minimum(np.searchsorted(begins, wanted), len(begins) - 1)
        starts = np.unique(begins[places]).tolist()
        for first, end in itertools.pairwise([*starts, len(groups)]):
            yield _Piece(next(numbers), split, first, end - first)


def _render_piece(context: BuildContext, folder: _Folder, piece: _Piece) -> PartStats:
    """The figures of a piece, whose rows are written for the shards, with what became of the
    rest."""
    messages = _messages(context, folder, piece)
    assert context.tokenizer is not None
    rendered = tokenize(context, context.tokenizer, messages, _as_stated)
    rows = _rows(rendered, piece.split)
    save_rows(context, piece.number, rows)
    left = ledger_changes.fates(messages, rendered.messages, rendered.outcomes)
    left.write_ipc(context.files.table("fates", piece.number))
    _outcomes(rendered, rows).write_ipc(context.files.table("outcomes", piece.number))
    sources = Counter(rows.messages["source"].to_pylist())
    return rendered.figures(rows) + PartStats(sources=sources)


def _as_stated(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages as they are: the rows that were published state what may be learnt."""
    return messages


def _messages(context: BuildContext, folder: _Folder, piece: _Piece) -> pl.DataFrame:
    """The messages of a piece, each with a name that the conversations that hold it share."""
    rows = reader.scan(folder.path, "messages", [piece.split]).slice(piece.first, piece.rows)
    messages = published.messages(rows.drop("split").collect())
    messages = _with_what_may_be_learnt(messages, pl.read_ipc(_untrained_file(context)))
    return shared_turns.named(messages, pl.read_ipc(_new_turns_file(context)))


def _with_what_may_be_learnt(messages: pl.DataFrame, untrained: pl.DataFrame) -> pl.DataFrame:
    untrained = untrained.with_columns(is_untrained=True)
    place = ["conversation", "position"]
    marked = messages.join(untrained, on=place, how="left", maintain_order="left")
    train = pl.col("train") & pl.col("is_untrained").is_null()
    return marked.with_columns(train=train).select(schema.MESSAGES.keys())


def _untrained_file(context: BuildContext) -> Path:
    return context.files.folder / "untrained.arrow"


def _new_turns_file(context: BuildContext) -> Path:
    return context.files.folder / "new-turns.arrow"


def _rows(rendered: RenderedPart, split: str) -> Rows:
    """The rows of a piece as they are published."""
    assert rendered.tokens is not None
    messages = message_rows(rendered.messages)
    splits = pl.repeat(split, messages.num_rows, dtype=pl.String, eager=True)
    return Rows(messages, token_rows(rendered.tokens), owners(messages, rendered.tokens), splits)


def _outcomes(rendered: RenderedPart, rows: Rows) -> pl.DataFrame:
    """Outcomes of the conversations that go, and of those that have several rows of tokens."""
    several = rows.several()
    remarks = pl.DataFrame({"conversation": pl.Series(rows.messages["id"]), "detail": several})
    remarks = remarks.filter(pl.col("detail") != "").with_columns(source=pl.lit(None, pl.String))
    kept = ledger.outcomes_of(
        "conversation", remarks, "conversation", pl.lit(None, pl.String), pl.col("detail")
    )
    return pl.concat([rendered.outcomes.filter(unit="conversation"), kept])


# ------------------------------------------------------------------------------------ the whole


def _run(
    context: BuildContext, runner: Runner, folder: _Folder, pieces: Sequence[_Piece], out: Path
) -> BuildResult:
    """Renders all pieces, once more by `tokenizers` alone where a fast encoder differs."""
    try:
        return _write(context, runner, folder, pieces, out)
    except EncoderDiffers as difference:
        again = encoders.without_fast(context, difference)
        return _write(again, runner, folder, pieces, out)


def _write(
    context: BuildContext, runner: Runner, folder: _Folder, pieces: Sequence[_Piece], out: Path
) -> BuildResult:
    render = functools.partial(_render_piece, context, folder)
    stats = PartStats()
    no_problems = schema.empty(ledger.OUTCOMES)
    with OutputWriter(context, out, no_problems).all_or_nothing() as shards:
        for number, part in enumerate(runner.map("rendering", render, pieces)):
            shards.add(number)
            stats += part
        tally = _write_ledger(shards, _changes(context, folder, pieces), folder)
    return BuildResult(
        stats=stats,
        counts=_balance(folder.manifest, tally),
        files=shards.finish(),
        encoder=context.encoder,
        near_duplicates={},
    )


def _changes(context: BuildContext, folder: _Folder, pieces: Sequence[_Piece]) -> LedgerChanges:
    fates, outcomes = (
        pl.concat([pl.read_ipc(context.files.table(kind, piece.number)) for piece in pieces])
        for kind in ("fates", "outcomes")
    )
    return ledger_changes.changes(folder.path, fates, outcomes)


def _write_ledger(shards: OutputWriter, changes: LedgerChanges, folder: _Folder) -> Tally:
    """Writes the ledger with its changes. Returns its tally."""
    tally = Tally()
    (split,) = tables.LEDGER.splits
    for entries in changes.entries(folder.path, folder.manifest):
        tally += ledger.tally(entries.select("unit", "reason"))
        rows = entries.to_arrow().cast(tables.LEDGER.schema)
        shards.add_rows(tables.LEDGER, split, rows)
    return tally


def _balance(before: Manifest, tally: Tally) -> ledger.Counts:
    """The counts of the ledger, in which records that could be read have no row.

    Raises BuildError where they do not add up.
    """
    read = {unit: count.read for unit, count in before.counts.items()}
    return ledger.balance(read, tally + Tally(kept=Counter(records=before.counts.records.kept)))
