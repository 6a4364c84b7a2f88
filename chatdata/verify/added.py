"""Renderings that were added to a folder: their rows counted again, and rendered again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from chatdata.core import ledger, tallies
from chatdata.core.constants import SPLITS
from chatdata.core.hashing import fraction_column
from chatdata.dataset import reader, renderings, tables
from chatdata.dataset.entries import RenderingEntry
from chatdata.dataset.manifest import FORMAT, Manifest
from chatdata.dataset.row_batches import TokenReader
from chatdata.pipeline import pieces
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.pieces import Folder, Piece, RenderedPiece
from chatdata.render.certificate import SAMPLE
from chatdata.render.parity import ParityCounts
from chatdata.verify import certificate_checks, recount, sums
from chatdata.verify.certificate_checks import Sample

_EXAMPLES = 3  # of rows with the same problem
_WRONG = {
    "input_ids": "its ids are not what the template makes of its messages",
    "labels": "its labels are not those of whole answers",
}


# ---------------------------------------------------------------------------------- counted again


def count_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what a manifest states of added renderings otherwise than their rows.

    Raises VerifyError where a row has no conversation, or stands out of order.
    """
    for name, entry in manifest.renders.items():
        for problems in (_sum_problems, _left_out_problems):
            yield from (f"{name}: {problem}" for problem in problems(folder, manifest, name, entry))


_OF_TOKENS = ("tokens", "trained_tokens")


def _sum_problems(
    folder: Path, manifest: Manifest, name: str, entry: RenderingEntry
) -> Iterator[str]:
    counted = recount.count_added(folder, manifest, name)
    yield from counted.odd
    for split, figures in entry.splits.items():
        actual = counted.splits.get(split, {})
        for key, number in figures.as_json().items():
            yield from recount.differing(f"{key} of {split}", number, actual.get(key, 0))
    for key in ("token_rows", "tokens", "trained_tokens"):
        total = entry.splits.total(key)
        yield from recount.differing(
            f"render.{key}, of all splits", getattr(entry.render, key), total
        )
    lengths = counted.lengths()
    of_tokens = {key: each for key, each in lengths.items() if key in _OF_TOKENS}
    yield from sums.lengths_of(of_tokens, entry.lengths, entry.render)
    yield from recount.differing("content_hash", entry.content_hash, counted.content_hash())


def _left_out_problems(
    folder: Path, manifest: Manifest, name: str, entry: RenderingEntry
) -> Iterator[str]:
    left_out = reader.scan_left_out(folder, name)
    tally = tallies.tally(left_out.select("unit", "reason").collect())
    for unit, count in entry.counts.items():
        yield from recount.differing(f"{unit} left out", count.dropped, dict(tally.of(unit)))
        kept = dict(manifest.counts.items())[unit].kept
        yield from recount.differing(f"{unit} of the folder", count.read, kept)
        total = count.kept + sum(count.dropped.values())
        yield from recount.differing(f"{unit}, the sum of kept and left out", count.read, total)
    rows = entry.splits.total("rows")
    again = (manifest.repeats or 0) - tally.of(f"{ledger.REPEAT}s").total()
    kept = entry.counts.conversations.kept + again
    yield from recount.differing("conversations kept, and repeats", kept, rows)
    key = ["unit", "id", "source"]
    kept_rows = reader.scan_ledger(folder).filter(outcome="kept").select(key)
    unknown = left_out.join(kept_rows, on=key, how="anti", nulls_equal=True)
    for id in unknown.head(_EXAMPLES).collect()["id"]:
        yield f"'{id}' is left out, but the folder does not keep it"


# --------------------------------------------------------------------------------- rendered again


def rendered_problems(folder: Path, manifest: Manifest, everything: bool) -> Iterator[str]:
    """Yields the problems of templates, certificates and rows of added renderings.

    With `everything` all rows are rendered again, else those of a sample of the groups, chosen by
    a hash. Raises a ChatdataError where a tokenizer cannot be used.
    """
    check = _problems_of_all if everything else _problems_of_some
    for name in manifest.renders:
        with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
            again = _Again(Folder(folder, manifest), name, Path(work) / "parts")
            for problem in (*again.certificate_problems(), *check(again)):
                yield f"{name}: {problem}"


def _problems_of_some(again: _Again) -> Iterator[str]:
    share = SAMPLE / max(1, again.folder.manifest.splits.total("rows"))
    for piece in again.parts:
        messages = again.messages(piece)
        is_chosen = fraction_column(messages["group"], "verify") < share
        yield from again.row_problems(piece, messages, messages.filter(is_chosen))


def _problems_of_all(again: _Again) -> Iterator[str]:
    for piece in again.parts:
        messages = again.messages(piece)
        yield from again.row_problems(piece, messages, messages)
    yield from again.sums_problems()


class _Again:
    """An added rendering that is made again, by the tokenizer that the folder holds."""

    def __init__(self, folder: Folder, name: str, work: Path) -> None:
        self.folder = folder
        self.parts = pieces.split_up(folder)
        self._entry = folder.manifest.renders[name]
        self._context = _context(folder, name, len(self.parts), work)
        self._stored = _StoredRows(folder, name)
        self._parity = ParityCounts()

    def certificate_problems(self) -> Iterator[str]:
        """Yields what the manifest states otherwise than tokenizer, template and probes."""
        options = self._context.recipe.render
        assert options is not None
        tokenizer = pieces.tokenizer(self._context)
        yield from certificate_checks.problems(self._described(), tokenizer, options)

    def messages(self, piece: Piece) -> pl.DataFrame:
        """The messages of a piece."""
        return pieces.messages(self._context, self.folder, piece)

    def row_problems(
        self, piece: Piece, messages: pl.DataFrame, chosen: pl.DataFrame
    ) -> Iterator[str]:
        """Yields where rows of the `chosen` messages of a piece are not those that are stored."""
        names = _names(chosen)
        rows = self._stored.next(piece.split, _names(messages))
        if chosen.is_empty():
            return
        made = pieces.rendered(self._context, chosen, piece)
        pieces.save_outcomes(self._context, piece, made)
        self._parity += made.rendered.parity
        again = pl.DataFrame(self._stored.completed(made.rows.tokens))
        stored = rows.filter(pl.col("conversation").is_in(names)).drop("conversation")
        yield from _row_problems(stored, again)
        yield from _reason_problems(names, self._stored.left_out, made)

    def sums_problems(self) -> Iterator[str]:
        """Yields where certificate and ledger are not those of all rows."""
        sample = Sample(frozenset(), self._parity)
        yield from certificate_checks.sample_problems(self._described(), sample)
        changes = pieces.ledger_changes_of(self._context, self.folder, self.parts)
        entries = changes.entries_of_kept(self.folder.path, self.folder.manifest)
        again = pl.concat([batch.filter(outcome="dropped") for batch in entries])
        if not again.equals(self._stored.ledger):
            yield "what is left out is not what its ledger says"

    def _described(self) -> Manifest:
        """The manifest as if the folder had this rendering alone."""
        entry = self._entry
        changed = {"render": entry.render, "versions": entry.versions, "format": FORMAT}
        return self.folder.manifest.model_copy(update=changed)


def _context(folder: Folder, name: str, parts: int, work: Path) -> BuildContext:
    rendering = renderings.of(folder.manifest, name)
    recipe = folder.manifest.recipe.as_json()
    values = {**recipe, "pack": None, "render": rendering.options}
    again = pieces.recipe_of(values, str(folder.path / rendering.tokenizer), None, ())
    return pieces.prepare(again, folder, parts, None, work)


class _StoredRows:
    """The rows of an added rendering as they are stored, piece by piece, and what it leaves out."""

    def __init__(self, folder: Folder, name: str) -> None:
        table = tables.tokens_of(name)
        self._schema = table.schema_of(folder.manifest)
        self._complete = table.complete
        self.ledger = reader.scan_left_out(folder.path, name).collect()
        is_row = pl.col("unit").is_in(["conversation", ledger.REPEAT])
        conversations = self.ledger.filter(is_row).select("id", "reason")
        self.left_out: dict[str, str] = dict(conversations.iter_rows())
        self._readers = {
            split: TokenReader(table, folder.path, folder.manifest, split) for split in SPLITS
        }

    def next(self, split: str, conversations: Sequence[str]) -> pl.DataFrame:
        """The rows of the next conversations of a split, with the `conversation` of each."""
        kept = [name for name in conversations if name not in self.left_out]
        rows, owner = self._readers[split].of(kept)
        names = pl.Series(kept, dtype=pl.String).gather(owner)
        return pl.DataFrame(rows).with_columns(conversation=names)

    def completed(self, rows: pa.Table | None) -> pa.Table:
        """Rows that were made again, with the columns of those that are stored."""
        assert rows is not None
        return self._complete(rows, self._schema)


def _names(messages: pl.DataFrame) -> list[str]:
    return messages["conversation"].unique(maintain_order=True).to_list()


def _row_problems(stored: pl.DataFrame, again: pl.DataFrame) -> Iterator[str]:
    if stored.equals(again):
        return
    rows, wanted = ({row["id"]: row for row in table.to_dicts()} for table in (stored, again))
    for id in dict.fromkeys([*wanted, *rows]):
        old, new = rows.get(id), wanted.get(id)
        if old is None or new is None:
            yield f"row '{id}': {'is missing' if old is None else 'the template makes no such row'}"
            continue
        for name in [name for name in new if old[name] != new[name]][:1]:
            yield f"row '{id}': {_WRONG.get(name, f'its {name} is not that of its messages')}"


def _reason_problems(
    names: Sequence[str], left_out: Mapping[str, str], made: RenderedPiece
) -> Iterator[str]:
    outcomes = made.rendered.outcomes.filter(unit="conversation").select("id", "reason")
    reasons = dict(outcomes.iter_rows())
    for name in names:
        stated, actual = left_out.get(name, "kept"), reasons.get(name, "kept")
        if stated != actual:
            yield f"conversation '{name}': its ledger says {stated}, but it is {actual}"
