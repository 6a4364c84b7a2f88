"""The rows that are published: made, counted, and hashed.

Only this module builds the row of messages (`schemas.MESSAGES`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from chatdata.core import arrow, train_parts
from chatdata.core.constants import IGNORE_INDEX, SPLITS
from chatdata.core.schema import SPOKEN
from chatdata.core.template_variables import KEY
from chatdata.dataset.schemas import FLOATS, IDS, MESSAGES, NAMES, TOKENS_IN_SHORT, WEIGHT, WEIGHTS

if TYPE_CHECKING:
    from chatdata.render.rows import Rendered


def message_rows(messages: pl.DataFrame) -> pa.Table:
    """A row for each conversation, of schema `schemas.MESSAGES`, from ordered rows of MESSAGES.

    `lang` is that of the first user turn. Conversations without variables have an empty object
    of them, since TRL takes no null.
    """
    is_user = pl.col("role") == "user"
    conversations = messages.group_by("conversation", maintain_order=True).agg(
        pl.col("group", "source").first(),
        lang=pl.col("lang").filter(is_user).first(),
        tools=pl.col("tools").drop_nulls().first(),
        variables=pl.col("variables").drop_nulls().first().fill_null(NO_VARIABLES),
        turns=pl.len(),
    )
    offsets = np.concatenate([[0], np.cumsum(conversations["turns"].to_numpy())])
    kind = MESSAGES.field("messages").type
    turns = pa.StructArray.from_arrays(
        [
            *spoken(messages),
            messages["train"].fill_null(False).to_arrow(),
            messages.select(pl.when("train").then("weight")).to_series().to_arrow(),
            _names(messages.select(pl.when("train").then(train_parts.KEY)).to_series()),
        ],
        fields=list(kind.value_type),
    )
    names = ("conversation", "group", "source", "lang")
    columns = [_strings(conversations[name]) for name in names]
    lists = pa.ListArray.from_arrays(arrow.int32(offsets), turns, type=kind)
    around = [_strings(conversations[name]) for name in ("tools", "variables")]
    return pa.Table.from_arrays([*columns, lists, *around], schema=MESSAGES)


def spoken(messages: pl.DataFrame) -> list[pa.Array]:
    """The values of the keys of published messages that say who speaks, and what."""
    names = ("content", "reasoning", "tool_calls", "tool_call_id", "name")
    return [_strings(messages["role"].cast(pl.String)), *(_strings(messages[n]) for n in names)]


def token_rows(rendered: Rendered) -> pa.Table:
    """The rows of tokens, of schema `schemas.TOKENS_IN_SHORT`, with the weights where there are
    any but 1."""
    lists = [
        arrow.lists(rendered.offsets, values, IDS)
        for values in (rendered.input_ids, rendered.labels)
    ]
    lengths = arrow.int32(np.diff(rendered.offsets))
    trained = arrow.int32(rendered.trained)
    ids = _strings(pl.Series(rendered.ids, dtype=pl.String))
    table = pa.Table.from_arrays([ids, *lists, lengths, trained], schema=TOKENS_IN_SHORT)
    if rendered.weights is None:
        return table
    return table.append_column(
        pa.field(WEIGHTS, FLOATS), _floats(rendered.offsets, rendered.weights)
    )


def complete_tokens(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of tokens with all columns of a schema, of which `token_rows` leaves some out.

    All tokens are attended to, and weigh 1 where they are trained and nothing else is said.
    """
    table = table.combine_chunks()
    lengths = arrow.numbers(table["length"])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    mask = arrow.lists(offsets, np.ones(int(lengths.sum()), np.int32), IDS)
    columns = {**{name: table[name] for name in table.column_names}, "attention_mask": mask}
    if WEIGHTS in schema.names and WEIGHTS not in columns:
        labels = arrow.numbers(table["labels"].combine_chunks().flatten())
        columns[WEIGHTS] = _floats(offsets, labels != IGNORE_INDEX)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _floats(offsets: npt.NDArray[Any], values: npt.NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(arrow.int32(offsets), arrow.float32(values), type=FLOATS)


def complete_messages(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of messages without the columns, and the keys of messages, that a schema has not."""
    table = table.select(schema.names).combine_chunks()
    kind = schema.field("messages").type
    keys = [key.name for key in kind.value_type]
    if message_keys(table) == keys:
        return table
    lists = table["messages"].combine_chunks()
    values = [lists.values.field(key) for key in keys]
    turns = pa.StructArray.from_arrays(values, fields=list(kind.value_type))
    shorter = pa.ListArray.from_arrays(lists.offsets, turns, type=kind)
    return table.set_column(table.column_names.index("messages"), schema.field("messages"), shorter)


def owners(messages: pa.Table, rendered: Rendered) -> npt.NDArray[np.int64]:
    """For each row of tokens, the number of its conversation among the rows of messages."""
    numbers = {id: number for number, id in enumerate(messages["id"].to_pylist())}
    return np.asarray([numbers[name] for name in rendered.conversations], np.int64)


def _turn_counts(messages: pa.Table) -> pl.Series:
    """How many turns each conversation has."""
    import pyarrow.compute as pc

    return pl.Series(pc.list_value_length(messages["messages"]))


def message_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of the text of each row, in bytes."""
    return _sizes(table, lambda text: text.str.len_bytes())


def dropped_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """The size of each row of what was dropped, in bytes."""
    words = [pl.col(name).str.len_bytes().fill_null(0) for name in SPOKEN]
    sizes = pl.DataFrame(table.select(SPOKEN)).select(pl.sum_horizontal(words) + 200)
    return sizes.to_series().to_numpy().astype(np.int64)


def _sizes(table: pa.Table, size: Callable[[pl.Expr], pl.Expr]) -> npt.NDArray[np.int64]:
    """The size of all that is spoken in each row."""
    message = pl.element().struct
    spoken = [message.field(name) for name in SPOKEN_KEYS if name in message_keys(table)]
    of_message = pl.sum_horizontal(size(text).fill_null(0) for text in spoken)
    sizes = pl.DataFrame(table.select(["messages"])).select(
        pl.col("messages").list.eval(of_message).list.sum()
    )
    return sizes.to_series().to_numpy().astype(np.int64)


SPOKEN_KEYS = ("content", "reasoning_content", "tool_calls")  # of a published message


def message_keys(table: pa.Table) -> list[str]:
    """The keys of a message in these rows: format 1 has fewer."""
    return [field.name for field in table.schema.field("messages").type.value_type]


NO_VARIABLES = "{}"  # the JSON of no variables


def variables(table: pa.Table) -> list[str | None]:
    """The variables of each conversation as JSON; None where it has none."""
    if KEY not in table.column_names:
        return [None] * table.num_rows
    return [None if text == NO_VARIABLES else text for text in table[KEY].to_pylist()]


def weights(table: pa.Table) -> list[list[tuple[int, float]]]:
    """The places and the weights of messages that have any, of each conversation."""
    return _given(table, WEIGHT)


def parts(table: pa.Table) -> list[list[tuple[int, list[str]]]]:
    """The places and the `train_parts` of messages that have any, of each conversation."""
    return _given(table, train_parts.KEY)


def _given(table: pa.Table, key: str) -> list[list[tuple[int, Any]]]:
    """The places and the values of messages that have an optional key, of each conversation."""
    if not has_key(table, key):
        return [[]] * table.num_rows
    lists = [[turn[key] for turn in turns] for turns in table["messages"].to_pylist()]
    return [[(n, v) for n, v in enumerate(of_turns) if v is not None] for of_turns in lists]


def has_key(table: pa.Table, key: str) -> bool:
    """Whether a message of these rows has a value of an optional key."""
    if key not in message_keys(table):
        return False
    turns = [chunk.values for chunk in table["messages"].chunks]
    return any(of_chunk.field(key).null_count < len(of_chunk) for of_chunk in turns)


def offered_tools(table: pa.Table) -> list[list[str]]:
    """The tools of each conversation, as a list of their JSON or of nothing."""
    if "tools" not in table.column_names:
        return [[]] * table.num_rows
    return [[] if tools is None else [tools] for tools in table["tools"].to_pylist()]


def words_of(message: Mapping[str, Any]) -> str:
    """All that a published message says, to be read: reasoning, words, calls of tools."""
    keys = ("reasoning_content", "content", "tool_calls")
    return "\n".join(str(message[key]) for key in keys if message.get(key))


def by_split(table: pa.Table, splits: pl.Series) -> dict[str, pa.Table]:
    """The rows of each split. `splits` is the split of each row, and train rows come first."""
    train = int((splits == SPLITS[0]).sum())
    return {SPLITS[0]: table.slice(0, train), SPLITS[1]: table.slice(train)}


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a part, and the split of each conversation.

    `messages` is of schema `schemas.MESSAGES`, `tokens` of `schemas.TOKENS` or None. A build has no
    attention yet, and weights where there are any. `owner` is the number of the conversation of
    each row of tokens.
    """

    messages: pa.Table
    tokens: pa.Table | None
    owner: npt.NDArray[np.int64]
    splits: pl.Series

    def several(self) -> pl.Series:
        """For each conversation with several rows of tokens a remark, for the rest ''."""
        if self.tokens is None:
            return pl.repeat("", self.messages.num_rows, dtype=pl.String, eager=True)
        counts = np.bincount(self.owner, minlength=self.messages.num_rows)
        return pl.Series(
            [f", {n} rows of tokens" if n > 1 else "" for n in counts], dtype=pl.String
        )

    def totals(self) -> dict[str, dict[str, int]]:
        """The sums for each split."""
        turns = _turn_counts(self.messages)
        bytes = pl.Series(message_bytes(self.messages))
        figures = {"rows": turns.is_not_null(), "messages": turns, "bytes": bytes}
        totals = _sums({"split": self.splits, **figures})
        if self.tokens is None:
            return totals
        lengths = pl.Series(self.tokens["length"])
        figures = {
            "split": self.splits[self.owner],
            "token_rows": lengths.is_not_null(),
            "tokens": lengths,
            "trained_tokens": pl.Series(self.tokens["trained"]),
        }
        return {name: {**totals[name], **sums} for name, sums in _sums(figures).items()}

    def is_named(self, ids: pl.Series) -> pl.Series:
        """Whether each conversation is among these."""
        return pl.Series(self.messages["id"], dtype=pl.String).is_in(ids.implode())

    def tokens_by(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """The tokens and the trained tokens by a name of each conversation."""
        assert self.tokens is not None
        of_rows = pl.Series(list(names), dtype=pl.String)[self.owner]
        lengths, trained = pl.Series(self.tokens["length"]), pl.Series(self.tokens["trained"])
        table = pl.DataFrame({"name": of_rows, "tokens": lengths, "trained_tokens": trained})
        sums = table.group_by("name").agg(pl.all().sum().cast(pl.Int64)).sort("name")
        return {row.pop("name"): row for row in sums.to_dicts()}

    def sizes(self) -> dict[str, npt.NDArray[np.int64]]:
        """The turns and characters of each conversation, and the tokens of each row of tokens."""
        characters = _sizes(self.messages, lambda text: text.str.len_chars())
        turns = _turn_counts(self.messages)
        sizes = {"turns": turns, "characters": pl.Series(characters)}
        if self.tokens is not None:
            sizes["tokens"] = pl.Series(self.tokens["length"])
            sizes["trained_tokens"] = pl.Series(self.tokens["trained"])
        return {name: column.to_numpy().astype(np.int64) for name, column in sizes.items()}

    def variables(self) -> Counter[str]:
        """How many conversations have each variable."""
        given = [json.loads(text) for text in variables(self.messages) if text]
        return Counter(name for values in given for name in values)

    def weighted_messages(self) -> int:
        """How many messages have a weight."""
        return sum(map(len, weights(self.messages)))

    def messages_in_parts(self) -> int:
        """How many messages have `train_parts`."""
        return sum(map(len, parts(self.messages)))


def _sums(columns: dict[str, pl.Series]) -> dict[str, dict[str, int]]:
    """The sums of columns for each split."""
    table = pl.DataFrame(columns)
    return {
        name: table.filter(split=name).drop("split").sum().row(0, named=True) for name in SPLITS
    }


def _names(values: pl.Series) -> pa.Array:
    """Names as lists of them, from names that are joined."""
    return values.str.split(train_parts.SEPARATOR).to_arrow().cast(NAMES)


def _strings(values: pl.Series) -> pa.Array:
    return values.to_arrow().cast(pa.string())
