"""Rows of tokens, made again from their messages with the tokenizer that the folder holds.

What a row should be trained on is not published turn by turn, so it is taken from its labels;
then ids and labels must be what `render` makes, and the certificate is drawn up anew.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from chatdata import __version__
from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import VerifyError
from chatdata.core.hashing import fraction_column, sha256_json
from chatdata.core.schema import MESSAGES
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.dataset.rows import Rows
from chatdata.render import certificate, windows
from chatdata.render.certificate import SAMPLE, ParityCounts
from chatdata.render.encoding import libraries
from chatdata.render.entries import RenderEntry
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.encoded import encode, refusals
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from chatdata.verify import recount


def problems(folder: Path, manifest: Manifest, everything: bool) -> Iterator[str]:
    """Yields what is wrong with the rows of tokens: of a sample, chosen by a hash of their
    conversations' ids, or of all.

    Raises a ChatdataError where the tokenizer cannot be used.
    """
    options = _options(manifest)
    own = load(folder, manifest.rendering, options)
    yield from _template_problems(manifest, own, options)
    rows = manifest.splits.total("rows")
    share = 1.0 if everything else SAMPLE / max(1, rows)
    sample = _Sample(_sampled(folder, manifest) if everything else frozenset())
    for batch in recount.batches(folder, manifest):
        conversations, stored = _chosen(batch, share)
        redrawn = _redraw(conversations, stored, own, options)
        yield from _row_problems(stored, redrawn)
        if redrawn.rendered is not None:
            yield from _finding_problems(redrawn.rendered, stored, own, options, sample)
    if everything and _is_of_this_version(manifest):
        yield from _sample_problems(manifest, sample)


def load(folder: Path, entry: RenderEntry, options: Render) -> Tokenizer:
    """The tokenizer of a folder, with its template."""
    name = entry.tokenizer.name
    template = TEMPLATES[options.template]
    with tempfile.TemporaryDirectory(prefix="chatdata-") as work:
        prepared = template.prepare(folder / "tokenizer", name, options, Path(work) / "tokenizer")
        return template.load(prepared, name, options)


def _options(manifest: Manifest) -> Render:
    try:
        return Render.model_validate_json(json.dumps(manifest.recipe.render))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise VerifyError(f"the manifest's recipe.render: {problem['msg']}.") from None


def _template_problems(manifest: Manifest, own: Tokenizer, options: Render) -> Iterator[str]:
    """Yields what the certificate says of another template, tokenizer or probes."""
    entry = manifest.rendering
    listed, loaded = entry.template.as_json(), json.loads(json.dumps(own.template.facts()))
    for key in sorted(loaded.keys() | listed.keys()):
        if loaded.get(key) != listed.get(key):
            yield f"the manifest's template differs from the one that is loaded, in '{key}'"
    if entry.certificate.template_sha256 != sha256_json(loaded):
        yield "the certificate is of another template"
    if entry.certificate.tokenizer_sha256 != f"sha256:{entry.tokenizer.sha256}":
        yield "the certificate is of another tokenizer"
    ids = {
        "control_ids": entry.tokenizer.control_ids == own.control_ids(),
        "stop_ids": list(entry.tokenizer.stop_ids) == list(own.stops()),
    }
    for key, is_same in ids.items():
        if not is_same:
            yield f"the manifest's tokenizer has other {key} than the one that is loaded"
    yield from _engine_problems(manifest)
    yield from _certificate_problems(manifest, certificate.certify(own, options))


def _is_of_this_version(manifest: Manifest) -> bool:
    """Whether this version of chatdata drew up the certificate: others look at other things."""
    return manifest.versions.get("chatdata") == __version__


def _certificate_problems(manifest: Manifest, probes: ParityCounts) -> Iterator[str]:
    entry = manifest.rendering.certificate
    if not entry.passed or entry.total.faults:
        yield "the certificate is of a build that did not pass"
    if _is_of_this_version(manifest) and entry.probes.as_json() != probes.counts():
        yield "the certificate's probes, made again, have other counts"


def _engine_problems(manifest: Manifest) -> Iterator[str]:
    """Yields what the certificate says of an engine that there is not. All engines make the same
    ids, so rows do not show which one made them."""
    engine = manifest.rendering.certificate.engine
    name, audit = engine.name, engine.audit
    if audit is None and name != f"tokenizers {manifest.versions.get('tokenizers')}":
        yield f"the certificate's engine is '{name}', which is not of the manifest's versions"
    if audit is not None and not str(name).startswith(f"{libraries.FAST} "):
        yield f"the certificate's engine is '{name}', which no build uses"
    if audit is not None and not (isinstance(audit, dict) and audit.get("differences") == 0):
        yield "the certificate's engine was found to differ from tokenizers, or was not audited"


# --------------------------------------------------------------------------------------- sample


@dataclass(slots=True)
class _Sample:
    """The rows that the certificate was drawn up of, by id, and what is found in them."""

    ids: frozenset[str]
    findings: ParityCounts = field(default_factory=ParityCounts)


def _sampled(folder: Path, manifest: Manifest) -> frozenset[str]:
    """The rows that a build looked at: those of the lowest hashes, as many as it says.

    Of how many conversations it took SAMPLE is not said; it is no fewer than were kept and no more
    than were read, so that the sample cannot be of any size.
    """
    ids = reader.scan(folder, "tokens").select("id").collect()["id"]
    places = fraction_column(ids, "certificate")
    count = manifest.counts.conversations
    least, most = (
        int((places < SAMPLE / max(1, conversations)).sum())
        for conversations in (count.read, count.kept)
    )
    rows = manifest.rendering.certificate.sample.rows
    return frozenset(ids.gather(places.arg_sort())[: max(least, min(most, rows))])


def _sample_problems(manifest: Manifest, sample: _Sample) -> Iterator[str]:
    """Yields which counts of the certificate's sample are others than those found again."""
    listed = manifest.rendering.certificate.sample.as_json()
    counted = sample.findings.counts()
    for key in sorted(listed.keys() | counted.keys()):
        if listed.get(key) != counted.get(key):
            yield (
                f"the certificate's sample says that {key} is {listed.get(key)}, and made again "
                f"it is {counted.get(key)}"
            )


# ----------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of tokens as it is stored."""

    id: str
    conversation: str
    ids: list[int]
    labels: list[int]


def _chosen(batch: Rows, share: float) -> tuple[pa.Table, list[_Stored]]:
    """The conversations of a batch that are looked at, and their rows of tokens."""
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
    """Stored rows, made again from their messages. Rows are named by their number."""

    refused: dict[int, str]  # why the template cannot write a row
    same_ids: frozenset[int]  # rows that have the ids that the template makes
    rendered: Rendered | None  # these rows, with the answers learnt that their labels teach


def _redraw(
    conversations: pa.Table, stored: list[_Stored], tokenizer: Tokenizer, options: Render
) -> _Redrawn:
    pool = TextPool(tokenizer)
    messages = _messages(conversations)
    candidates = windows.rows(messages, _windows(messages, stored, tokenizer))
    writable, refused = _writable(candidates, pool)
    if writable.is_empty():
        return _Redrawn(refused, frozenset(), None)
    drawn = render(writable, None, pool, options)
    places = _places(drawn, stored)
    if not places:
        return _Redrawn(refused, frozenset(), None)
    learnt = _as_labelled(drawn, places, stored, pool, options)
    return _Redrawn(refused, frozenset(places), render(learnt, None, pool, options))


def _row_problems(stored: list[_Stored], redrawn: _Redrawn) -> Iterator[str]:
    """Yields what is wrong with each stored row: its messages, its ids or its labels."""
    labels = _labels(redrawn.rendered)
    for number, row in enumerate(stored):
        if number in redrawn.refused:
            why = redrawn.refused[number]
            yield f"row '{row.id}': the template cannot write its messages: {why}"
        elif number not in redrawn.same_ids:
            yield f"row '{row.id}': its ids are not what the template makes of its messages"
        elif labels.get(number, []) != row.labels:
            yield f"row '{row.id}': its labels are not whole answers of its own"


def _labels(rendered: Rendered | None) -> dict[int, list[int]]:
    """The labels of rendered rows by number. A row of which no answer is learnt has none."""
    if rendered is None:
        return {}
    spans = zip(rendered.ids, itertools.pairwise(rendered.offsets), strict=True)
    return {_number(name): rendered.labels[start:end].tolist() for name, (start, end) in spans}


def _writable(candidates: pl.DataFrame, pool: TextPool) -> tuple[pl.DataFrame, dict[int, str]]:
    """The candidates that the template can write, and the stored rows of which it can write no
    candidate: their numbers, with the reason."""
    reasons = dict(refusals(candidates, pool).iter_rows())
    writable = candidates.filter(pl.col("conversation").is_in(list(reasons)).not_())
    numbers = {_number(name) for name in writable["conversation"].unique()}
    refused = {_number(name): why for name, why in reasons.items() if _number(name) not in numbers}
    return writable, refused


def _finding_problems(
    rendered: Rendered,
    stored: list[_Stored],
    tokenizer: Tokenizer,
    options: Render,
    sample: _Sample,
) -> Iterator[str]:
    """Yields what the certificate finds in rows that are rendered again. What it counts in rows
    of the sample is added to the sample."""
    names = [stored[_number(name)].id for name in rendered.ids]
    is_sampled = pl.Series([name in sample.ids for name in names], dtype=pl.Boolean)
    sampled = certificate.compare_rows(rendered, tokenizer, options.train_on, is_sampled)
    others = certificate.compare_rows(rendered, tokenizer, options.train_on, ~is_sampled)
    sample.findings += sampled
    yield from (findings.first_failure for findings in (sampled, others) if findings.first_failure)


def _messages(table: pa.Table) -> pl.DataFrame:
    """Rows of MESSAGES, of conversations as they are published; every answer may be learnt."""
    rows = pl.DataFrame(table).rename({"id": "conversation"}).explode("messages")
    rows = rows.unnest("messages").with_columns(
        position=pl.int_range(pl.len(), dtype=pl.Int32).over("conversation"),
        train=pl.col("role") == "assistant",
    )
    message = pl.concat_str("conversation", pl.lit("#"), "position")
    missing = {name: pl.lit(None) for name in MESSAGES if name not in rows.columns}
    rows = rows.with_columns(**{**missing, "message": message})
    return rows.select(pl.col(name).cast(kind) for name, kind in MESSAGES.items())


def _windows(messages: pl.DataFrame, stored: list[_Stored], own: Tokenizer) -> pl.DataFrame:
    """The windows that each stored row may be: its name says what it teaches, and not how much
    context it carries, so each beginning is tried. They are named `NUMBER:FIRST`."""
    roles = {
        str(name): turns["role"].to_list()
        for (name,), turns in messages.group_by("conversation", maintain_order=True)
    }
    is_whole = own.template.keeps_history
    found = []
    for number, row in enumerate(stored):
        said = roles[row.conversation]
        new, last = _taught(row, said, is_whole)
        for first in _beginnings(said, new):
            found.append((row.conversation, f"{number}:{first}", first, new, last))
    return pl.DataFrame(found, schema=windows.WINDOWS, orient="row")


def _taught(row: _Stored, roles: list[str], is_whole: bool) -> tuple[int, int]:
    """The first and the last turn that a row teaches, by its id."""
    span = row_id.parse(row.id, row.conversation)
    if span is not None:
        return span
    if is_whole:
        return 0, len(roles) - 1
    answer = max((i for i, role in enumerate(roles) if role == "assistant"), default=0)
    return answer, answer


def _beginnings(roles: list[str], new: int) -> list[int]:
    """Where the context of a row may begin: at the head, or where a user follows an answer."""
    starts = [
        i for i in range(1, new + 1) if roles[i] != "assistant" and roles[i - 1] == "assistant"
    ]
    return [0, *starts]


def _number(name: str) -> int:
    return int(name.partition(":")[0])


def _places(drawn: Rendered, stored: list[_Stored]) -> dict[int, int]:
    """The place of the first candidate with the ids of a stored row, by the row's number."""
    places: dict[int, int] = {}
    for place, name in enumerate(drawn.ids):
        start, end = drawn.offsets[place : place + 2]
        if drawn.input_ids[start:end].tolist() == stored[_number(name)].ids:
            places.setdefault(_number(name), place)
    return places


def _as_labelled(
    drawn: Rendered,
    places: dict[int, int],
    stored: list[_Stored],
    pool: TextPool,
    options: Render,
) -> pl.DataFrame:
    """The messages of the candidates at `places`. Those with a label may be learnt, no others."""
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
