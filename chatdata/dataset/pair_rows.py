"""The rows of pairs: made, counted and hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.constants import SPLITS
from chatdata.dataset import rows
from chatdata.dataset.schemas import PAIRS

LISTS = ("prompt", "chosen", "rejected")  # the columns that are lists of messages


@dataclass(frozen=True, slots=True)
class PairRows:
    """Rows of schema `schemas.PAIRS`, and the split of each."""

    table: pa.Table
    splits: pl.Series

    def totals(self) -> dict[str, dict[str, int]]:
        """The rows and the bytes of each split."""
        return totals_of(sizes_of(self.table), self.splits)

    def questions(self) -> int:
        """How many questions the pairs are of."""
        return pl.Series(self.table["question"]).n_unique()

    def digests(self) -> list[tuple[str, bytes]]:
        """The id of each pair, and a SHA-256 of its split and all that it says."""
        return digests_of(self.table, self.splits)


def totals_of(sizes: pl.Series, splits: pl.Series) -> dict[str, dict[str, int]]:
    """The rows and the bytes of each split, of rows with these sizes and splits."""
    table = pl.DataFrame({"split": splits, "bytes": sizes})
    return {
        name: {"rows": of_split.height, "bytes": int(of_split["bytes"].sum())}
        for name in SPLITS
        for of_split in [table.filter(split=name)]
    }


def digests_of(table: pa.Table, splits: pl.Series) -> list[tuple[str, bytes]]:
    """The id of each row, and a SHA-256 of its split and all that it says."""
    values = zip(splits.to_list(), table.to_pylist(), strict=True)
    return [
        (row["id"], hashlib.sha256(orjson.dumps([split, *row.values()])).digest())
        for split, row in values
    ]


def make(nodes: pl.DataFrame, pairs: pl.DataFrame) -> pa.Table:
    """The rows of schema `schemas.PAIRS` of rows of `steps.pairs.PAIRS`, in their order.

    `nodes` are the messages that the pairs name. `lang` is that of the first user turn.
    """
    prompts = pairs["prompt"].to_list()
    parts = {
        "prompt": prompts,
        "chosen": [[row] for row in pairs["chosen"]],
        "rejected": [[row] for row in pairs["rejected"]],
    }
    ranks = {name: pairs[name] for name in ("chosen_rank", "rejected_rank")}
    lists = [messages(nodes, part) for part in parts.values()]
    columns = about(nodes, pairs["pair"], pairs["group"], pairs["chosen"], prompts)
    return pa.Table.from_arrays(
        [
            *columns,
            pairs["question"].to_arrow().cast(pa.string()),
            *lists,
            tools(nodes, prompts, pairs["chosen"].to_list()),
            *(arrow.int64(column.to_numpy()) for column in ranks.values()),
        ],
        schema=PAIRS,
    )


def about(
    nodes: pl.DataFrame,
    ids: pl.Series,
    groups: pl.Series,
    answers: pl.Series,
    prompts: list[list[int]],
) -> list[pa.Array]:
    """The columns id, group, source and lang of rows: the source is that of the `answers`, the
    language that of the first user turn of the `prompts`, given by their rows."""
    roles, langs = nodes["role"].to_list(), nodes["lang"].to_list()
    asked = [next((row for row in prompt if roles[row] == "user"), None) for prompt in prompts]
    of_asked = pl.Series([None if row is None else langs[row] for row in asked], dtype=pl.String)
    columns = (ids, groups, nodes["source"][answers], of_asked)
    return [column.to_arrow().cast(pa.string()) for column in columns]


def tools(nodes: pl.DataFrame, prompts: list[list[int]], answers: list[int]) -> pa.Array:
    """The tools that are offered to answers, given by their rows as the `prompts` are: those that
    the first message on the way lists, as for conversations."""
    listed = nodes["tools"].to_list()
    paths = ([*prompt, answer] for prompt, answer in zip(prompts, answers, strict=True))
    offered = ((listed[row] for row in path if listed[row] is not None) for path in paths)
    return pa.array([next(of_path, None) for of_path in offered], pa.string())


def messages(nodes: pl.DataFrame, lists: list[list[int]]) -> pa.Array:
    """Lists of messages, which are given by their rows."""
    kind = PAIRS.field("prompt").type
    offsets = np.concatenate([[0], np.cumsum([len(of_row) for of_row in lists])])
    flat = pl.Series([row for of_row in lists for row in of_row], dtype=pl.UInt32)
    turns = rows.spoken(nodes[flat])
    structs = pa.StructArray.from_arrays(turns, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(arrow.int32(offsets), structs, type=kind)


def sizes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the text of each row, in bytes."""
    return sizes_of(table).to_numpy().astype(np.int64)


def sizes_of(table: pa.Table, lists: tuple[str, ...] = LISTS) -> pl.Series:
    """The size of the text of each row, in bytes, as a series."""
    message = pl.element().struct
    of_message = pl.sum_horizontal(
        message.field(name).str.len_bytes().fill_null(0) for name in rows.SPOKEN_KEYS
    )
    of_lists = [pl.col(name).list.eval(of_message).list.sum() for name in lists]
    return pl.DataFrame(table.select(lists)).select(pl.sum_horizontal(of_lists)).to_series()
