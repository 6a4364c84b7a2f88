"""What is in a built folder, counted again from its Parquet files, in bounded memory.

Rows of tokens are read beside the conversations that they are of, so that both are one `Rows`,
as they were when they were written, and sums and hashes are made by the same functions.
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
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import VerifyError
from chatdata.core.hashing import sha256_pairs
from chatdata.core.schema import ROLES
from chatdata.dataset import histogram
from chatdata.dataset.histogram import Histogram
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.dataset.rows import Rows
from chatdata.dataset.shards import TOKENS
from chatdata.steps import split

_BATCH = 1024  # rows


@dataclass(slots=True)
class Recount:
    """What the shards hold: the manifest's numbers, made again."""

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    pairs: list[tuple[str, bytes]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # rows that are not whole

    def add(self, own: Rows) -> None:
        """Adds a batch of rows."""
        for name, totals in own.totals().items():
            sums = self.splits.setdefault(name, dict.fromkeys(totals, 0))
            for key, number in totals.items():
                sums[key] += number
        for name, sizes in own.sizes().items():
            self.sizes.setdefault(name, []).append(sizes)
        self.languages.update(lang or "unknown" for lang in own.messages["lang"].to_pylist())
        self.sources.update(own.messages["source"].to_pylist())
        self.pairs += own.digests()
        self.odd += odd_conversations(own.messages)
        if own.tokens is not None:
            self.odd += odd_rows(own.tokens)

    def content_hash(self) -> str:
        """The content hash of all rows."""
        return sha256_pairs(self.pairs)

    def lengths(self) -> dict[str, Histogram]:
        """How long conversations and rows are."""
        return {name: histogram.describe(np.concatenate(own)) for name, own in self.sizes.items()}


def count(folder: Path, manifest: Manifest) -> Recount:
    """Counts all rows of a folder. Raises VerifyError where tokens and messages do not pair."""
    result = Recount()
    for own in batches(folder, manifest):
        result.add(own)
    return result


def odd_conversations(messages: pa.Table) -> list[str]:
    """The conversations that are not whole, in words."""
    table = pl.DataFrame(messages)
    said = pl.element().struct
    known = said.field("role").is_in(ROLES) & said.field("content").is_not_null()
    is_whole = pl.col("messages").list.eval(known.fill_null(False)).list.all()
    is_whole = is_whole & (pl.col("messages").list.len() > 0) & pl.col("group").is_not_null()
    odd = table.filter(is_whole.fill_null(False).not_())["id"]
    return [f"conversation '{id}': a turn has no role or no text, or there is none" for id in odd]


def odd_rows(tokens: pa.Table) -> list[str]:
    """The rows of tokens that are not whole, each with what is wrong, in words."""
    lists = {
        name: tokens[name].combine_chunks() for name in ("input_ids", "attention_mask", "labels")
    }
    sizes = {name: np.diff(own.offsets.to_numpy()) for name, own in lists.items()}
    long = sizes["input_ids"]
    uneven = (sizes["attention_mask"] != long) | (sizes["labels"] != long)
    uneven |= tokens["length"].to_numpy() != long
    found = [(uneven, "its lists are not of one length")]
    if not uneven.any():
        found += _odd_values(
            tokens, {name: own.flatten().to_numpy() for name, own in lists.items()}, long
        )
    ids = tokens["id"]
    return [f"row '{ids[int(row)]}': {why}" for rows, why in found for row in np.flatnonzero(rows)]


def _odd_values(
    tokens: pa.Table, values: dict[str, npt.NDArray[np.int32]], long: npt.NDArray[np.int32]
) -> list[tuple[npt.NDArray[np.bool_], str]]:
    row = np.repeat(np.arange(len(long)), long)
    ids, labels = values["input_ids"], values["labels"]

    def having(wrong: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return np.bincount(row[wrong], minlength=len(long)) > 0

    is_trained = labels != IGNORE_INDEX
    trained = np.bincount(row[is_trained], minlength=len(long))
    return [
        (having(is_trained & (labels != ids)), "a label is neither -100 nor its token"),
        (having(values["attention_mask"] != 1), "a token is not attended to"),
        (having(ids < 0), "an id is below 0"),
        (trained != tokens["trained"].to_numpy(), "`trained` is not the number of its labels"),
        (trained == 0, "no token of it is trained"),
    ]


# -------------------------------------------------------------------------------------- reading


def batches(folder: Path, manifest: Manifest) -> Iterator[Rows]:
    """Yields the rows of a folder in order, a bounded number at a time.

    Raises VerifyError where a row of tokens is of no conversation, or stands out of order.
    """
    for name in split.SPLITS:
        tokens = _Tokens(folder, manifest, name) if manifest.render else None
        for messages in _tables(folder, manifest, "messages", name):
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


def shards(manifest: Manifest | Listing, kind: str, split_name: str) -> list[str]:
    """The paths of the shards of a kind (`messages` or `tokens`) and a split, in order."""
    prefix = f"{kind}/{split_name}-"
    return [shard.path for shard in manifest.files if shard.path.startswith(prefix)]


def _tables(folder: Path, manifest: Manifest, kind: str, name: str) -> Iterator[pa.Table]:
    for path in shards(manifest, kind, name):
        try:
            yield from _batches(folder / path)
        except pa.ArrowException as error:
            raise VerifyError(f"{path} cannot be read: {error}.") from None


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            if batch.column("id").null_count:
                raise VerifyError(f"{path.name}: a row has no id.")
            yield pa.Table.from_batches([batch])


class _Tokens:
    """The rows of tokens of a split, handed out by the conversations that they are of."""

    def __init__(self, folder: Path, manifest: Manifest, name: str) -> None:
        self._name = name
        self._tables = _tables(folder, manifest, "tokens", name)
        self._table = TOKENS.empty_table()
        self._ids: list[str] = []
        self._start = self._at = 0  # what is handed out next begins at one, and ends at the other

    def of(self, conversations: Sequence[str]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The next rows, which are of these conversations, and the number of each one's."""
        taken: list[pa.Table] = []
        owner: list[int] = []
        for number, conversation in enumerate(conversations):
            while self._more(taken) and row_id.is_row_of(self._ids[self._at], conversation):
                owner.append(number)
                self._at += 1
            if not owner or owner[-1] != number:
                there = f"row '{self._ids[self._at]}'" if self._ids else "nothing"
                raise VerifyError(
                    f"conversation '{conversation}' of {self._name} has no row of tokens where it "
                    f"should have one; {there} is there."
                )
        taken.append(self._table.slice(self._start, self._at - self._start))
        self._start = self._at
        return pa.concat_tables(taken).combine_chunks(), np.asarray(owner, np.int64)

    def end(self) -> None:
        """Raises VerifyError where rows are left."""
        if self._more([]):
            row = self._ids[self._at]
            raise VerifyError(f"row of tokens '{row}' of {self._name} is of no conversation there.")

    def _more(self, taken: list[pa.Table]) -> bool:
        """Whether there is a next row. A table that is at its end goes to `taken`."""
        while self._at == len(self._ids):
            taken.append(self._table.slice(self._start))
            self._start = self._at = 0
            self._table = next(self._tables, TOKENS.empty_table())
            self._ids = self._table["id"].to_pylist()
            if not self._ids:
                return False
        return True
