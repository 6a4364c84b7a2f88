"""The hash of each row, of which the content hash of a dataset is made."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from chatdata.core import arrow
from chatdata.core.template_variables import KEY
from chatdata.dataset.rows import Rows, complete_messages, has_key, variables, weights
from chatdata.dataset.schemas import OPTIONAL_KEYS, WEIGHTS, without

_ROWS = 64  # that are values of Python at a time
_VALUES = 4096  # of a list that are JSON at a time


def of_conversations(rows: Rows) -> list[tuple[str, bytes]]:
    """The id of each conversation, and a SHA-256 of its split, its messages and its tokens.

    A conversation without variables, weights and `train_parts` has the same digest whether
    others have any.
    """
    ids = rows.messages["id"].to_pylist()
    values = zip(rows.splits.to_list(), _values(rows), strict=True)
    hashes = [_sha256_of(*row) for row in values]
    if rows.tokens is not None:
        for column in ("input_ids", "labels"):
            update(rows, hashes, column)
        update_weights(rows, hashes)
    return [(id, hash_.digest()) for id, hash_ in zip(ids, hashes, strict=True)]


def of_tokens(rows: Rows) -> list[tuple[str, bytes]]:
    """The id of each conversation, and a SHA-256 of its split and its tokens.

    Rows without a weight but 1 have the same digest whether others have any.
    """
    places = zip(rows.splits.to_list(), rows.messages["id"].to_pylist(), strict=True)
    hashes = {id: hashlib.sha256(orjson.dumps([split, id])) for split, id in places}
    for column in ("input_ids", "labels"):
        update(rows, list(hashes.values()), column)
    _update_row_weights(rows, list(hashes.values()))
    return [(id, hash_.digest()) for id, hash_ in hashes.items()]


def _values(rows: Rows) -> Iterator[list[Any]]:
    """Yields what each conversation has in the columns of all folders, and its variables and
    the optional keys of its messages where it has any."""
    unused = {key for key in OPTIONAL_KEYS if not has_key(rows.messages, key)}
    table = complete_messages(rows.messages, without(rows.messages.schema, {KEY, *unused}))
    listed = (row for batch in table.to_batches(_ROWS) for row in batch.to_pylist())
    for row, given in zip(listed, variables(rows.messages), strict=True):
        if unused < OPTIONAL_KEYS:
            row["messages"] = [_without_nulls(turn) for turn in row["messages"]]
        yield [*row.values(), *([given] if given else [])]


def update(rows: Rows, hashes: Sequence[Any], column: str) -> None:
    """Feeds the hash of each conversation the values of a column of its rows of tokens."""
    assert rows.tokens is not None
    values = _bytes(rows.tokens[column])
    for number, value in zip(rows.owner.tolist(), values, strict=True):
        hashes[number].update(value)


def update_weights(rows: Rows, hashes: Sequence[Any]) -> None:
    """Feeds the hash of each conversation with a weight those of its tokens."""
    assert rows.tokens is not None
    if WEIGHTS not in rows.tokens.column_names:
        return
    weighted = [bool(numbers) for numbers in weights(rows.messages)]
    values = _bytes(rows.tokens[WEIGHTS])
    for number, value in zip(rows.owner.tolist(), values, strict=True):
        if weighted[number]:
            hashes[number].update(value)


def _update_row_weights(rows: Rows, hashes: Sequence[Any]) -> None:
    """Feeds the hash of each conversation the weights of its rows that have any but 1."""
    assert rows.tokens is not None
    if WEIGHTS not in rows.tokens.column_names:
        return
    for number, value in zip(rows.owner.tolist(), _bytes(rows.tokens[WEIGHTS]), strict=True):
        numbers = np.frombuffer(value, np.float32)
        if ((numbers != 0) & (numbers != 1)).any():
            hashes[number].update(value)


def _sha256_of(split: str, values: list[Any]) -> Any:
    """The hash of a row as JSON, of long lists a piece at a time."""
    total = hashlib.sha256(b"[" + orjson.dumps(split) + b",[")
    for number, value in enumerate(values):
        pieces = [value]
        is_long = isinstance(value, list) and len(value) > _VALUES
        if is_long:
            pieces = [value[at : at + _VALUES] for at in range(0, len(value), _VALUES)]
        written = (orjson.dumps(piece) for piece in pieces)
        total.update(b"," if number else b"")
        total.update(b"[" if is_long else b"")
        for place, text in enumerate(written):
            total.update(b"," if place else b"")
            total.update(text[1:-1] if is_long else text)
        total.update(b"]" if is_long else b"")
    total.update(b"]]")
    return total


def _without_nulls(turn: dict[str, Any]) -> dict[str, Any]:
    """A message without the optional keys that it has no value for."""
    given = turn.items()
    return {key: value for key, value in given if key not in OPTIONAL_KEYS or value is not None}


def _bytes(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """Yields the bytes of the values of each row of a column of lists of 32-bit numbers."""
    lists = column.combine_chunks()
    values = arrow.numbers(lists.values).data.cast("B")
    offsets = arrow.numbers(lists.offsets).astype(np.int64) * 4
    for start, end in itertools.pairwise(offsets.tolist()):
        yield values[start:end]
