"""The rows of a built folder, counted again from its Parquet files, in bounded memory.

Rows of tokens are read together with their conversations, as the same `Rows` that a build writes,
so sums and hashes are made by the same functions as in a build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX, SPLITS
from chatdata.core.errors import VerifyError
from chatdata.core.hashing import sha256_pairs
from chatdata.core.schema import ROLES
from chatdata.dataset import histogram, tables
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import SPOKEN_KEYS, Rows, message_keys
from chatdata.dataset.schemas import TOKENS
from chatdata.dataset.tables import Table

_BATCH = 1024  # rows


@dataclass(slots=True)
class Recount:
    """The manifest's numbers, made again from the shards."""

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    pairs: list[tuple[str, bytes]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # rows that are not whole, in words

    def add(self, rows: Rows) -> None:
        """Adds a batch of rows."""
        for name, totals in rows.totals().items():
            sums = self.splits.setdefault(name, dict.fromkeys(totals, 0))
            for key, number in totals.items():
                sums[key] += number
        for name, sizes in rows.sizes().items():
            self.sizes.setdefault(name, []).append(sizes)
        self.languages.update(lang or "unknown" for lang in rows.messages["lang"].to_pylist())
        self.sources.update(rows.messages["source"].to_pylist())
        self.pairs += rows.digests()
        self.odd += odd_conversations(rows.messages)
        if rows.tokens is not None:
            self.odd += odd_rows(rows.tokens)

    def content_hash(self) -> str:
        """The content hash of all rows."""
        return sha256_pairs(self.pairs)

    def lengths(self) -> dict[str, Histogram]:
        """The lengths of conversations and rows, described as in the manifest."""
        return {
            name: histogram.describe(np.concatenate(sizes)) for name, sizes in self.sizes.items()
        }


def count(folder: Path, manifest: Manifest) -> Recount:
    """The counts of all rows of a folder. Raises VerifyError as `batches` does."""
    result = Recount()
    for rows in batches(folder, manifest):
        result.add(rows)
    return result


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
    lists = {
        name: tokens[name].combine_chunks() for name in ("input_ids", "attention_mask", "labels")
    }
    sizes = {name: np.diff(column.offsets.to_numpy()) for name, column in lists.items()}
    lengths = sizes["input_ids"]
    uneven = (sizes["attention_mask"] != lengths) | (sizes["labels"] != lengths)
    uneven |= tokens["length"].to_numpy() != lengths
    faults = [(uneven, "its lists do not all have the length of `length`")]
    if not uneven.any():
        values = {name: column.flatten().to_numpy() for name, column in lists.items()}
        faults += _odd_values(tokens, values, lengths)
    ids = tokens["id"]
    return [f"row '{ids[int(row)]}': {why}" for rows, why in faults for row in np.flatnonzero(rows)]


def _odd_values(
    tokens: pa.Table, values: dict[str, npt.NDArray[np.int32]], lengths: npt.NDArray[np.int32]
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
    return [
        (rows_with(is_trained & (labels != ids)), "a label is neither -100 nor its token"),
        (rows_with(values["attention_mask"] != 1), "a token is not attended to"),
        (rows_with(ids < 0), "an id is below 0"),
        (trained != tokens["trained"].to_numpy(), "`trained` is not the number of trained tokens"),
        (trained == 0, "no token of the row is trained"),
    ]


# -------------------------------------------------------------------------------------- reading


def batches(folder: Path, manifest: Manifest) -> Iterator[Rows]:
    """Yields the rows of a folder in order, a bounded number at a time.

    Raises VerifyError where a row of tokens has no conversation, or stands out of order.
    """
    for name in SPLITS:
        tokens = _Tokens(folder, manifest, name) if manifest.render else None
        for messages in _batches_of(tables.MESSAGES, folder, manifest, name):
            splits = pl.repeat(name, messages.num_rows, dtype=pl.String, eager=True)
            if tokens is None:
                yield Rows(messages, None, np.empty(0, np.int64), splits)
                continue
            table, owner = tokens.of(messages["id"].to_pylist())
            yield Rows(messages, table, owner, splits)
        if tokens is not None:
            tokens.end()


def digests(folder: Path, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """Yields the id of each conversation with a SHA-256 of its split, messages and tokens.

    These are the pairs that `content_hash` is made from. Raises VerifyError as `batches` does.
    """
    for rows in batches(folder, manifest):
        yield from rows.digests()


def _batches_of(
    table: Table, folder: Path, manifest: Manifest, split_name: str
) -> Iterator[pa.Table]:
    for shard in table.shards(manifest.files, split_name):
        try:
            yield from _batches(folder / shard.path)
        except pa.ArrowException as error:
            raise VerifyError(f"{shard.path} cannot be read: {error}.") from None


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            if batch.column("id").null_count:
                raise VerifyError(f"{path.name}: a row has no id.")
            yield pa.Table.from_batches([batch])


class _Tokens:
    """The rows of tokens of a split, handed out conversation by conversation."""

    def __init__(self, folder: Path, manifest: Manifest, name: str) -> None:
        self._name = name
        self._tables = _batches_of(tables.TOKENS, folder, manifest, name)
        self._table = TOKENS.empty_table()
        self._ids: list[str] = []
        self._start = self._at = 0  # the begin and the end of what is handed out next

    def of(self, conversations: Sequence[str]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The rows of the next conversations, and the number of the conversation of each row."""
        taken: list[pa.Table] = []
        owner: list[int] = []
        for number, conversation in enumerate(conversations):
            while self._more(taken) and row_id.is_row_of(self._ids[self._at], conversation):
                owner.append(number)
                self._at += 1
            if not owner or owner[-1] != number:
                place = f"before row '{self._ids[self._at]}'" if self._ids else "after the last row"
                raise VerifyError(
                    f"conversation '{conversation}' of {self._name} has no row of tokens {place}, "
                    "where its row belongs."
                )
        taken.append(self._table.slice(self._start, self._at - self._start))
        self._start = self._at
        return pa.concat_tables(taken).combine_chunks(), np.asarray(owner, np.int64)

    def end(self) -> None:
        """Raises VerifyError where rows remain that no conversation has taken."""
        if self._more([]):
            row = self._ids[self._at]
            raise VerifyError(f"row of tokens '{row}' of {self._name} has no conversation.")

    def _more(self, taken: list[pa.Table]) -> bool:
        """Whether a row remains. A table that is at its end is added to `taken`."""
        while self._at == len(self._ids):
            taken.append(self._table.slice(self._start))
            self._start = self._at = 0
            self._table = next(self._tables, TOKENS.empty_table())
            self._ids = self._table["id"].to_pylist()
            if not self._ids:
                return False
        return True
