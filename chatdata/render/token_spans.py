"""Spans of a row of tokens: what is trained and what is not, by the labels, and as text.

`Spans` is an array of shape (spans, 2) and dtype int64, in the order of the row: the place of the
first token of each span, and the place after its last token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers

from chatdata.core.constants import IGNORE_INDEX

Spans = npt.NDArray[np.int64]


def equal_spans(kinds: npt.NDArray[Any]) -> Spans:
    """The longest spans of tokens of one kind. They cover the row; a row without tokens has none.

    `kinds` holds a value of any dtype for each token, shape (tokens,).
    """
    edges = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    bounds = np.concatenate([[0], edges, [len(kinds)]]).astype(np.int64)
    return np.stack([bounds[:-1], bounds[1:]], axis=1)[: len(kinds)]


def trained_spans(
    labels: npt.NDArray[np.integer[Any]], is_end: npt.NDArray[np.bool_] | None = None
) -> Spans:
    """The spans of trained tokens, as long as they can be without holding an untrained token.

    `labels` has any integer dtype and the shape (tokens,); -100 is untrained. Where `is_end` is
    given, of the same shape, a span also ends after each token that it marks.
    """
    is_trained = labels != IGNORE_INDEX
    kinds = is_trained.astype(np.int64)
    if is_end is not None:
        kinds *= 1 + np.cumsum(is_end) - is_end  # 1, and the ends before the token
    spans = equal_spans(kinds)
    trained: Spans = spans[is_trained[spans[:, 0]]]
    return trained


# ------------------------------------------------------------------------------------ as text


class TextSpan(NamedTuple):
    """A span of a row as text."""

    text: str
    is_trained: bool
    is_control: bool


def decoder(folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a folder, which turns ids into text."""
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def special_ids(decoder: tokenizers.Tokenizer) -> frozenset[int]:
    """The ids of the tokens of a tokenizer that are special."""
    added = decoder.get_added_tokens_decoder()
    return frozenset(id for id, token in added.items() if token.special)


def text_spans(row: Mapping[str, Any], decoder: tokenizers.Tokenizer) -> Iterator[TextSpan]:
    """Yields the spans of a row of tokens (`input_ids`, `labels`), each trained or not, and of
    control tokens or not."""
    ids, is_trained = np.asarray(row["input_ids"]), np.asarray(row["labels"]) != IGNORE_INDEX
    is_control = np.isin(ids, sorted(special_ids(decoder)))
    for start, end in equal_spans(is_trained + 2 * is_control).tolist():
        text = decoder.decode(ids[start:end].tolist(), skip_special_tokens=False)
        yield TextSpan(text, bool(is_trained[start]), bool(is_control[start]))
