"""Spans of a row of tokens, against a walk from token to token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.constants import IGNORE_INDEX
from chatdata.render.token_spans import decoder, equal_spans, text_spans, trained_spans

LABELS = st.lists(st.tuples(st.sampled_from([IGNORE_INDEX, 5, 7]), st.booleans()), max_size=12)


def walked(labels: Sequence[int], ends: Sequence[bool]) -> list[list[int]]:
    """The trained spans, token by token."""
    spans: list[list[int]] = []
    goes_on = False
    for place, (label, is_end) in enumerate(zip(labels, ends, strict=True)):
        if label != IGNORE_INDEX:
            if not goes_on:
                spans.append([place, place])
            spans[-1][1] = place + 1
        goes_on = label != IGNORE_INDEX and not is_end
    return spans


@pytest.mark.slow
@given(LABELS, st.sampled_from([np.int32, np.int64]))
def test_trained_spans(row: list[tuple[int, bool]], dtype: type[np.signedinteger]) -> None:
    labels = np.array([label for label, _ in row], dtype)
    ends = np.array([is_end for _, is_end in row], bool)
    spans = trained_spans(labels)
    assert spans.dtype == np.int64
    assert spans.shape == (len(spans), 2)
    assert spans.tolist() == walked(labels, [False] * len(row))
    assert trained_spans(labels, ends).tolist() == walked(labels, ends)


@given(st.lists(st.integers(0, 2), max_size=12))
def test_equal_spans_cover_the_row(kinds: list[int]) -> None:
    spans = equal_spans(np.array(kinds, np.int8))
    assert spans.dtype == np.int64
    assert [place for start, end in spans.tolist() for place in range(start, end)] == [
        *range(len(kinds))
    ]
    for start, end in spans.tolist():
        assert len(set(kinds[start:end])) == 1
    for (first, _), (second, _) in zip(spans[:-1].tolist(), spans[1:].tolist(), strict=True):
        assert kinds[first] != kinds[second]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_row_without_tokens_has_no_spans(dtype: type[np.signedinteger]) -> None:
    assert trained_spans(np.empty(0, dtype)).shape == (0, 2)
    assert equal_spans(np.empty(0, dtype)).shape == (0, 2)


def test_text_spans_are_the_text_of_the_row(sample: Path) -> None:
    tokenizer = decoder(sample / "tokenizer")
    row = pl.read_parquet(sample / "tokens" / "train-*.parquet").row(0, named=True)
    spans = list(text_spans(row, tokenizer))
    whole = tokenizer.decode(row["input_ids"], skip_special_tokens=False)
    assert "".join(span.text for span in spans) == whole
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    assert {span.text for span in spans if span.is_control} <= special | {
        first + second for first in special for second in special
    }
    trained = [id for id, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0]
    assert "".join(span.text for span in spans if span.is_trained) == tokenizer.decode(
        trained, skip_special_tokens=False
    )
