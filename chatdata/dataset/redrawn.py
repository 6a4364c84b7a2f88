"""Rows of tokens of a folder, rendered again from their messages by the tokenizer that it holds.

Which messages may be learnt stands in the messages; a folder of format 1 does not state it, so
there it is taken from the labels of the row.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX, TOKENIZER_FOLDER
from chatdata.core.errors import VerifyError
from chatdata.dataset import published
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows
from chatdata.dataset.schemas import WEIGHTS
from chatdata.render import windows
from chatdata.render.entries import RenderEntry
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.encoded import encode, refusals
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer


def load(folder: Path, entry: RenderEntry, options: Render) -> Tokenizer:
    """The tokenizer of a folder, with its template."""
    name = entry.tokenizer.name
    template = TEMPLATES[options.template]
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        saved, resolved = folder / TOKENIZER_FOLDER, Path(work) / "resolved"
        return template.load(template.prepare(saved, name, options, resolved), name, options)


def options_of(manifest: Manifest) -> Render:
    """The options of `render`. Raises VerifyError where an option is wrong."""
    try:
        return Render.model_validate_json(json.dumps(manifest.recipe.render))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise VerifyError(f"the manifest's recipe.render: {problem['msg']}.") from None


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of tokens as it is stored."""

    id: str
    conversation: str
    ids: list[int]
    labels: list[int]
    weights: list[float] | None = None  # None: 1 wherever a label is trained


def chosen(batch: Rows, chosen: pl.Series) -> tuple[pa.Table, list[StoredRow]]:
    """The `chosen` conversations of a batch, given as a mask, and their rows of tokens."""
    assert batch.tokens is not None
    names = pl.Series(batch.messages["id"])
    tokens = batch.tokens.filter(pa.array(chosen.gather(batch.owner)))
    conversations = names.gather(batch.owner).filter(chosen.gather(batch.owner)).to_list()
    columns = [tokens[name].to_pylist() for name in ("id", "input_ids", "labels")]
    has_weights = WEIGHTS in tokens.column_names
    weights = tokens[WEIGHTS].to_pylist() if has_weights else [None] * tokens.num_rows
    stored = [
        StoredRow(id, conversation, *lists)
        for id, conversation, *lists in zip(
            columns[0], conversations, columns[1], columns[2], weights, strict=True
        )
    ]
    return batch.messages.filter(chosen.to_arrow()), stored


@dataclass(frozen=True, slots=True)
class Redrawn:
    """Stored rows, rendered again from their messages. Rows are named by their number.

    A stored row is rendered as several candidates, which differ in the context that they carry.
    """

    refused: dict[int, str]  # why the template cannot write a row
    same_ids: frozenset[int]  # the rows of which a candidate has the same ids
    rendered: Rendered | None  # these candidates; they learn the answers that have labels


def redraw(
    conversations: pa.Table,
    stored: list[StoredRow],
    tokenizer: Tokenizer,
    options: Render,
    learnt_of: Callable[..., pl.DataFrame],
) -> Redrawn:
    """The stored rows, rendered again from their conversations.

    `learnt_of` gives the messages of the candidates that match, with what may be learnt.
    """
    pool = TextPool(tokenizer)
    messages = published.messages(conversations)
    ways = (_windows(messages, stored, taught) for taught in (_taught, _only_answer))
    candidates = pl.concat(windows.rows(messages, way) for way in ways)
    writable, refused = _writable(candidates, pool)
    if writable.is_empty():
        return Redrawn(refused, frozenset(), None)
    drawn = render(writable, None, pool, options)
    places = _places(drawn, stored)
    if not places:
        return Redrawn(refused, frozenset(), None)
    learnt = learnt_of(drawn, places, stored, pool, options)
    return Redrawn(refused, frozenset(places), render(learnt, None, pool, options))


def _writable(candidates: pl.DataFrame, pool: TextPool) -> tuple[pl.DataFrame, dict[int, str]]:
    """The candidates that the template can write, and the reason for each stored row without any,
    by the number of the row."""
    reasons = dict(refusals(candidates, pool).iter_rows())
    writable = candidates.filter(pl.col("conversation").is_in(list(reasons)).not_())
    numbers = {number(name) for name in writable["conversation"].unique()}
    refused = {number(name): why for name, why in reasons.items() if number(name) not in numbers}
    return writable, refused


_Taught = Callable[[StoredRow, list[str]], list[tuple[int, int]]]


def _windows(messages: pl.DataFrame, stored: list[StoredRow], taught: _Taught) -> pl.DataFrame:
    """A window for each candidate of each stored row, named `NUMBER:FIRST-NEW`. `taught` gives the
    first and the last turn that a row may teach.

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
        for new, last in taught(row, turns):
            for first in windows.exchange_starts(turns[: new + 1]):
                name = f"{number}:{first}-{new}"
                candidates.append((row.conversation, name, first, new, last))
    return pl.DataFrame(candidates, schema=windows.WINDOWS, orient="row")


def _taught(row: StoredRow, roles: list[str]) -> list[tuple[int, int]]:
    """What a row may teach, by its id; the only row of a conversation teaches all of it."""
    return [row_id.parse(row.id, row.conversation) or (0, len(roles) - 1)]


def _only_answer(row: StoredRow, roles: list[str]) -> list[tuple[int, int]]:
    """What the only row of a conversation teaches where each answer is a row: its only answer."""
    answers = [i for i, role in enumerate(roles) if role == "assistant"]
    is_only = len(answers) == 1 and answers[0] > 0
    is_alone = row_id.parse(row.id, row.conversation) is None
    return [(answers[0], answers[0])] if is_only and is_alone else []


def number(name: str) -> int:
    """The number of the stored row of a candidate."""
    return int(name.partition(":")[0])


def _places(drawn: Rendered, stored: list[StoredRow]) -> dict[int, int]:
    """The place of the first candidate with the ids of a stored row, by the row's number."""
    places: dict[int, int] = {}
    for place, name in enumerate(drawn.ids):
        start, end = drawn.offsets[place : place + 2]
        if drawn.input_ids[start:end].tolist() == stored[number(name)].ids:
            places.setdefault(number(name), place)
    return places


def as_stated(
    drawn: Rendered,
    places: dict[int, int],
    stored: list[StoredRow],
    pool: TextPool,
    options: Render,
) -> pl.DataFrame:
    """The messages of the candidates at `places`, learnt as the messages state."""
    return _at(drawn, places)


def _at(drawn: Rendered, places: dict[int, int]) -> pl.DataFrame:
    names = pl.Series([drawn.ids[place] for place in places.values()]).implode()
    return drawn.row_messages.filter(pl.col("conversation").is_in(names))


def as_labelled(
    drawn: Rendered,
    places: dict[int, int],
    stored: list[StoredRow],
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
    train = pl.col("train") & pl.Series(labelled)
    return _at(replace(drawn, row_messages=drawn.row_messages.with_columns(train=train)), places)
