"""The rows of a built folder, counted again from its Parquet files, in bounded memory.

Rows of tokens are read together with their conversations, as the same `Rows` that a build writes,
so sums and hashes are made by the same functions as in a build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.hashing import sha256_pairs
from chatdata.core.schema import ROLES
from chatdata.dataset import histogram, row_batches, row_digests
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import SPOKEN_KEYS, Rows, message_keys
from chatdata.dataset.schemas import WEIGHTS
from chatdata.steps.figures import add_counts


@dataclass(slots=True)
class Recount:
    """The manifest's numbers, made again from the shards."""

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    source_tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    variables: Counter[str] = field(default_factory=Counter)
    weighted_messages: int = 0
    messages_in_parts: int = 0
    pairs: list[tuple[str, bytes]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # rows that are not whole, in words

    def add(self, rows: Rows) -> None:
        """Adds a batch of rows."""
        self._add_sums(rows)
        self.languages.update(lang or "unknown" for lang in rows.messages["lang"].to_pylist())
        self.sources.update(rows.messages["source"].to_pylist())
        self.variables += rows.variables()
        self.weighted_messages += rows.weighted_messages()
        self.messages_in_parts += rows.messages_in_parts()
        self.pairs += row_digests.of_conversations(rows)
        self.odd += odd_conversations(rows.messages)
        if rows.tokens is not None:
            self.odd += odd_rows(rows.tokens)
            sums = rows.tokens_by(rows.messages["source"].to_pylist())
            self.source_tokens = add_counts(self.source_tokens, sums)

    def add_rendered(self, rows: Rows) -> None:
        """Adds a batch of rows of an added rendering."""
        assert rows.tokens is not None
        self._add_sums(rows)
        self.pairs += row_digests.of_tokens(rows)
        self.odd += odd_rows(rows.tokens)

    def _add_sums(self, rows: Rows) -> None:
        for name, totals in rows.totals().items():
            sums = self.splits.setdefault(name, dict.fromkeys(totals, 0))
            for key, number in totals.items():
                sums[key] += number
        for name, sizes in rows.sizes().items():
            self.sizes.setdefault(name, []).append(sizes)

    def content_hash(self) -> str:
        """The content hash of all rows."""
        return sha256_pairs(self.pairs)

    def lengths(self) -> dict[str, Histogram]:
        """The lengths of conversations and rows, described as in the manifest."""
        return {
            name: histogram.describe(np.concatenate(sizes)) for name, sizes in self.sizes.items()
        }


def count(folder: Path, manifest: Manifest) -> Recount:
    """The counts of all rows of a folder. Raises VerifyError as `row_batches.read` does."""
    result = Recount()
    for rows in row_batches.read(folder, manifest):
        result.add(rows)
    return result


def count_added(folder: Path, manifest: Manifest, rendering: str) -> Recount:
    """The counts of all rows of an added rendering. Raises VerifyError as `count` does."""
    result = Recount()
    for rows in row_batches.read_added(folder, manifest, rendering):
        result.add_rendered(rows)
    return result


def differing(what: str, stated: Any, actual: Any) -> Iterator[str]:
    """Yields a sentence where the manifest states something else than there is."""
    if stated != actual:
        yield f"{what}: the manifest says {stated}, but it is {actual}"


def odd_conversations(messages: pa.Table) -> list[str]:
    """The conversations that are not whole, in words."""
    table = pl.DataFrame(messages)
    turn = pl.element().struct
    says = [
        turn.field(name).is_not_null() for name in SPOKEN_KEYS if name in message_keys(messages)
    ]
    is_turn = turn.field("role").is_in(ROLES) & pl.any_horizontal(says)
    is_whole = pl.col("messages").list.eval(is_turn.fill_null(False)).list.all()
    is_whole = is_whole & (pl.col("messages").list.len() > 0) & pl.col("group").is_not_null()
    odd = table.filter(is_whole.fill_null(False).not_())["id"]
    return [
        f"conversation '{id}': it has no group, no turn, or a turn without a known role or words"
        for id in odd
    ]


def odd_rows(tokens: pa.Table) -> list[str]:
    """The rows of tokens that are not whole, with the reason, in words."""
    names = ("input_ids", "attention_mask", "labels", WEIGHTS)
    lists = {name: tokens[name].combine_chunks() for name in names if name in tokens.column_names}
    sizes = {name: np.diff(column.offsets.to_numpy()) for name, column in lists.items()}
    lengths = sizes["input_ids"]
    uneven = tokens["length"].to_numpy() != lengths
    for of_column in sizes.values():
        uneven |= of_column != lengths
    faults = [(uneven, "its lists do not all have the length of `length`")]
    if not uneven.any():
        values = {name: column.flatten().to_numpy() for name, column in lists.items()}
        faults += _odd_values(tokens, values, lengths)
    ids = tokens["id"]
    return [f"row '{ids[int(row)]}': {why}" for rows, why in faults for row in np.flatnonzero(rows)]


def _odd_values(
    tokens: pa.Table, values: dict[str, npt.NDArray[Any]], lengths: npt.NDArray[np.int32]
) -> list[tuple[npt.NDArray[np.bool_], str]]:
    """Which rows have a wrong value, and why the value is wrong.

    `values` are the lists of all rows, joined; `lengths` are the numbers of tokens of each row.
    """
    row = np.repeat(np.arange(len(lengths)), lengths)
    ids, labels = values["input_ids"], values["labels"]

    def rows_with(is_wrong: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return np.bincount(row[is_wrong], minlength=len(lengths)) > 0

    is_trained = labels != IGNORE_INDEX
    trained = np.bincount(row[is_trained], minlength=len(lengths))
    weights = values.get(WEIGHTS, is_trained)
    is_weight = np.where(is_trained, (weights > 0) & (weights < np.inf), weights == 0)
    return [
        (rows_with(~is_weight), "a weight is not above 0 where a label is, and 0 elsewhere"),
        (rows_with(is_trained & (labels != ids)), "a label is neither -100 nor its token"),
        (rows_with(values["attention_mask"] != 1), "a token is not attended to"),
        (rows_with(ids < 0), "an id is below 0"),
        (trained != tokens["trained"].to_numpy(), "`trained` is not the number of trained tokens"),
        (trained == 0, "no token of the row is trained"),
    ]


def digests(folder: Path, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """Yields the id of each conversation with a SHA-256 of its split, messages and tokens.

    These are the pairs that `content_hash` is made from. Raises VerifyError as `row_batches.read`
    does.
    """
    for rows in row_batches.read(folder, manifest):
        yield from row_digests.of_conversations(rows)
