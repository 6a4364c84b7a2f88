"""What templates are given, and how they refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

Message = Mapping[str, Any]  # role, content, and what else the message has
Messages = Sequence[Message]
Tools = list[dict[str, Any]]
Variables = Mapping[str, Any]  # of a template, by name

# How the columns of MESSAGES are called in a message, beside role and content.
_KEYS = {
    "reasoning": "reasoning_content",
    "tool_calls": "tool_calls",
    "tool_call_id": "tool_call_id",
    "name": "name",
}
_JSON = frozenset(["tool_calls", "tools"])


class UnrenderableError(Exception):
    """A conversation that a template cannot write, or not exactly; the message says why."""


def is_structured() -> pl.Expr:
    """Whether a message has more than a role and words: reasoning, calls, a result, tools, or
    variables for its template."""
    more = [pl.col(name).is_not_null() for name in (*_KEYS, "tools", "variables")]
    roles = pl.col("role").cast(pl.String).is_in(["tool", "developer"])
    return pl.any_horizontal(*more, roles, pl.col("content").is_null())


def as_messages(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of MESSAGES as the messages that `apply_chat_template` takes.

    A message has `role` and `content`, which is None where the message has no words, and each
    further key that has a value: `reasoning_content`, `tool_calls`, `tool_call_id`, `name`.
    """
    columns = ["role", "content", *(name for name in _KEYS if name in rows.columns)]
    return [as_message(row) for row in rows.select(columns).iter_rows(named=True)]


def as_message(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of MESSAGES as the message that `apply_chat_template` takes."""
    message = {"role": row["role"], "content": row["content"]}
    for column, key in _KEYS.items():
        value = row.get(column)
        if value is not None:
            message[key] = json.loads(value) if column in _JSON else value
    return message


def tools_of(rows: Sequence[Mapping[str, Any]]) -> Tools | None:
    """The tools that are offered in a conversation, of which these are the rows; or None."""
    tools = _first_value(rows, "tools")
    return json.loads(tools) if tools else None


def variables_of(rows: Sequence[Mapping[str, Any]]) -> Variables:
    """The variables that the template is given for a conversation, of which these are the rows."""
    variables = _first_value(rows, "variables")
    return dict(json.loads(variables)) if variables else {}


def _first_value(rows: Sequence[Mapping[str, Any]], column: str) -> str | None:
    return next((row[column] for row in rows if row.get(column) is not None), None)


def texts_of(value: object) -> Iterator[str]:
    """Yields all texts in a value: of a message, of a call, of a tool. Keys are texts too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


def spoken(message: Message) -> Iterator[str]:
    """Yields all that a message says, its role and the names of its keys apart."""
    for key, value in message.items():
        if key != "role":
            yield from texts_of(value)


def in_parts(message: Message) -> Message:
    """The message with its words as a list of parts, of which there is one; a message without
    words as it is."""
    content = message["content"]
    return message if content is None else {**message, "content": [_text_part(content)]}


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A value with all its texts changed, those that are keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): with_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, change) for item in value]
    return value


def with_message_texts(message: Message, change: Callable[[str], str]) -> dict[str, Any]:
    """A message with all that it says changed."""
    return {
        key: value if key == "role" else with_texts(value, change) for key, value in message.items()
    }
