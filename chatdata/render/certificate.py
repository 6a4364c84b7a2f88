"""Proof, made in every build, that rows of tokens say what the template says.

Two things are compared: what `render` made of a conversation, and what the tokenizer makes of
the text that the Jinja template writes, tokenised in one go. They must be equal wherever content
quotes no control token; where it does, the row must hold the template's control tokens and no
more. The probes are hard cases; the sample is rows of the dataset itself. A build may know from its
cache what it counts in rows that the same versions have compared.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import polars as pl

from chatdata.core.errors import RenderError
from chatdata.core.hashing import sha256_json
from chatdata.render import probes
from chatdata.render.answer_checks import Answer, check_answers, check_prompts
from chatdata.render.conversation import as_message, tools_of, variables_of
from chatdata.render.entries import CertificateEntry, EncoderEntry, ParityEntry
from chatdata.render.fit import Fitted, fit
from chatdata.render.long_prompts import WholeRow, shortened
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts, Reference, Row
from chatdata.render.parts import TrainParts, narrowed
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn, learnt_parts
from chatdata.render.serving import Serving
from chatdata.render.tokenizer import Tokenizer

SAMPLE = 128  # rows, about
_LEAST_PROBES = 20


def sample_share(rows: int) -> float:
    """The share of so many rows that is compared, which gives about SAMPLE of them or some more.

    It is rounded up to eighths of a power of two, so that a few rows more leave the sample alone.
    """
    mantissa, exponent = math.frexp(SAMPLE / max(1, rows))
    return min(1.0, math.ldexp(math.ceil(mantissa * 16) / 16, exponent))


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
    fitted = _fit_probes(pool, probe_options)
    rendered = render(fitted.messages, fitted.windows, pool, probe_options)
    all_rows = pl.repeat(True, len(rendered.ids), eager=True)
    rows = chosen_rows(rendered, "assistant", all_rows)
    counts = compare(rows, tokenizer, "assistant")
    _check_reference(counts, (row for row in rows if not row.variables), tokenizer)
    if counts.compared < _LEAST_PROBES:
        reason = fitted.outcomes.filter(pl.col("unit") == "conversation")["detail"].to_list()
        counts.fail(f"too few probes can be written ({counts.compared}; {reason[:1]})")
    if not counts.prompts + counts.thoughts:
        counts.fail(
            f"no answer stands behind its generation prompt, of {counts.answers} that were tried"
        )
    raise_on_failure(counts, tokenizer)
    return counts


def _fit_probes(pool: TextPool, options: Render) -> Fitted:
    """The probes that the template writes; with thoughts, where it writes no answer without."""
    plain, more = probes.probe_conversations(pool.tokenizer), probes.structured_conversations()
    fitted = fit(pl.concat([plain, more]), pool, options)
    if fitted.messages["conversation"].is_in(plain["conversation"].implode()).any():
        return fitted
    return fit(pl.concat([probes.with_reasoning(plain), more]), pool, options)


def raise_on_failure(counts: ParityCounts, tokenizer: Tokenizer) -> None:
    """Raises RenderError where a comparison failed."""
    if counts.first_failure:
        raise RenderError(
            f"template '{tokenizer.template.name}' cannot be rendered exactly with tokenizer "
            f"'{tokenizer.name}': {counts.first_failure}; choose another template or tokenizer."
        )


def manifest_entry(
    of_probes: ParityCounts, sample: ParityCounts, tokenizer: Tokenizer, encoder: EncoderEntry
) -> CertificateEntry:
    """The certificate as it stands in the manifest; `encoder` says what made the ids."""
    return CertificateEntry(
        passed=not (of_probes.first_failure or sample.first_failure),
        probes=ParityEntry.model_validate(of_probes.counts()),
        sample=ParityEntry.model_validate(sample.counts()),
        engine=encoder,
        template_sha256=sha256_json(tokenizer.template.facts()),
        tokenizer_sha256=f"sha256:{tokenizer.sha256}",
    )


# ---------------------------------------------------------------------------------------- rows


def compare_rows(
    rendered: Rendered, tokenizer: Tokenizer, train_on: TrainOn, chosen: pl.Series
) -> ParityCounts:
    """Compares the chosen rows with their Jinja rendering, and their labels with their answers.

    `chosen` is a mask of the rows.
    """
    return compare(chosen_rows(rendered, train_on, chosen), tokenizer, train_on)


def compare(rows: Sequence[Row], tokenizer: Tokenizer, train_on: TrainOn) -> ParityCounts:
    """Compares rows with their Jinja rendering, and their labels with their answers."""
    counts = ParityCounts()
    reference = Reference(tokenizer)
    check_prompts(counts, _answers(counts, rows, reference, train_on), reference)
    _check_reference(counts, (row for row in rows if row.variables), tokenizer)
    return counts


def _answers(
    counts: ParityCounts, rows: Iterable[Row], reference: Reference, train_on: TrainOn
) -> Iterator[Answer]:
    """Yields the answers of rows that are compared with their prompts, and compares the rows."""
    expected = reference.encode(reference.comparable(row) for row in rows)
    for number, (row, ids) in enumerate(zip(rows, expected, strict=True)):
        counts.rows += 1
        quotes = reference.quotes(row)
        (_count_control if quotes else _compare)(counts, row, ids, reference)
        answers = check_answers(counts, row, reference, quotes, train_on)
        whole = WholeRow(reference.comparable(row), ids, reference.control)
        yield from shortened(answers, whole, number)


def chosen_rows(rendered: Rendered, train_on: TrainOn, chosen: pl.Series) -> list[Row]:
    """The rows of a mask, in an order that depends on their ids alone."""
    rows = _chosen_rows(rendered, train_on, chosen)
    return sorted(rows, key=lambda row: row.ids.tobytes())


def _chosen_rows(rendered: Rendered, train_on: TrainOn, chosen: pl.Series) -> Iterator[Row]:
    names = pl.Series(rendered.ids, dtype=pl.String).filter(chosen)
    messages = rendered.row_messages.filter(pl.col("conversation").is_in(names.implode()))
    by_row = itertools.groupby(messages.iter_rows(named=True), itemgetter("conversation"))
    for number, (_, grouped) in zip(chosen.arg_true(), by_row, strict=True):
        turns = list(grouped)
        start, end = rendered.offsets[number : number + 2]
        trained, parts = _trained_answers(turns, train_on)
        yield Row(
            rendered.input_ids[start:end],
            rendered.labels[start:end],
            list(map(as_message, turns)),
            tools_of(turns),
            variables_of(turns),
            trained,
            parts,
        )


def _trained_answers(
    turns: Sequence[Mapping[str, Any]], train_on: TrainOn
) -> tuple[list[int], dict[int, TrainParts]]:
    """The places of answers that are trained, and the parts of those that name parts."""
    answers = [(place, turn) for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    answers = answers[-1:] if train_on == "last_assistant" else answers
    named = {place: turn["train_parts"] for place, turn in answers if turn["train"]}
    of_recipe = learnt_parts(train_on)
    return [*named], {at: narrowed(of_recipe, names) for at, names in named.items() if names}


def _compare(counts: ParityCounts, row: Row, expected: list[int], reference: Reference) -> None:
    counts.compared += 1
    ids = row.ids.tolist()
    if ids != expected:
        counts.differences += 1
        pairs = zip([*ids, None], [*expected, None], strict=False)
        at = next((i for i, (id, wanted) in enumerate(pairs) if id != wanted), len(ids))
        begin = (row.turns[0]["content"] or "")[:40]
        counts.fail(f"token {at} of the conversation that begins {begin!r} differs")
    bos = reference.control.ids.get(str(reference.tokenizer.config.get("bos_token")))
    if len(ids) > 1 and ids[0] == ids[1] == bos:
        counts.fail("a row begins with the begin token twice")


def _check_reference(counts: ParityCounts, rows: Iterator[Row], tokenizer: Tokenizer) -> None:
    """Checks that what rows are compared with is what serving code writes of the same messages.

    A template may itself change messages, so that its rows and its text have the same fault.
    """
    serving, reference = Serving(tokenizer), Reference(tokenizer)
    for row in rows:
        given, text = reference.given(row), reference.comparable(row)
        if not serving.writes(text, given.turns, given.tools, given.variables):
            begin = (row.turns[0]["content"] or "")[:40]
            counts.fail(
                "the Jinja that goes to the tokenizer writes another text for the conversation "
                f"that begins {begin!r} than the template does"
            )


def _count_control(
    counts: ParityCounts, row: Row, expected: list[int], reference: Reference
) -> None:
    counts.quoting += 1
    in_row, written = Counter(row.ids.tolist()), Counter(expected)
    wrong = [token for token, id in reference.control.ids.items() if in_row[id] != written[id]]
    counts.forged += len(wrong)
    if wrong:
        counts.fail(f"content forges {wrong[0]}")
