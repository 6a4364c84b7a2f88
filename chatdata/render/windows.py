"""Which turns of a conversation a row of tokens holds, and which of them it teaches.

Most conversations are a single row. A template that writes a turn differently once others follow it
needs a row for each answer, and `overflow: split` makes several rows of a long conversation. The
turns before those that a row teaches are context: shown, not trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from chatdata.core import row_id
from chatdata.render.segments.unencoded import Bools, Ints

HEAD = ("system", "developer")  # the roles of a turn that stands at the head of every row

# A row of tokens: turns from `first` to `last`, and a system turn at the head of the
# conversation; those before `loss_from` are context.
WINDOWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "conversation": pl.String,
    "row": pl.String,
    "first": pl.Int32,
    "loss_from": pl.Int32,
    "last": pl.Int32,
}


def whole(messages: pl.DataFrame) -> pl.DataFrame:
    """One window for each conversation, given as rows of MESSAGES in order."""
    position = pl.col("position")
    windows = messages.group_by("conversation", maintain_order=True).agg(
        row=pl.lit(""),
        first=position.min(),
        loss_from=position.min(),
        last=position.max(),
    )
    return named(windows)


def each_answer(messages: pl.DataFrame) -> pl.DataFrame:
    """One window for each assistant turn, which teaches that turn alone."""
    first = messages.select("conversation", first=pl.col("position").min().over("conversation"))
    table = messages.with_columns(first["first"]).filter(pl.col("role") == "assistant")
    windows = table.select(
        "conversation", "first", row=pl.lit(""), loss_from="position", last="position"
    )
    return named(windows.select(WINDOWS.keys()))


def named(windows: pl.DataFrame) -> pl.DataFrame:
    """The windows with ids: the conversation's if it is its only window, or else `ID#FIRST-LAST`.

    A conversation with an id that ends like `#FIRST-LAST` never gives it to a row as it is, so that
    rows of different conversations have different ids.
    """
    is_only = pl.len().over("conversation") == 1
    is_only = is_only & row_id.has_span(pl.col("conversation")).not_()
    several = row_id.make_column("conversation", "loss_from", "last")
    return windows.with_columns(row=pl.when(is_only).then("conversation").otherwise(several))


def rows(messages: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The messages of each window: `conversation` is the id of the row.

    `train` is null for what an earlier window of the conversation has shown: that is context and
    never trained, whatever its role.
    """
    ends = windows.select("conversation", "last").unique(maintain_order=True)
    shown = pl.col("last").shift(1).over("conversation", order_by="last").fill_null(-1)
    inside = pl.int_ranges("first", pl.col("last") + 1, dtype=pl.Int32)
    with_head = pl.concat_list("head", inside)
    has_head_before = pl.col("head") < pl.col("first")
    spread = (
        windows.join(
            ends.with_columns(shown=shown),
            on=["conversation", "last"],
            how="left",
            maintain_order="left",
        )
        .join(_heads(messages), on="conversation", how="left", maintain_order="left")
        .with_columns(position=pl.when(has_head_before).then(with_head).otherwise(inside))
        .select("conversation", "row", "shown", "position")
        .explode("position")
        .join(messages, on=["conversation", "position"], maintain_order="left")
    )
    train = pl.when(pl.col("position") > pl.col("shown")).then("train")
    return spread.with_columns(conversation="row", train=train).select(messages.columns)


def _heads(messages: pl.DataFrame) -> pl.DataFrame:
    """The place (`head`) of the turn at the head of each conversation that has one."""
    position = pl.col("position")
    is_first = position == position.min().over("conversation")
    is_head = is_first & pl.col("role").cast(pl.String).is_in(HEAD)
    return messages.filter(is_head).select("conversation", head="position")


# ------------------------------------------------------------------------------------ splitting


class Cut(NamedTuple):
    """A conversation that ends early: the last message that a row can hold, and why."""

    conversation: str
    last: int  # a position; below that of the first message where no row can hold any
    detail: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What a row may hold: tokens in all, and tokens of carried context among them."""

    tokens: int
    carried: int


def split(
    messages: pl.DataFrame, tokens: Ints, start_tokens: Ints, budget: Budget
) -> tuple[pl.DataFrame, list[Cut]]:
    """Windows of at most `budget.tokens` for conversations, and the conversations that end early.

    `tokens` is the number of each message and `start_tokens` what stands before the first. A row
    begins with the system turn and with the latest exchanges before those it teaches that fit
    into `budget.carried`. An exchange that does not fit into a row ends the conversation, since
    what follows it would lack its context.
    """
    table = messages.select("conversation", "position", "role").with_columns(
        tokens=tokens, start_tokens=start_tokens
    )
    windows: list[tuple[str, str, int, int, int]] = []
    cuts: list[Cut] = []
    for (name,), turns in table.group_by("conversation", maintain_order=True):
        windows_of_name, cut = _split_conversation(str(name), turns, budget)
        windows += [(str(name), "", *window) for window in windows_of_name]
        cuts += [cut] if cut else []
    table = pl.DataFrame(windows, schema=WINDOWS, orient="row")
    return named(table), cuts


class _Exchange(NamedTuple):
    first: int
    last: int
    tokens: int


def _split_conversation(
    name: str, turns: pl.DataFrame, budget: Budget
) -> tuple[list[tuple[int, int, int]], Cut | None]:
    """The windows (first, loss_from, last) of a conversation, and where it ends if it does."""
    positions, roles = turns["position"].to_list(), turns["role"].to_list()
    sizes = turns["tokens"].to_list()
    begins = 1 if roles[0] in HEAD else 0
    fixed = int(turns["start_tokens"].sum()) + sum(sizes[:begins])
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
        end = _fill(exchanges, done + 1, room)
        windows.append((exchanges[context].first, exchanges[done].first, exchanges[end - 1].last))
        done = end
    return windows, None


def _fill(exchanges: Sequence[_Exchange], start: int, room: int) -> int:
    """The end of the exchanges from `start` on that fit together."""
    end = start
    while end < len(exchanges) and exchanges[end].tokens <= room:
        room -= exchanges[end].tokens
        end += 1
    return end


def exchange_starts(roles: Sequence[str]) -> list[int]:
    """The turns at which an exchange begins: the first, and each question after an answer.

    The result of a tool is no question: what called for it belongs to the same exchange.
    """
    pairs = enumerate(itertools.pairwise(roles), start=1)
    later = [i for i, (before, role) in pairs if _is_question(role) and not _is_question(before)]
    return [0, *later]


_ANSWERING = ("assistant", "tool")


def _is_question(role: str) -> bool:
    return role not in _ANSWERING


def _exchanges(
    positions: Sequence[int], roles: Sequence[str], sizes: Sequence[int]
) -> Iterator[_Exchange]:
    """Yields the exchanges: each begins with a question that follows an answer."""
    starts = exchange_starts(roles)
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
    """The windows, each beginning with the question before the first message that it teaches."""
    marked = windows.with_row_index("window")
    latest = _starts(marked, messages).group_by("window").agg(start=pl.col("start").max())
    marked = marked.join(latest, on="window", how="left", maintain_order="left")
    return marked.with_columns(first=pl.coalesce("start", "first")).select(WINDOWS.keys())


def _starts(marked: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Where windows, numbered by `window`, could begin later: (window, start)."""
    is_answering = pl.col("role").cast(pl.String).is_in(_ANSWERING)
    follows = is_answering.not_() & is_answering.shift().over("conversation")
    starts = messages.filter(follows).select("conversation", start="position")
    later = marked.join(starts, on="conversation", how="inner")
    return later.filter(pl.col("start") > pl.col("first"), pl.col("start") <= pl.col("loss_from"))


def with_less_context(
    windows: pl.DataFrame, messages: pl.DataFrame, long: Bools
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The windows, of which the `long` begin one exchange later, and those that cannot.

    The second table holds the long windows that have no context left to lose.
    """
    marked = windows.with_columns(long=pl.Series(long)).with_row_index("window")
    later = _starts(marked.filter("long"), messages)
    later = later.group_by("window").agg(start=pl.col("start").min())
    marked = marked.join(later, on="window", how="left", maintain_order="left")
    stuck = marked.filter(pl.col("long"), pl.col("start").is_null())
    moved = pl.when(pl.col("long")).then("start").otherwise("first")
    shorter = marked.with_columns(first=moved).filter(pl.col("first").is_not_null())
    return shorter.select(WINDOWS.keys()), stuck.select(WINDOWS.keys())
