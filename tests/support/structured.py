"""Conversations with reasoning, calls, results and tools, for tests of steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tests.support.conversations import table

_COLUMNS = (
    *("reasoning", "tool_calls", "tool_call_id", "name", "tools", "variables", "note", "lang"),
)
ROLES = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}


def call(name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*called: Mapping[str, Any]) -> str:
    """Calls as they stand in the column `tool_calls`."""
    return json.dumps(list(called), ensure_ascii=False)


def structured(conversations: Mapping[str, Sequence[Mapping[str, Any]]]) -> pl.DataFrame:
    """Rows of MESSAGES for conversations, given by the columns that matter; the rest is null."""
    plain = {
        name: [(turn["role"], turn.get("content")) for turn in turns]
        for name, turns in conversations.items()
    }
    rows = table(plain)
    turns = [turn for conversation in conversations.values() for turn in conversation]
    return rows.with_columns(
        pl.Series(column, [turn.get(column) for turn in turns], pl.String) for column in _COLUMNS
    )


def in_short(letters: str) -> list[dict[str, Any]]:
    """Turns by the letters of their roles; `c` is an assistant that only calls a tool."""
    called = {"role": "assistant", "tool_calls": calls(call())}
    return [
        called if letter == "c" else {"role": ROLES[letter], "content": letter}
        for letter in letters
    ]
