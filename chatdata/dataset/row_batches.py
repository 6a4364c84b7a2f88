"""The rows of a built folder in batches: conversations together with their rows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chatdata.core import arrow, ledger, row_id
from chatdata.core.constants import SPLITS
from chatdata.core.errors import VerifyError
from chatdata.dataset import footers, reader, tables
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows
from chatdata.dataset.tables import Table

_BATCH = 1024  # rows


def read(folder: Path, manifest: Manifest) -> Iterator[Rows]:
    """Yields the rows of a folder in order, a bounded number at a time.

    Raises VerifyError where a row of tokens has no conversation, or stands out of order, and
    OutputError as `footers.shards` does.
    """
    if manifest.render is None:
        yield from _without_tokens(folder, manifest)
        return
    for name in SPLITS:
        messages = _batches_of(tables.MESSAGES, folder, manifest, name)
        yield from _with_tokens(TokenReader(tables.TOKENS, folder, manifest, name), messages)


def read_added(folder: Path, manifest: Manifest, rendering: str) -> Iterator[Rows]:
    """Yields the rows of an added rendering in order, with the conversations that it keeps.

    A conversation that the rendering cuts stands there whole. Raises VerifyError as `read` does.
    """
    table = tables.tokens_of(rendering)
    is_row = pl.col("unit").is_in(["conversation", ledger.REPEAT])
    left_out = reader.scan_left_out(folder, rendering).filter(is_row)
    names = left_out.select("id").collect()["id"].implode()
    for name in SPLITS:
        batches = _batches_of(tables.MESSAGES, folder, manifest, name)
        kept = (
            batch.filter(pl.Series(batch["id"]).is_in(names).not_().to_arrow()) for batch in batches
        )
        yield from _with_tokens(TokenReader(table, folder, manifest, name), kept)


def _without_tokens(folder: Path, manifest: Manifest) -> Iterator[Rows]:
    for name in SPLITS:
        for messages in _batches_of(tables.MESSAGES, folder, manifest, name):
            splits = pl.repeat(name, messages.num_rows, dtype=pl.String, eager=True)
            yield Rows(messages, None, np.empty(0, np.int64), splits)


def _with_tokens(tokens: TokenReader, batches: Iterator[pa.Table]) -> Iterator[Rows]:
    for messages in batches:
        splits = pl.repeat(tokens.split, messages.num_rows, dtype=pl.String, eager=True)
        yield Rows(messages, *tokens.of(messages["id"].to_pylist()), splits)
    tokens.end()


def _batches_of(
    table: Table, folder: Path, manifest: Manifest, split_name: str
) -> Iterator[pa.Table]:
    for path in footers.shards(folder, manifest, table, split_name):
        try:
            yield from _batches(path)
        except pa.ArrowException as error:
            name = path.relative_to(folder).as_posix()
            raise VerifyError(f"{name} cannot be read: {error}.") from None


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            if batch.column("id").null_count:
                raise VerifyError(f"{path.name}: a row has no id.")
            yield pa.Table.from_batches([batch])


class TokenReader:
    """The rows of a table of tokens in a split, handed out conversation by conversation."""

    def __init__(self, table: Table, folder: Path, manifest: Manifest, split: str) -> None:
        self.split = split
        self._name = table.name
        self._tables = _batches_of(table, folder, manifest, split)
        self._none = arrow.no_rows(table.schema_of(manifest))
        self._table = self._none
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
                    f"conversation '{conversation}' of {self.split} has no row of {self._name} "
                    f"{place}, where its row belongs."
                )
        taken.append(self._table.slice(self._start, self._at - self._start))
        self._start = self._at
        return pa.concat_tables(taken).combine_chunks(), np.asarray(owner, np.int64)

    def end(self) -> None:
        """Raises VerifyError where rows remain that no conversation has taken."""
        if self._more([]):
            row = self._ids[self._at]
            raise VerifyError(f"row of {self._name} '{row}' of {self.split} has no conversation.")

    def _more(self, taken: list[pa.Table]) -> bool:
        """Whether a row remains. A table that is at its end is added to `taken`."""
        while self._at == len(self._ids):
            taken.append(self._table.slice(self._start))
            self._start = self._at = 0
            self._table = next(self._tables, self._none)
            self._ids = self._table["id"].to_pylist()
            if not self._ids:
                return False
        return True
