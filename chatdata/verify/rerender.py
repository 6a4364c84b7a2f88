"""Rows of tokens, rendered again from their messages with the tokenizer that the folder holds.

Ids and labels must be those that `render` makes, and the certificate is made again. Which messages
may be learnt stands in the messages. A folder of format 1 does not state it: there the labels tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.hashing import fraction_column
from chatdata.dataset import redrawn, row_batches
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.redrawn import Redrawn, StoredRow
from chatdata.dataset.rows import Rows
from chatdata.render import certificate
from chatdata.render.certificate import SAMPLE
from chatdata.render.options import Render
from chatdata.render.rows import Rendered
from chatdata.render.tokenizer import Tokenizer
from chatdata.verify import certificate_checks
from chatdata.verify.certificate_checks import Sample


def problems(folder: Path, manifest: Manifest, everything: bool) -> Iterator[str]:
    """Yields the problems of template, tokenizer, certificate and rows of tokens.

    With `everything` all rows are rendered again, else those of a sample of the conversations,
    chosen by a hash of their ids. Raises a ChatdataError where the tokenizer cannot be used.
    """
    options = redrawn.options_of(manifest)
    tokenizer = redrawn.load(folder, manifest.rendering, options)
    if manifest.format == 1:
        tokenizer = replace(tokenizer, template=tokenizer.template.of_format_1())
    yield from certificate_checks.problems(manifest, tokenizer, options)
    share = 1.0 if everything else SAMPLE / max(1, manifest.splits.total("rows"))
    sample = certificate_checks.sample(folder, manifest) if everything else Sample(frozenset())
    for batch in row_batches.read(folder, manifest):
        conversations, stored = _chosen(batch, share)
        learnt = redrawn.as_labelled if manifest.format == 1 else redrawn.as_stated
        again = redrawn.redraw(conversations, stored, tokenizer, options, learnt)
        yield from _row_problems(stored, again)
        if again.rendered is not None:
            yield from _parity_problems(again.rendered, stored, tokenizer, options, sample)
    if everything:
        yield from certificate_checks.sample_problems(manifest, sample)


# ----------------------------------------------------------------------------------------- rows


def _chosen(batch: Rows, share: float) -> tuple[pa.Table, list[StoredRow]]:
    """A share of the conversations of a batch, and their rows of tokens."""
    names = pl.Series(batch.messages["id"])
    return redrawn.chosen(batch, fraction_column(names, "verify") < share)


def _row_problems(stored: list[StoredRow], again: Redrawn) -> Iterator[str]:
    """Yields a problem for each stored row whose messages, ids or labels are wrong."""
    labels, weights = _labels(again.rendered), _weights(again.rendered)
    for number, row in enumerate(stored):
        if number in again.refused:
            why = again.refused[number]
            yield f"row '{row.id}': the template cannot write its messages: {why}"
        elif number not in again.same_ids:
            yield f"row '{row.id}': its ids are not what the template makes of its messages"
        elif labels.get(number, []) != row.labels:
            yield f"row '{row.id}': its labels are not those of whole answers"
        elif row.weights is not None and weights.get(number, []) != row.weights:
            yield f"row '{row.id}': its weights are not those of its messages"


def _labels(rendered: Rendered | None) -> dict[int, list[int]]:
    """The labels of rendered rows by number. `render` drops rows that learn no answer."""
    if rendered is None:
        return {}
    spans = zip(rendered.ids, itertools.pairwise(rendered.offsets), strict=True)
    return {
        redrawn.number(name): rendered.labels[start:end].tolist() for name, (start, end) in spans
    }


def _weights(rendered: Rendered | None) -> dict[int, list[float]]:
    """The weights of rendered rows by number: 1 for each label where no message has a weight."""
    if rendered is None:
        return {}
    trained = (rendered.labels != IGNORE_INDEX).astype(np.float32)
    weights = trained if rendered.weights is None else rendered.weights
    spans = zip(rendered.ids, itertools.pairwise(rendered.offsets), strict=True)
    return {redrawn.number(name): weights[start:end].tolist() for name, (start, end) in spans}


def _parity_problems(
    rendered: Rendered,
    stored: list[StoredRow],
    tokenizer: Tokenizer,
    options: Render,
    sample: Sample,
) -> Iterator[str]:
    """Yields the first failure of the certificate in rows of the sample, and in all the rest.

    Adds the counts of rows of the sample to the sample.
    """
    names = [stored[redrawn.number(name)].id for name in rendered.ids]
    is_sampled = pl.Series([name in sample.ids for name in names], dtype=pl.Boolean)
    sampled = certificate.compare_rows(rendered, tokenizer, options.train_on, is_sampled)
    rest = certificate.compare_rows(rendered, tokenizer, options.train_on, ~is_sampled)
    sample.counts += sampled
    yield from (counts.first_failure for counts in (sampled, rest) if counts.first_failure)
