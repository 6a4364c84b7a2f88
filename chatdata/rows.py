"""The rows that are published, and what makes them the same or different.

The Hub row (`messages: list<struct<role, content>>`) is built here and nowhere else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from chatdata.render import Rendered
from chatdata.split import SPLITS
from chatdata.write import MESSAGES, TOKENS


def message_rows(messages: pl.DataFrame) -> pa.Table:
    """One row a conversation, of schema `write.MESSAGES`, from ordered rows of MESSAGES.

    `lang` is that of the first user turn.
    """
    is_user = pl.col("role") == "user"
    facts = messages.group_by("conversation", maintain_order=True).agg(
        pl.col("group", "source").first(),
        lang=pl.col("lang").filter(is_user).first(),
        turns=pl.len(),
    )
    offsets = np.concatenate([[0], np.cumsum(facts["turns"].to_numpy())])
    kind = MESSAGES.field("messages").type
    said = pa.StructArray.from_arrays(
        [_strings(messages["role"].cast(pl.String)), _strings(messages["content"])],
        fields=list(kind.value_type),
    )
    columns = [_strings(facts[name]) for name in ("conversation", "group", "source", "lang")]
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), said, type=kind)
    return pa.Table.from_arrays([*columns, lists], schema=MESSAGES)


def token_rows(rendered: Rendered) -> pa.Table:
    """One row a conversation, of schema `write.TOKENS`."""
    offsets = pa.array(rendered.offsets, pa.int32())
    ones = np.ones(len(rendered.input_ids), np.int32)
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(values))
        for values in (rendered.input_ids, ones, rendered.labels)
    ]
    lengths = pa.array(np.diff(rendered.offsets), pa.int32())
    trained = pa.array(rendered.trained, pa.int32())
    ids = pa.array(rendered.conversations, pa.string())
    return pa.Table.from_arrays([ids, *lists, lengths, trained], schema=TOKENS)


def message_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the text of each row, in bytes."""
    frame = pl.DataFrame(table.select(["messages"]))
    size = pl.element().struct.field("content").str.len_bytes()
    sizes = frame.select(pl.col("messages").list.eval(size).list.sum()).to_series()
    return sizes.to_numpy().astype(np.int64)


def token_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the arrays of each row, in bytes."""
    return np.asarray(table["length"].to_numpy(), np.int64) * 12


def ledger_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of each row of a ledger, in bytes: a guess, the same for all."""
    return np.full(table.num_rows, 200, np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one part: of schema `write.MESSAGES`, perhaps of `write.TOKENS`, and the split
    of each."""

    messages: pa.Table
    tokens: pa.Table | None
    splits: pl.Series

    def kinds(self) -> dict[str, pa.Table]:
        """The tables, by the name of their folder."""
        tables = {"messages": self.messages}
        return tables if self.tokens is None else {**tables, "tokens": self.tokens}

    def totals(self) -> dict[str, dict[str, int]]:
        """The sums for each split."""
        turns = pl.DataFrame(self.messages.select(["messages"])).to_series().list.len()
        columns = {"split": self.splits, "rows": turns.is_not_null(), "messages": turns}
        if self.tokens is not None:
            columns["tokens"] = pl.Series(self.tokens["length"])
            columns["trained_tokens"] = pl.Series(self.tokens["trained"])
        table = pl.DataFrame(columns)
        return {
            name: table.filter(split=name).drop("split").sum().row(0, named=True) for name in SPLITS
        }

    def digests(self) -> list[tuple[str, bytes]]:
        """The id of each row, and a SHA-256 of its split, its messages and its tokens."""
        ids = self.messages["id"].to_pylist()
        said = zip(self.splits.to_list(), self.messages.to_pylist(), strict=True)
        hashes = [hashlib.sha256(orjson.dumps([own, list(row.values())])) for own, row in said]
        columns = [] if self.tokens is None else [self.tokens["input_ids"], self.tokens["labels"]]
        for column in columns:
            for hash_, own in zip(hashes, column, strict=True):
                hash_.update(own.values.to_numpy().tobytes())
        return [(id, hash_.digest()) for id, hash_ in zip(ids, hashes, strict=True)]


def _strings(values: pl.Series) -> pa.Array:
    return values.to_arrow().cast(pa.string())
