"""What messages say, as texts: for steps that compare or judge words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl


def words(messages: pl.DataFrame) -> pl.Series:
    """The words of each message: its content and its reasoning; null where it has neither."""
    if messages["reasoning"].null_count() == messages.height:
        return messages["content"]
    return _joined(messages, pl.col("content"), pl.col("reasoning"))


def all_words(messages: pl.DataFrame) -> pl.Series:
    """The words of each message and the strings in its calls of tools; null where it has none."""
    if messages["tool_calls"].null_count() == messages.height:
        return words(messages)
    calls = messages["tool_calls"].map_elements(_strings, return_dtype=pl.String)
    return _joined(messages, pl.col("content"), pl.col("reasoning"), pl.lit(calls))


def _joined(messages: pl.DataFrame, *texts: pl.Expr) -> pl.Series:
    """The texts of each message that are not null, a blank line between."""
    listed = pl.concat_list(texts).list.drop_nulls()
    joined = pl.when(listed.list.len() > 0).then(listed.list.join("\n\n"))
    return messages.select(joined.alias("words")).to_series()


def _strings(calls: str) -> str:
    """The strings in the arguments of calls, a line each."""
    return "\n".join(
        text for call in json.loads(calls) for text in _leaves(call["function"]["arguments"])
    )


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
