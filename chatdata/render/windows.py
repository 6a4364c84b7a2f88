"""Which turns of a conversation a row of tokens holds, and which of them it teaches.

Most conversations are one row. A template that writes a turn differently once others follow it
needs a row for each answer, and `overflow: split` makes several rows of a long conversation. The
turns before those that a row teaches are context: shown, not trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from chatdata.core import row_id
from chatdata.render.segments import Ints

# One row of tokens: turns from `first` to `last`, and a system turn at the head of the
# conversation; those before `new` are context.
WINDOWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,
    "row": pl.String,
    "first": pl.Int32,
    "new": pl.Int32,
    "last": pl.Int32,
}


def whole(messages: pl.DataFrame) -> pl.DataFrame:
    """One window for each conversation, given as rows of MESSAGES in order."""
    position = pl.col("position")
    windows = messages.group_by("conversation", maintain_order=True).agg(
        row=pl.lit(""),
        first=position.min(),
        new=position.min(),
        last=position.max(),
    )
    return named(windows)


def each_answer(messages: pl.DataFrame) -> pl.DataFrame:
    """One window for each assistant turn, which teaches that turn alone."""
    first = messages.select("conversation", first=pl.col("position").min().over("conversation"))
    table = messages.with_columns(first["first"]).filter(pl.col("role") == "assistant")
    windows = table.select("conversation", "first", row=pl.lit(""), new="position", last="position")
    return named(windows.select(WINDOWS.keys()))


def named(windows: pl.DataFrame) -> pl.DataFrame:
    """The windows with ids: the conversation's where it has one, `ID#new-last` where several.

    A conversation whose own id ends like that has such an id in any case, so that no two rows of
    different conversations have one.
    """
    alone = pl.len().over("conversation") == 1
    alone = alone & row_id.has_span(pl.col("conversation")).not_()
    several = row_id.make_column("conversation", "new", "last")
    return windows.with_columns(row=pl.when(alone).then("conversation").otherwise(several))


def rows(messages: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The messages of each window: `conversation` is the id of the row.

    `train` is null for what a window before it has shown: that is context, and never learnt from,
    whoever speaks there.
    """
    ends = windows.select("conversation", "last").unique(maintain_order=True)
    shown = pl.col("last").shift(1).over("conversation", order_by="last").fill_null(-1)
    spread = (
        windows.join(
            ends.with_columns(shown=shown),
            on=["conversation", "last"],
            how="left",
            maintain_order="left",
        )
        .with_row_index("window")
        .join(messages, on="conversation", how="left", maintain_order="left_right")
    )
    position = pl.col("position")
    inside = position.is_between(pl.col("first"), pl.col("last"))
    at_head = (pl.col("role") == "system") & (position == position.min().over("window"))
    spread = spread.filter(inside | at_head)
    train = pl.when(position > pl.col("shown")).then("train")
    return spread.with_columns(conversation="row", train=train).select(messages.columns)


# ------------------------------------------------------------------------------------ splitting


class Cut(NamedTuple):
    """A conversation that ends early: its last turn that a row can hold, and why."""

    conversation: str
    last: int  # below the first position: none
    detail: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What a row may hold: tokens in all, and those of carried context among them."""

    tokens: int
    carried: int


def split(
    messages: pl.DataFrame, tokens: Ints, heads: Ints, budget: Budget
) -> tuple[pl.DataFrame, list[Cut]]:
    """Windows of at most `budget.tokens` for conversations, and those that end early.

    `tokens` is the number of each message and `heads` what stands before the first. A row begins
    with the system turn and with the latest exchanges before its own that fit into
    `budget.carried`. An exchange that does not fit into a row ends the conversation, since what
    comes behind it would lack its context.
    """
    table = messages.select("conversation", "position", "role").with_columns(
        tokens=tokens, head=heads
    )
    windows: list[tuple[str, str, int, int, int]] = []
    cuts: list[Cut] = []
    for (name,), own in table.group_by("conversation", maintain_order=True):
        found, cut = _split_one(str(name), own, budget)
        windows += [(str(name), "", *window) for window in found]
        cuts += [cut] if cut else []
    table = pl.DataFrame(windows, schema=WINDOWS, orient="row")
    return named(table), cuts


class _Exchange(NamedTuple):
    first: int
    last: int
    tokens: int


def _split_one(
    name: str, own: pl.DataFrame, budget: Budget
) -> tuple[list[tuple[int, int, int]], Cut | None]:
    positions, roles = own["position"].to_list(), own["role"].to_list()
    sizes = own["tokens"].to_list()
    begins = 1 if roles[0] == "system" else 0
    fixed = int(own["head"].sum()) + sum(sizes[:begins])
    exchanges = list(_exchanges(positions[begins:], roles[begins:], sizes[begins:]))
    windows: list[tuple[int, int, int]] = []
    done = 0
    while done < len(exchanges):
        room = budget.tokens - fixed - exchanges[done].tokens
        if room < 0:
            needed = exchanges[done].tokens + fixed
            detail = f"a turn needs {needed} tokens, {budget.tokens} allowed"
            return windows, Cut(name, exchanges[done].first - 1, detail)
        context = _carry(exchanges[:done], min(room, budget.carried))
        room -= sum(exchange.tokens for exchange in exchanges[context:done])
        end = done + 1
        while end < len(exchanges) and exchanges[end].tokens <= room:
            room -= exchanges[end].tokens
            end += 1
        windows.append((exchanges[context].first, exchanges[done].first, exchanges[end - 1].last))
        done = end
    return windows, None


def _exchanges(
    positions: Sequence[int], roles: Sequence[str], sizes: Sequence[int]
) -> Iterator[_Exchange]:
    """Yields stretches that begin with a user's turn behind an answer."""
    starts = [0] + [
        i for i in range(1, len(roles)) if roles[i] != "assistant" and roles[i - 1] == "assistant"
    ]
    for start, end in zip(starts, [*starts[1:], len(roles)], strict=True):
        if positions:
            yield _Exchange(positions[start], positions[end - 1], sum(sizes[start:end]))


def _carry(earlier: Sequence[_Exchange], room: int) -> int:
    """The first of the latest exchanges that fit together."""
    first = len(earlier)
    while first and earlier[first - 1].tokens <= room:
        first -= 1
        room -= earlier[first].tokens
    return first


def without_context(windows: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """The windows, each of which begins with the question that its first new turn answers."""
    marked = windows.with_row_index("window")
    latest = _starts(marked, messages).group_by("window").agg(start=pl.col("start").max())
    marked = marked.join(latest, on="window", how="left", maintain_order="left")
    return marked.with_columns(first=pl.coalesce("start", "first")).select(WINDOWS.keys())


def _starts(marked: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Where windows, numbered by `window`, could begin later: (window, start)."""
    role = pl.col("role")
    follows = (role != "assistant") & (role.shift().over("conversation") == "assistant")
    starts = messages.filter(follows).select("conversation", start="position")
    later = marked.join(starts, on="conversation", how="inner")
    return later.filter(pl.col("start") > pl.col("first"), pl.col("start") <= pl.col("new"))


def with_less_context(
    windows: pl.DataFrame, messages: pl.DataFrame, long: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The windows, of which those that are too long begin one exchange later.

    Returns them and those that have no context left to lose.
    """
    marked = windows.with_columns(long=pl.Series(long)).with_row_index("window")
    later = _starts(marked.filter("long"), messages)
    later = later.group_by("window").agg(start=pl.col("start").min())
    marked = marked.join(later, on="window", how="left", maintain_order="left")
    stuck = marked.filter(pl.col("long"), pl.col("start").is_null())
    moved = pl.when(pl.col("long")).then("start").otherwise("first")
    shorter = marked.with_columns(first=moved).filter(pl.col("first").is_not_null())
    return shorter.select(WINDOWS.keys()), stuck.select(WINDOWS.keys())
