"""The conversations of a built folder, rendered in pieces that tear no group apart.

What may be learnt, ids and groups are those of the folder. What a template refuses, or what is too
long for it, is left out, with its outcome.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from chatdata.core import arrow, config, ledger, schema
from chatdata.dataset import learnt, published, reader, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows, message_rows, owners, token_rows
from chatdata.pipeline import encoders, forget_again, ledger_changes, recipe_keys, shared_turns
from chatdata.pipeline.cache import Store
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.ledger_changes import LedgerChanges
from chatdata.pipeline.partitions import PartitionFiles
from chatdata.pipeline.prepare import with_tokenizer
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.tokenizing import RenderedPart, tokenize
from chatdata.render import certificate
from chatdata.render.encoding.encoder import EncoderDiffers
from chatdata.render.tokenizer import Tokenizer
from chatdata.steps.figures import FiguresByKey

PART_BYTES = 8 * 2**20  # of text, about
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Folder:
    """A built folder whose conversations are rendered, and its manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Piece:
    """Conversations of a split, from a row on. Its number is that of a part of the build."""

    number: int
    split: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class RenderedPiece:
    """The rows of a piece as they are published, and its messages before they were rendered."""

    messages: pl.DataFrame
    rendered: RenderedPart
    rows: Rows


# ----------------------------------------------------------------------------------- preparing


def recipe_of(
    values: dict[str, Any], tokenizer: str, template: str | None, settings: Sequence[str]
) -> Recipe:
    """The recipe of a folder, given as plain values, with another rendering.

    Raises ConfigError where a setting is none of its rendering.
    """
    recipe_keys.check_rendering(settings)
    named = {"tokenizer": tokenizer, **({"template": template} if template else {})}
    values = {**values, "render": {**(values["render"] or {}), **named}}
    return config.parse(Recipe, config.override(values, settings), f"recipe '{values['name']}'")


def split_up(folder: Folder) -> list[Piece]:
    """The pieces of a folder, of bounded size, in order."""
    return list(_pieces(folder))


def processes(folder: Folder, parts: Sequence[Piece], workers: int) -> int:
    """How many of the `workers` are worth starting, which takes longer than a few MB."""
    size = sum(entry.bytes for _, entry in folder.manifest.splits.items())
    return min(workers, len(parts), 1 + size // PART_BYTES)


def _pieces(folder: Folder) -> Iterator[Piece]:
    numbers = itertools.count()
    for split, entry in folder.manifest.splits.items():
        if not entry.rows:
            continue
        size = max(1, entry.rows * PART_BYTES // max(entry.bytes, PART_BYTES))
        groups = reader.scan(folder.path, "messages", [split]).select("group").collect().to_series()
        begins = (groups != groups.shift()).fill_null(True).arg_true().to_numpy()
        wanted = np.arange(0, len(groups), size)
        places = np.minimum(np.searchsorted(begins, wanted), len(begins) - 1)
        starts = np.unique(begins[places]).tolist()
        for first, end in itertools.pairwise([*starts, len(groups)]):
            yield Piece(next(numbers), split, first, end - first)


def prepare(
    recipe: Recipe,
    folder: Folder,
    parts: int,
    one_in: int | None,
    work: Path,
    forgotten: pl.DataFrame | None = None,
    store: Store | None = None,
) -> BuildContext:
    """The context of a folder that is rendered in `parts` pieces, whose files go into `work`.

    `one_in` is how many texts there are to one that `tokenizers` encodes too. `forgotten` are rows
    of `forget_again.NAMES`. What is proved is kept in `store`, where it is given. Raises
    RenderError where the template cannot be rendered exactly with the tokenizer.
    """
    nothing = pl.DataFrame(schema=forget_again.NAMES)
    work.mkdir()
    rows = folder.manifest.splits.total("rows")
    context = BuildContext(
        recipe=recipe,
        files=PartitionFiles(work, parts),
        figures=FiguresByKey(),
        sample=certificate.sample_share(rows),
        columns=tables.optional_columns_of(folder.manifest),
        store=store,
    )
    context = with_tokenizer(context)
    context = replace(context, encoder=encoders.choose_encoder(context, one_in))
    shared_turns.new_turns(reader.scan_ledger(folder.path)).write_ipc(_new_turns_file(context))
    learnt.untrained(folder.path, folder.manifest).write_ipc(_untrained_file(context))
    (nothing if forgotten is None else forgotten).write_ipc(context.files.forget)
    _repeats(folder.path).write_ipc(_repeats_file(context))
    return context


def tokenizer(context: BuildContext) -> Tokenizer:
    """The tokenizer by which a folder is rendered."""
    assert context.tokenizer is not None
    return encoders.load_tokenizer(context.tokenizer)


# ----------------------------------------------------------------------------------- rendering


def with_any_encoder(context: BuildContext, make: Callable[[BuildContext], _Made]) -> _Made:
    """What `make` makes, once more by `tokenizers` alone where a fast encoder differs."""
    try:
        return make(context)
    except EncoderDiffers as difference:
        return make(encoders.without_fast(context, difference))


def render(context: BuildContext, folder: Folder, piece: Piece) -> RenderedPiece:
    """A piece, rendered. Raises RenderError where a row is not what the template writes."""
    return rendered(context, messages(context, folder, piece), piece)


def rendered(context: BuildContext, messages: pl.DataFrame, piece: Piece) -> RenderedPiece:
    """Messages of whole groups of a piece, rendered. Raises RenderError as `render` does.

    A message that several conversations hold has a single name.
    """
    assert context.tokenizer is not None
    named = shared_turns.named(messages, arrow.read_table(_new_turns_file(context)))
    names = arrow.read_table(context.files.forget)
    left, outcomes = forget_again.take_out(named, names, repeats(context))
    part = tokenize(context, f"piece {piece.number}", left, _as_stated)
    part = replace(part, outcomes=pl.concat([outcomes, part.outcomes]))
    return RenderedPiece(named, part, _rows(part, piece.split))


def _as_stated(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages as they are: the rows that were published state what may be learnt."""
    return messages


def messages(context: BuildContext, folder: Folder, piece: Piece) -> pl.DataFrame:
    """The messages of a piece, with what may be learnt."""
    return messages_of(context, conversations(folder, piece))


def conversations(folder: Folder, piece: Piece) -> pl.DataFrame:
    """The conversations of a piece, as they stand in the folder."""
    rows = reader.scan(folder.path, "messages", [piece.split]).slice(piece.first, piece.rows)
    return rows.drop("split").collect()


def messages_of(context: BuildContext, conversations: pl.DataFrame) -> pl.DataFrame:
    """The messages of conversations of the folder, with what may be learnt."""
    stated = published.messages(conversations)
    return _with_what_may_be_learnt(stated, arrow.read_table(_untrained_file(context)))


def _with_what_may_be_learnt(messages: pl.DataFrame, untrained: pl.DataFrame) -> pl.DataFrame:
    untrained = untrained.with_columns(is_untrained=True)
    place = ["conversation", "position"]
    marked = messages.join(untrained, on=place, how="left", maintain_order="left")
    train = pl.col("train") & pl.col("is_untrained").is_null()
    return marked.with_columns(train=train).select(schema.MESSAGES.keys())


def _repeats(folder: Path) -> pl.DataFrame:
    """The conversations of a folder that are there again: (conversation, of)."""
    rows = reader.scan_ledger(folder).filter(unit=ledger.REPEAT, outcome="kept")
    return rows.select(conversation="id", of="conversation").collect()


def repeats(context: BuildContext) -> pl.DataFrame:
    """The conversations of the folder that are there again: (conversation, of)."""
    return arrow.read_table(_repeats_file(context))


def _repeats_file(context: BuildContext) -> Path:
    return context.files.folder / "repeats.arrow"


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


# -------------------------------------------------------------------------------- what is left out


def save_outcomes(context: BuildContext, piece: Piece, made: RenderedPiece) -> None:
    """Writes what became of the messages and conversations of a piece that are left out."""
    left = ledger_changes.fates(made.messages, made.rendered.messages, made.rendered.outcomes)
    left.write_ipc(context.files.table("fates", piece.number))
    outcomes = ledger.as_repeats(_outcomes(made), repeats(context))
    outcomes.write_ipc(context.files.table("outcomes", piece.number))


def _outcomes(made: RenderedPiece) -> pl.DataFrame:
    """Outcomes of the conversations that go, and of those that have several rows of tokens."""
    names = pl.Series(made.rows.messages["id"])
    remarks = pl.DataFrame({"conversation": names, "detail": made.rows.several()})
    remarks = remarks.filter(pl.col("detail") != "").with_columns(source=pl.lit(None, pl.String))
    kept = ledger.outcomes_of(
        "conversation", remarks, "conversation", pl.lit(None, pl.String), pl.col("detail")
    )
    return pl.concat([made.rendered.outcomes.filter(unit="conversation"), kept])


def ledger_changes_of(
    context: BuildContext, folder: Folder, pieces: Sequence[Piece]
) -> LedgerChanges:
    """The changes of a folder's ledger by all that `save_outcomes` has written."""
    fates, outcomes = (
        pl.concat([arrow.read_table(context.files.table(kind, piece.number)) for piece in pieces])
        for kind in ("fates", "outcomes")
    )
    return ledger_changes.changes(folder.path, fates, outcomes)
