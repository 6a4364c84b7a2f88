"""The pairs of a dataset as tokens: a prompt, and the answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import load_dataset

from chatdata.core import arrow
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import OutputError
from chatdata.dataset import tables
from chatdata.dataset.entries import PairTokensEntry, ShardEntry
from trainer.data import dataset
from trainer.data.dataset import Lists, Source

SIDES = ("chosen", "rejected")
Ints = npt.NDArray[Any]
TABLE = tables.PAIR_TOKENS


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The ids of an answer and its end, and which of them are learnt."""

    ids: Ints
    is_trained: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A prompt and answers to it: of a pair the chosen answer, then the rejected answer."""

    number: int  # among the items of its split
    prompt: Ints
    answers: Sequence[Answer]
    reference: Ints | None = None  # the log-probability of each answer by the base

    def tokens(self) -> int:
        """The tokens of the prompt, once, and of all answers."""
        return len(self.prompt) + sum(len(answer.ids) for answer in self.answers)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs of a split, in a memory map, of which some rows may be left out."""

    ids: pa.ChunkedArray
    prompts: npt.NDArray[np.int32]  # how many tokens each prompt has
    lists: dict[str, Lists]  # `chosen_ids`, `chosen_labels`, ...
    rows: Ints  # those that are kept

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Item:
        row = int(self.rows[number])
        size = int(self.prompts[row])
        answers = [self._answer(row, side, size) for side in SIDES]
        return Item(number, self.lists["chosen_ids"][row][:size], answers)

    def _answer(self, row: int, side: str, size: int) -> Answer:
        ids, labels = (self.lists[f"{side}_{what}"][row][size:] for what in ("ids", "labels"))
        return Answer(ids, labels != IGNORE_INDEX)

    def id(self, number: int) -> str:
        """The id of a pair."""
        return str(self.ids[int(self.rows[number])])

    def sizes(self) -> Ints:
        """The tokens of both sides of each pair, of shape (pairs, 2)."""
        sizes = [self.lists[f"{side}_ids"].sizes() for side in SIDES]
        return np.stack(sizes, 1)[self.rows].astype(np.int64)

    def prompt_sizes(self) -> Ints:
        """The tokens of the prompt of each pair."""
        return self.prompts[self.rows].astype(np.int64)

    def without_longer(self, limit: int | None) -> tuple[Pairs, list[str]]:
        """The pairs of which no side has more tokens than the limit, and the ids of the rest."""
        is_kept = np.ones(len(self), bool) if limit is None else self.sizes().max(1) <= limit
        longer = [self.id(number) for number in np.flatnonzero(~is_kept).tolist()]
        return Pairs(self.ids, self.prompts, self.lists, self.rows[is_kept]), longer


def entry(source: Source) -> PairTokensEntry:
    """What the manifest says of the pairs as tokens.

    Raises OutputError for a dataset without them, and for a rendering that was added, which has
    none.
    """
    manifest, rendering = source.manifest, source.rendering.name
    if manifest.pairs is None:
        raise OutputError(
            f"'{source.folder}' has no pairs of answers; build it again with --set "
            "threads.pairs=best_worst, of a source whose answers are ranked."
        )
    if rendering is not None or manifest.pair_tokens is None:
        raise OutputError(
            f"'{source.folder}' has no pairs as tokens"
            + (f" of the rendering '{rendering}'" if rendering else "")
            + "; write them with `chatdata render OUT --out DIR`, and train on DIR."
        )
    return manifest.pair_tokens


def read(source: Source, split: str) -> Pairs | None:
    """The pairs of a split, as they were built; None where the split has none."""
    shards = shards_of(source, split)
    if not shards or not entry(source).splits.get(split):
        return None
    files = [str(source.folder / shard.path) for shard in shards]
    rows = load_dataset("parquet", data_files={split: files}, split=split)
    if not len(rows):
        return None
    names = [f"{side}_{what}" for side in SIDES for what in ("ids", "labels")]
    lists = {name: Lists(rows.data.column(name)) for name in names}
    prompts = arrow.numbers(rows.data.column("prompt_length"))
    return Pairs(rows.data.column("id"), prompts, lists, np.arange(len(rows)))


def shards_of(source: Source, split: str | None = None) -> list[ShardEntry]:
    """The files of pairs of a split, or of both splits."""
    return TABLE.shards(source.manifest.files, split)


def check_files(source: Source) -> str:
    """Raises OutputError where a file of pairs or of the tokenizer is not that of the manifest.
    Returns a line that says how many files were compared."""
    files = [*shards_of(source), *source.rendering.tokenizer_files]
    dataset.check_hashes(source.folder, files)
    return f"{len(files)} files of pairs and tokenizer are those of the manifest"
