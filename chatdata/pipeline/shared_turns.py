"""Names of published messages, so that a message of several conversations has a single name.

The conversations of a tree begin alike. Published rows do not name their messages, but the ledger
says for each conversation how many of its messages no conversation before it holds: the last
ones. What stands before them is the beginning of an earlier conversation of the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from chatdata.core.schema import MESSAGES

MERGED_INTO = "merged into "  # begins the detail of a message that stands in another message

# What two conversations must have alike for a turn of both to be the same message.
_SAME = ("role", "content", "reasoning", "tool_calls", "tool_call_id", "name")


def new_turns(entries: pl.LazyFrame) -> pl.DataFrame:
    """How many messages of each conversation are `new`: in no conversation before it.

    `entries` are the rows of a ledger.
    """
    is_merged = pl.col("detail").str.starts_with(MERGED_INTO).fill_null(False)
    is_kept = (pl.col("unit") == "message") & (pl.col("outcome") == "kept")
    messages = entries.filter(is_kept, is_merged.not_())
    return messages.group_by("conversation").agg(new=pl.len()).collect()


def named(messages: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Rows of MESSAGES whose `message` is `CONVERSATION#POSITION`, of the first that holds it.

    `messages` are those of whole groups in order, and `new` is what `new_turns` gives.
    """
    turns = messages.join(new, on="conversation", how="left", maintain_order="left")
    turns = turns.with_columns(shared=pl.len().over("conversation") - pl.col("new"))
    is_shared = (pl.col("shared") > 0).any().over("group").fill_null(False)
    shared = turns.filter(is_shared)
    if shared.is_empty():
        return messages
    names = pl.DataFrame(
        _names(shared),
        schema={"conversation": pl.String, "position": pl.Int32, "name_": pl.String},
        orient="row",
    )
    place = ["conversation", "position"]
    renamed = messages.join(names, on=place, how="left", maintain_order="left")
    renamed = renamed.with_columns(message=pl.coalesce("name_", "message"))
    return renamed.select(MESSAGES.keys())


def _names(messages: pl.DataFrame) -> list[tuple[str, int, str]]:
    """The conversation, the position and the name of each message."""
    names: list[tuple[str, int, str]] = []
    for group in messages.partition_by("group", maintain_order=True):
        tree = _Tree()
        for conversation in group.partition_by("conversation", maintain_order=True):
            names += tree.add(conversation)
    return names


@dataclass
class _Tree:
    """The messages of a group: each has a name, and is found by the message before it."""

    _names: dict[tuple[str, Sequence[Any]], str] = field(default_factory=dict)

    def add(self, conversation: pl.DataFrame) -> Iterable[tuple[str, int, str]]:
        """Yields the conversation, the position and the name of each of its messages."""
        before = ""
        columns = conversation.select("conversation", "position", "shared", *_SAME)
        for name, position, shared, *turn in columns.iter_rows():
            key = (before, tuple(turn))
            before = self._named(key, f"{name}#{position}", is_new=position >= (shared or 0))
            yield name, position, before

    def _named(self, key: tuple[str, Sequence[Any]], name: str, *, is_new: bool) -> str:
        if is_new:
            self._names.setdefault(key, name)
            return name
        return self._names.setdefault(key, name)
