"""Which answers may be learnt in a folder of format 1, whose messages do not state it: those with
labels, and all of them where the folder has no rows of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core import arrow
from chatdata.core.errors import OutputError
from chatdata.dataset import published, redrawn, row_batches
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.redrawn import StoredRow
from chatdata.dataset.rows import Rows
from chatdata.render.options import Render
from chatdata.render.token_spans import trained_spans
from chatdata.render.tokenizer import Tokenizer

_PLACES = {"conversation": pl.String, "position": pl.Int32}


def untrained(folder: Path, described: Manifest) -> pl.DataFrame:
    """The answers without labels of a folder of format 1: (conversation, position).

    No rows for other folders. Raises OutputError where rows are not what the template writes.
    """
    nothing = pl.DataFrame(schema=_PLACES)
    if described.format != 1 or described.render is None:
        return nothing
    options = redrawn.options_of(described)
    tokenizer = redrawn.load(folder, described.render, options)
    tokenizer = replace(tokenizer, template=tokenizer.template.of_format_1())
    batches = row_batches.read(folder, described)
    return pl.concat([nothing, *(_untrained(batch, tokenizer, options) for batch in batches)])


def _untrained(batch: Rows, tokenizer: Tokenizer, options: Render) -> pl.DataFrame:
    """The answers of a batch that have no labels.

    An answer has a single span of labels, so as many spans as answers are all of them; only the
    rows of the other conversations are rendered again.
    """
    answers = published.messages(batch.messages).filter(pl.col("role") == "assistant")
    numbers = answers.group_by("conversation").len("answers")
    ids = pl.DataFrame({"conversation": pl.Series(batch.messages["id"])})
    counts = ids.join(numbers, on="conversation", how="left", maintain_order="left")
    some = counts["answers"].fill_null(0) != pl.Series(_spans(batch))
    if not some.any():
        return pl.DataFrame(schema=_PLACES)
    table, stored = redrawn.chosen(batch, some)
    again = redrawn.redraw(table, stored, tokenizer, options, redrawn.as_labelled)
    _refuse_others(stored, again.same_ids)
    assert again.rendered is not None
    rows = again.rendered.row_messages.filter(pl.col("train").fill_null(False))
    names = [stored[redrawn.number(name)].conversation for name in rows["conversation"]]
    learnt = rows.select(pl.Series("conversation", names, pl.String), "position")
    chosen = answers.filter(pl.col("conversation").is_in(table["id"].to_pylist()))
    left = chosen.join(learnt, on=list(_PLACES), how="anti", maintain_order="left")
    return left.select(_PLACES.keys())


def _spans(batch: Rows) -> npt.NDArray[np.int64]:
    """How many spans of labels the rows of each conversation of a batch have."""
    assert batch.tokens is not None
    lists = batch.tokens["labels"].combine_chunks()
    values, offsets = arrow.numbers(lists.values), arrow.numbers(lists.offsets)
    spans = [len(trained_spans(values[start:end])) for start, end in _pairs(offsets)]
    return np.bincount(batch.owner, spans, batch.messages.num_rows).astype(np.int64)


def _pairs(offsets: npt.NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    return zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)


def _refuse_others(stored: list[StoredRow], same_ids: frozenset[int]) -> None:
    """Raises OutputError where a stored row is not among those with the same ids."""
    for number, row in enumerate(stored):
        if number not in same_ids:
            raise OutputError(
                f"row '{row.id}' is not what the template of its folder makes of its messages, so "
                "it is unknown which of them it teaches; build the folder again."
            )
