"""The rows of ranked answers: all answers to a question, the best first. Made, counted, hashed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow
from chatdata.dataset import pair_rows
from chatdata.dataset.schemas import RANKED

LISTS = ("prompt", "answers")  # the columns that are lists of messages


@dataclass(frozen=True, slots=True)
class RankedRows:
    """Rows of schema `schemas.RANKED`, and the split of each."""

    table: pa.Table
    splits: pl.Series

    def totals(self) -> dict[str, dict[str, int]]:
        """The rows and the bytes of each split."""
        return pair_rows.totals_of(pair_rows.sizes_of(self.table, LISTS), self.splits)

    def digests(self) -> list[tuple[str, bytes]]:
        """The id of each question, and a SHA-256 of its split and all that it says."""
        return pair_rows.digests_of(self.table, self.splits)


def none() -> RankedRows:
    """No rows at all."""
    return RankedRows(arrow.no_rows(RANKED), pl.Series(dtype=pl.String))


def make(nodes: pl.DataFrame, groups: pl.DataFrame) -> pa.Table:
    """The rows of schema `schemas.RANKED` of rows of `steps.pairs.GROUPS`, in their order.

    `nodes` are the messages that the groups name.
    """
    firsts = groups["answers"].list.first()
    answers, ranks = groups["answers"].to_list(), groups["ranks"].to_list()
    offsets = np.concatenate([[0], np.cumsum([len(ranked) for ranked in ranks])])
    numbers = np.array([rank for ranked in ranks for rank in ranked], np.int64)
    lists = pa.ListArray.from_arrays(
        arrow.int32(offsets), arrow.int64(numbers), type=RANKED.field("ranks").type
    )
    prompts = groups["prompt"].to_list()
    about = pair_rows.about(nodes, groups["question"], groups["group"], firsts, prompts)
    messages = [pair_rows.messages(nodes, part) for part in (prompts, answers)]
    tools = pair_rows.tools(nodes, prompts, firsts.to_list())
    return pa.Table.from_arrays([*about, *messages, lists, tools], schema=RANKED)


def row_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the text of each row, in bytes."""
    return pair_rows.sizes_of(table, LISTS).to_numpy().astype(np.int64)
