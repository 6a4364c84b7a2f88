"""Rows of tokens, rendered again from their messages with the tokenizer that the folder holds.

Ids and labels must be those that `render` makes, and the certificate is made again. Which messages
may be learnt stands in the messages. A folder of format 1 does not state it: there the labels tell.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX, TOKENIZER_FOLDER
from chatdata.core.errors import VerifyError
from chatdata.core.hashing import fraction_column
from chatdata.dataset import published
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows
from chatdata.render import certificate, windows
from chatdata.render.certificate import SAMPLE
from chatdata.render.entries import RenderEntry
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.encoded import encode, refusals
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from chatdata.verify import certificate_checks, recount
from chatdata.verify.certificate_checks import Sample


def problems(folder: Path, manifest: Manifest, everything: bool) -> Iterator[str]:
    """Yields the problems of template, tokenizer, certificate and rows of tokens.

    With `everything` all rows are rendered again, else those of a sample of the conversations,
    chosen by a hash of their ids. Raises a ChatdataError where the tokenizer cannot be used.
    """
    options = _options(manifest)
    tokenizer = load(folder, manifest.rendering, options)
    if manifest.format == 1:
        tokenizer = replace(tokenizer, template=tokenizer.template.of_format_1())
    yield from certificate_checks.problems(manifest, tokenizer, options)
    share = 1.0 if everything else SAMPLE / max(1, manifest.splits.total("rows"))
    sample = certificate_checks.sample(folder, manifest) if everything else Sample(frozenset())
    for batch in recount.batches(folder, manifest):
        conversations, stored = _chosen(batch, share)
        learnt = _as_labelled if manifest.format == 1 else _as_stated
        redrawn = _redraw(conversations, stored, tokenizer, options, learnt)
        yield from _row_problems(stored, redrawn)
        if redrawn.rendered is not None:
            yield from _parity_problems(redrawn.rendered, stored, tokenizer, options, sample)
    if everything:
        yield from certificate_checks.sample_problems(manifest, sample)


def load(folder: Path, entry: RenderEntry, options: Render) -> Tokenizer:
    """The tokenizer of a folder, with its template."""
    name = entry.tokenizer.name
    template = TEMPLATES[options.template]
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        saved, resolved = folder / TOKENIZER_FOLDER, Path(work) / "resolved"
        return template.load(template.prepare(saved, name, options, resolved), name, options)


def _options(manifest: Manifest) -> Render:
    """The options of `render`. Raises VerifyError where an option is wrong."""
    try:
        return Render.model_validate_json(json.dumps(manifest.recipe.render))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise VerifyError(f"the manifest's recipe.render: {problem['msg']}.") from None


# ----------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of tokens as it is stored."""

    id: str
    conversation: str
    ids: list[int]
    labels: list[int]


def _chosen(batch: Rows, share: float) -> tuple[pa.Table, list[_Stored]]:
    """A share of the conversations of a batch, and their rows of tokens."""
    assert batch.tokens is not None
    names = pl.Series(batch.messages["id"])
    chosen = fraction_column(names, "verify") < share
    tokens = batch.tokens.filter(pa.array(chosen.gather(batch.owner)))
    conversations = names.gather(batch.owner).filter(chosen.gather(batch.owner)).to_list()
    columns = [tokens[name].to_pylist() for name in ("id", "input_ids", "labels")]
    stored = [
        _Stored(id, conversation, ids, labels)
        for id, conversation, ids, labels in zip(
            columns[0], conversations, columns[1], columns[2], strict=True
        )
    ]
    return batch.messages.filter(chosen.to_arrow()), stored


@dataclass(frozen=True, slots=True)
class _Redrawn:
    """Stored rows, rendered again from their messages. Rows are named by their number.

    A stored row is rendered as several candidates, which differ in the context that they carry.
    """

    refused: dict[int, str]  # why the template cannot write a row
    same_ids: frozenset[int]  # the rows of which a candidate has the same ids
    rendered: Rendered | None  # these candidates; they learn the answers that have labels


def _redraw(
    conversations: pa.Table,
    stored: list[_Stored],
    tokenizer: Tokenizer,
    options: Render,
    learnt_of: Callable[..., pl.DataFrame],
) -> _Redrawn:
    """The stored rows, rendered again from their conversations.

    `learnt_of` gives the messages of the candidates that match, with what may be learnt.
    """
    pool = TextPool(tokenizer)
    messages = published.messages(conversations)
    candidates = windows.rows(messages, _windows(messages, stored, tokenizer))
    writable, refused = _writable(candidates, pool)
    if writable.is_empty():
        return _Redrawn(refused, frozenset(), None)
    drawn = render(writable, None, pool, options)
    places = _places(drawn, stored)
    if not places:
        return _Redrawn(refused, frozenset(), None)
    learnt = learnt_of(drawn, places, stored, pool, options)
    return _Redrawn(refused, frozenset(places), render(learnt, None, pool, options))


def _row_problems(stored: list[_Stored], redrawn: _Redrawn) -> Iterator[str]:
    """Yields a problem for each stored row whose messages, ids or labels are wrong."""
    labels = _labels(redrawn.rendered)
    for number, row in enumerate(stored):
        if number in redrawn.refused:
            why = redrawn.refused[number]
            yield f"row '{row.id}': the template cannot write its messages: {why}"
        elif number not in redrawn.same_ids:
            yield f"row '{row.id}': its ids are not what the template makes of its messages"
        elif labels.get(number, []) != row.labels:
            yield f"row '{row.id}': its labels are not those of whole answers"


def _labels(rendered: Rendered | None) -> dict[int, list[int]]:
    """The labels of rendered rows by number. `render` drops rows that learn no answer."""
    if rendered is None:
        return {}
    spans = zip(rendered.ids, itertools.pairwise(rendered.offsets), strict=True)
    return {_number(name): rendered.labels[start:end].tolist() for name, (start, end) in spans}


def _writable(candidates: pl.DataFrame, pool: TextPool) -> tuple[pl.DataFrame, dict[int, str]]:
    """The candidates that the template can write, and the reason for each stored row without any,
    by the number of the row."""
    reasons = dict(refusals(candidates, pool).iter_rows())
    writable = candidates.filter(pl.col("conversation").is_in(list(reasons)).not_())
    numbers = {_number(name) for name in writable["conversation"].unique()}
    refused = {_number(name): why for name, why in reasons.items() if _number(name) not in numbers}
    return writable, refused


def _parity_problems(
    rendered: Rendered,
    stored: list[_Stored],
    tokenizer: Tokenizer,
    options: Render,
    sample: Sample,
) -> Iterator[str]:
    """Yields the first failure of the certificate in rows of the sample, and in all the rest.

    Adds the counts of rows of the sample to the sample.
    """
    names = [stored[_number(name)].id for name in rendered.ids]
    is_sampled = pl.Series([name in sample.ids for name in names], dtype=pl.Boolean)
    sampled = certificate.compare_rows(rendered, tokenizer, options.train_on, is_sampled)
    rest = certificate.compare_rows(rendered, tokenizer, options.train_on, ~is_sampled)
    sample.counts += sampled
    yield from (counts.first_failure for counts in (sampled, rest) if counts.first_failure)


def _windows(messages: pl.DataFrame, stored: list[_Stored], tokenizer: Tokenizer) -> pl.DataFrame:
    """A window for each candidate of each stored row, named `NUMBER:FIRST`.

    The id of a row says which messages the row teaches, but not how much context it carries, so
    every possible beginning is a candidate.
    """
    roles = {
        str(name): turns["role"].to_list()
        for (name,), turns in messages.group_by("conversation", maintain_order=True)
    }
    candidates = []
    for number, row in enumerate(stored):
        turns = roles[row.conversation]
        for new, last in _taught(row, turns):
            for first in windows.exchange_starts(turns[: new + 1]):
                name = f"{number}:{first}-{new}"
                candidates.append((row.conversation, name, first, new, last))
    return pl.DataFrame(candidates, schema=windows.WINDOWS, orient="row")


def _taught(row: _Stored, roles: list[str]) -> list[tuple[int, int]]:
    """The first and the last turn that a row may teach, by its id.

    The only row of a conversation teaches all of it or, where each answer is a row, its only
    answer.
    """
    span = row_id.parse(row.id, row.conversation)
    if span is not None:
        return [span]
    answers = [i for i, role in enumerate(roles) if role == "assistant"]
    only = [(answers[0], answers[0])] if len(answers) == 1 and answers[0] > 0 else []
    return [(0, len(roles) - 1), *only]


def _number(name: str) -> int:
    """The number of the stored row of a candidate."""
    return int(name.partition(":")[0])


def _places(drawn: Rendered, stored: list[_Stored]) -> dict[int, int]:
    """The place of the first candidate with the ids of a stored row, by the row's number."""
    places: dict[int, int] = {}
    for place, name in enumerate(drawn.ids):
        start, end = drawn.offsets[place : place + 2]
        if drawn.input_ids[start:end].tolist() == stored[_number(name)].ids:
            places.setdefault(_number(name), place)
    return places


def _as_stated(
    drawn: Rendered,
    places: dict[int, int],
    stored: list[_Stored],
    pool: TextPool,
    options: Render,
) -> pl.DataFrame:
    """The messages of the candidates at `places`, learnt as the messages state."""
    names = pl.Series([drawn.ids[place] for place in places.values()]).implode()
    return drawn.row_messages.filter(pl.col("conversation").is_in(names))


def _as_labelled(
    drawn: Rendered,
    places: dict[int, int],
    stored: list[_Stored],
    pool: TextPool,
    options: Render,
) -> pl.DataFrame:
    """The messages of the candidates at `places`. Messages with a label may be learnt from, and no
    further messages."""
    segments = encode(drawn.row_messages, pool, options.train_on)
    message = np.repeat(segments.message, segments.tokens)
    trained = np.zeros(len(message), np.bool_)
    for number, place in places.items():
        start, end = drawn.offsets[place : place + 2]
        trained[start:end] = np.asarray(stored[number].labels) != IGNORE_INDEX
    labelled = np.bincount(message[trained], minlength=drawn.row_messages.height) > 0
    names = pl.Series([drawn.ids[place] for place in places.values()]).implode()
    messages = drawn.row_messages.with_columns(train=pl.col("train") & pl.Series(labelled))
    return messages.filter(pl.col("conversation").is_in(names))
