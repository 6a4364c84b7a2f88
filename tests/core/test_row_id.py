"""Ids of rows of tokens: made and read by one module."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core import row_id

NAMES = st.text(st.characters(codec="utf-8"), max_size=12) | st.from_regex(
    r"[a-z/~]{0,4}(#[0-9]{1,3}(-[0-9]{1,3})?){0,2}\n?", fullmatch=True
)
SPANS = st.tuples(st.integers(0, 2000), st.integers(0, 2000)).map(sorted)


@given(NAMES, SPANS)
def test_what_is_made_is_read_back(name: str, span: list[int]) -> None:
    row = row_id.make(name, *span)
    assert row_id.parse(row, name) == tuple(span)
    assert row_id.is_row_of(row, name)
    assert row_id.conversation_of(row) == name
    assert row_id.parse(name, name) is None


@pytest.mark.slow
@given(st.lists(st.tuples(NAMES, SPANS), max_size=5))
def test_columns_are_made_and_read_as_single_ids_are(rows: list[tuple[str, list[int]]]) -> None:
    table = pl.DataFrame(
        [(name, *span) for name, span in rows],
        schema={"name": pl.String, "first": pl.Int32, "last": pl.Int32},
        orient="row",
    )
    made = table.select(row=row_id.make_column("name", "first", "last"))
    assert made["row"].to_list() == [row_id.make(name, *span) for name, span in rows]
    read = made.select(row_id.conversations_of(pl.col("row")))["row"].to_list()
    assert read == [name for name, _ in rows]
    assert made.select(row_id.has_span(pl.col("row")))["row"].all()
    plain = table.select(
        stripped=row_id.conversations_of(pl.col("name")), has=row_id.has_span(pl.col("name"))
    )
    expected = [row_id.conversation_of(name) for name, _ in rows]
    assert plain["stripped"].to_list() == expected
    assert plain["has"].to_list() == [name != expected[i] for i, (name, _) in enumerate(rows)]


@pytest.mark.parametrize("row", ["x#", "x#1-", "x#-1", "x#a", "x#1#2", "xy", "y#1", "x#٣", "x#1\n"])
def test_other_rows_are_not_of_the_conversation(row: str) -> None:
    assert not row_id.is_row_of(row, "x")
    with pytest.raises(ValueError, match="is not of conversation 'x'"):
        row_id.parse(row, "x")
