"""Proof, made in every build, that rows of tokens say what the template says.

Two things are compared: what `render` made of a conversation, and what the tokenizer makes of
the text that the Jinja template writes, tokenised in one go. They must be equal wherever content
quotes no control token; where it does, the row must hold the template's control tokens and no
more. The probes are hard cases; the sample is rows of the dataset itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import RenderError
from chatdata.core.hashing import sha256_json
from chatdata.render.conversation import UnrenderableError
from chatdata.render.entries import CertificateEntry, EncoderEntry, ParityEntry
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.probes import probe_conversations
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn
from chatdata.render.token_spans import trained_spans
from chatdata.render.tokenizer import Tokenizer

SAMPLE = 128  # rows, about
_LEAST_PROBES = 20


@dataclass(slots=True)
class ParityCounts:
    """What a comparison of rows with their template counts.

    `differences` and `forged` must be 0, the others say how much was looked at.
    """

    rows: int = 0
    compared: int = 0  # with the Jinja template, token by token
    differences: int = 0
    quoting: int = 0  # rows whose content quotes a control token
    forged: int = 0  # control tokens more or fewer than the template writes
    answers: int = 0  # trained assistant turns
    stops_trained: int = 0
    headers_trained: int = 0  # answers with labels that are not theirs
    texts_returned: int = 0  # answers that decode(trained ids) gives back
    texts_altered: int = 0  # answers that the tokenizer itself changes: NFC, lost characters
    straddling: int = 0  # answers whose first token also covers the end of the header
    prompts: int = 0  # rows in which the generation prompt stands before the first trained id
    first_failure: str = ""  # in words

    def __add__(self, more: ParityCounts) -> ParityCounts:
        """The counts of both, with the first failure of the two."""
        sums = {name: number + getattr(more, name) for name, number in self.counts().items()}
        return ParityCounts(**sums, first_failure=self.first_failure or more.first_failure)

    def fail(self, reason: str) -> None:
        """Notes a failure; the first is kept."""
        self.first_failure = self.first_failure or reason

    def counts(self) -> dict[str, int]:
        """The counts, for the manifest."""
        names = (name for name in self.__dataclass_fields__ if name != "first_failure")
        return {name: getattr(self, name) for name in names}


def certify(tokenizer: Tokenizer, options: Render) -> ParityCounts:
    """What the comparison of the probes counts.

    Raises RenderError where the template cannot be rendered exactly.
    """
    if options.train_on == "assistant_with_header" and not tokenizer.template.is_explicit:
        raise RenderError(
            "train_on is assistant_with_header, but it is unknown where a header begins in the "
            "chat template of this tokenizer; write train_on: assistant."
        )
    probe_options = options.model_copy(update={"train_on": "assistant", "max_tokens": None})
    pool = TextPool(tokenizer)
    fitted = fit(probe_conversations(tokenizer), pool, probe_options)
    rendered = render(fitted.messages, fitted.windows, pool, probe_options)
    all_rows = pl.repeat(True, len(rendered.ids), eager=True)
    counts = compare_rows(rendered, tokenizer, "assistant", all_rows)
    if counts.compared < _LEAST_PROBES:
        reason = fitted.outcomes.filter(pl.col("unit") == "conversation")["detail"].to_list()
        counts.fail(f"too few probes can be written ({counts.compared}; {reason[:1]})")
    raise_on_failure(counts, tokenizer)
    return counts


def raise_on_failure(counts: ParityCounts, tokenizer: Tokenizer) -> None:
    """Raises RenderError where a comparison failed."""
    if counts.first_failure:
        raise RenderError(
            f"template '{tokenizer.template.name}' cannot be rendered exactly with tokenizer "
            f"'{tokenizer.name}': {counts.first_failure}; choose another template or tokenizer."
        )


def manifest_entry(
    probes: ParityCounts, sample: ParityCounts, tokenizer: Tokenizer, encoder: EncoderEntry
) -> CertificateEntry:
    """The certificate as it stands in the manifest; `encoder` says what made the ids."""
    return CertificateEntry(
        passed=not (probes.first_failure or sample.first_failure),
        probes=ParityEntry.model_validate(probes.counts()),
        sample=ParityEntry.model_validate(sample.counts()),
        engine=encoder,
        template_sha256=sha256_json(tokenizer.template.facts()),
        tokenizer_sha256=f"sha256:{tokenizer.sha256}",
    )


# ---------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of tokens, and the messages that it should hold."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    turns: list[dict[str, str]]
    trained: list[int]  # the turns that are trained, by their place


def compare_rows(
    rendered: Rendered, tokenizer: Tokenizer, train_on: TrainOn, chosen: pl.Series
) -> ParityCounts:
    """Compares the chosen rows with their Jinja rendering, and their labels with their answers.

    `chosen` is a mask of the rows.
    """
    counts = ParityCounts()
    reference = _Reference(tokenizer)
    rows = list(_chosen_rows(rendered, train_on, chosen))
    expected = reference.encode([reference.comparable(row.turns) for row in rows])
    exact: list[_Row] = []
    for row, ids in zip(rows, expected, strict=True):
        counts.rows += 1
        quotes = reference.quotes(row.turns)
        (_count_control if quotes else _compare)(counts, row, ids, reference)
        if train_on in ("assistant", "last_assistant"):
            is_exact = _check_labels(counts, row, tokenizer)
            exact += [row] if is_exact and not quotes and row.trained else []
    _check_prompts(counts, exact, reference)
    return counts


def _chosen_rows(rendered: Rendered, train_on: TrainOn, chosen: pl.Series) -> Iterator[_Row]:
    names = pl.Series(rendered.ids, dtype=pl.String).filter(chosen)
    messages = rendered.row_messages.filter(pl.col("conversation").is_in(names.implode()))
    by_row = messages.partition_by("conversation", maintain_order=True)
    for number, turns in zip(chosen.arg_true(), by_row, strict=True):
        start, end = rendered.offsets[number : number + 2]
        yield _Row(
            rendered.input_ids[start:end],
            rendered.labels[start:end],
            turns.select("role", "content").to_dicts(),
            _trained_answers(turns, train_on),
        )


def _trained_answers(messages: pl.DataFrame, train_on: TrainOn) -> list[int]:
    answers = messages.with_row_index("place").filter(pl.col("role") == "assistant")
    answers = answers.tail(1) if train_on == "last_assistant" else answers
    return answers.filter("train")["place"].to_list()


class _Reference:
    """What the tokenizer makes of the text that the Jinja template writes, in one go."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.control = tokenizer.control

    def quotes(self, turns: list[dict[str, str]]) -> bool:
        """Whether a content quotes a control token."""
        return any(self.control.quoted_in(turn["content"]) for turn in turns)

    def comparable(self, turns: list[dict[str, str]]) -> str:
        """The conversation as text; contents that quote control tokens are left out."""
        if self.quotes(turns):
            turns = [{**turn, "content": "x"} for turn in turns]
        return self.tokenizer.template.text(turns)

    def prompt(self, row: _Row) -> str | None:
        """What a model is given to make it write the first trained answer.

        None where nobody asks before it, or where the template writes no such prompt.
        """
        before = row.turns[: row.trained[0]]
        try:
            return self.tokenizer.template.text(before, True) if before else None
        except UnrenderableError:
            return None

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of texts, each tokenised in one go."""
        encodings = self.tokenizer.full.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _compare(counts: ParityCounts, row: _Row, expected: list[int], reference: _Reference) -> None:
    counts.compared += 1
    ids = row.ids.tolist()
    if ids != expected:
        counts.differences += 1
        pairs = zip([*ids, None], [*expected, None], strict=False)
        at = next((i for i, (id, wanted) in enumerate(pairs) if id != wanted), len(ids))
        begin = row.turns[0]["content"][:40]
        counts.fail(f"token {at} of the conversation that begins {begin!r} differs")
    bos = reference.control.ids.get(str(reference.tokenizer.config.get("bos_token")))
    if len(ids) > 1 and ids[0] == ids[1] == bos:
        counts.fail("a row begins with the begin token twice")


def _count_control(
    counts: ParityCounts, row: _Row, expected: list[int], reference: _Reference
) -> None:
    counts.quoting += 1
    in_row, written = Counter(row.ids.tolist()), Counter(expected)
    wrong = [token for token, id in reference.control.ids.items() if in_row[id] != written[id]]
    counts.forged += len(wrong)
    if wrong:
        counts.fail(f"content forges {wrong[0]}")


def _check_labels(counts: ParityCounts, row: _Row, tokenizer: Tokenizer) -> bool:
    """Counts the answers of a row: each span of labels must be an answer and its stop tokens.

    Returns whether every answer is trained from its first character.
    """
    stops = tokenizer.stops()
    spans = trained_spans(row.labels).tolist()
    before = counts.texts_returned + counts.texts_altered
    counts.answers += len(row.trained)
    if len(spans) != len(row.trained):
        counts.fail(f"{len(row.trained)} answers are to be trained and {len(spans)} are")
    for (start, end), place in zip(spans, row.trained, strict=False):
        trained = row.labels[start:end].tolist()
        is_stopped = trained[-len(stops) :] == stops
        counts.stops_trained += is_stopped
        answer = trained[: -len(stops)] if is_stopped else trained
        content = row.turns[place]["content"]
        kind = _kind(answer, tokenizer.template.answer_forms(content), tokenizer)
        setattr(counts, kind, getattr(counts, kind) + 1)
        if not is_stopped or kind == "headers_trained":
            counts.fail(f"the labels of the answer {content[:40]!r} are not that answer")
    return counts.texts_returned + counts.texts_altered - before == len(row.trained)


def _kind(trained: list[int], forms: list[str], tokenizer: Tokenizer) -> str:
    """What the trained ids of an answer are, as a field of ParityCounts.

    A first token that also covers the end of the header is never trained, so a little may be
    missing at the start. A tokenizer that normalises gives back what it makes of a text.
    """
    text = tokenizer.decode(trained)
    if text in forms:
        return "texts_returned"
    wholes = [list(tokenizer.text.encode(form, add_special_tokens=False).ids) for form in forms]
    expected = [tokenizer.decode(whole) for whole in wholes]
    if text in expected:
        return "texts_altered"
    for whole, decoded in zip(wholes, expected, strict=True):
        missing = decoded.removesuffix(text)
        if decoded.endswith(text) and (missing.isspace() or len(trained) >= len(whole) - 1):
            return "straddling"
    return "headers_trained"


def _check_prompts(counts: ParityCounts, rows: list[_Row], reference: _Reference) -> None:
    """Counts the rows in which the generation prompt's tokens precede the first trained id."""
    template = reference.tokenizer.template
    if not template.is_explicit:
        # Whether white space is trimmed or merges with the header is not known.
        rows = [row for row in rows if not row.turns[row.trained[0]]["content"][:1].isspace()]
    prompts = {n: prompt for n, row in enumerate(rows) if (prompt := reference.prompt(row))}
    for number, expected in zip(prompts, reference.encode([*prompts.values()]), strict=True):
        row = rows[number]
        first = int(np.flatnonzero(row.labels != IGNORE_INDEX)[0])
        if expected == row.ids[:first].tolist():
            counts.prompts += 1
            continue
        counts.fail(
            f"the end of its generation prompt, {template.generation_prompt[-12:]!r}, becomes "
            "different tokens before an answer than alone, so a model would be trained on what it "
            "is never given"
        )
