"""Proof, made in every build, that rows of tokens say what the template says.

Two things are compared: what `render` made of a conversation, and what the tokenizer makes of
the text that the Jinja template writes, tokenised in one go. They must be equal wherever content
quotes no control token; where it does, the row must hold the template's control tokens and no
more. The probes are hard cases; the sample is rows of the dataset itself.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import RenderError
from chatdata.core.hashing import sha256_json
from chatdata.render import probes
from chatdata.render.chat_template import lost
from chatdata.render.conversation import (
    Message,
    Tools,
    UnrenderableError,
    as_messages,
    spoken,
    texts_of,
    tools_of,
    with_message_texts,
    with_texts,
)
from chatdata.render.entries import CertificateEntry, EncoderEntry, ParityEntry
from chatdata.render.fit import Fitted, fit
from chatdata.render.options import Render
from chatdata.render.parts import TrainParts
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.segments.unencoded import TrainOn
from chatdata.render.serving import Serving
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
    # What stands before the trained ids of an answer; these five add up to `answers`.
    prompts: int = 0  # the ids of its generation prompt
    thoughts: int = 0  # these, and a thought without words that the template writes
    straddling: int = 0  # these, but for a token that also covers the start of the answer
    unasked: int = 0  # nothing that makes a model answer
    in_quoting: int = 0  # not compared: the row quotes a control token
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
    fitted = _fit_probes(pool, probe_options)
    rendered = render(fitted.messages, fitted.windows, pool, probe_options)
    all_rows = pl.repeat(True, len(rendered.ids), eager=True)
    counts = compare_rows(rendered, tokenizer, "assistant", all_rows)
    _check_reference(counts, _chosen_rows(rendered, "assistant", all_rows), tokenizer)
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


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of tokens, and the conversation that it should hold."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    turns: list[dict[str, Any]]
    tools: Tools | None
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
    expected = reference.encode([reference.comparable(row) for row in rows])
    answers: list[_Answer] = []
    for row, ids in zip(rows, expected, strict=True):
        counts.rows += 1
        quotes = reference.quotes(row)
        (_count_control if quotes else _compare)(counts, row, ids, reference)
        if train_on in ("assistant", "last_assistant"):
            answers += _answers(counts, row, reference, quotes)
        elif isinstance(train_on, TrainParts):
            _check_parts(counts, row, tokenizer, train_on)
    _check_prompts(counts, answers, reference)
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
            as_messages(turns),
            tools_of(turns),
            _trained_answers(turns, train_on),
        )


def _trained_answers(messages: pl.DataFrame, train_on: TrainOn) -> list[int]:
    answers = messages.with_row_index("place").filter(pl.col("role") == "assistant")
    answers = answers.tail(1) if train_on == "last_assistant" else answers
    return answers.filter("train")["place"].to_list()


class _Reference:
    """What serving code makes of a conversation: the text of its Jinja template, in one go."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.control = tokenizer.control

    def quotes(self, row: _Row) -> bool:
        """Whether a message or a tool quotes a control token."""
        texts = itertools.chain(*map(spoken, row.turns), texts_of(row.tools))
        return any(self.control.quoted_in(text) for text in texts)

    def comparable(self, row: _Row) -> str:
        """The conversation as text, the control tokens that it quotes hidden."""
        if not self.quotes(row):
            return self.text(row, len(row.turns))
        turns = [with_message_texts(turn, self.control.hide) for turn in row.turns]
        return self.tokenizer.template.text(turns, tools=with_texts(row.tools, self.control.hide))

    def text(self, row: _Row, turns: int) -> str:
        """The text of the first turns of a row."""
        return self.tokenizer.template.text(row.turns[:turns], tools=row.tools)

    def prompt(self, row: _Row, place: int) -> str | None:
        """What a model is given to make it write an answer.

        None where nobody asks before it, or where the template writes no such prompt.
        """
        before = row.turns[:place]
        try:
            return self.tokenizer.template.text(before, True, row.tools) if before else None
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
        begin = (row.turns[0]["content"] or "")[:40]
        counts.fail(f"token {at} of the conversation that begins {begin!r} differs")
    bos = reference.control.ids.get(str(reference.tokenizer.config.get("bos_token")))
    if len(ids) > 1 and ids[0] == ids[1] == bos:
        counts.fail("a row begins with the begin token twice")


def _check_reference(counts: ParityCounts, rows: Iterator[_Row], tokenizer: Tokenizer) -> None:
    """Checks that what rows are compared with is what serving code writes of the same messages.

    A template may itself change messages, so that its rows and its text have the same fault.
    """
    serving, reference = Serving(tokenizer), _Reference(tokenizer)
    for row in rows:
        text = reference.text(row, len(row.turns))
        if not serving.writes(text, row.turns, row.tools):
            begin = (row.turns[0]["content"] or "")[:40]
            counts.fail(
                "the Jinja that goes to the tokenizer writes another text for the conversation "
                f"that begins {begin!r} than the template does"
            )


def _count_control(
    counts: ParityCounts, row: _Row, expected: list[int], reference: _Reference
) -> None:
    counts.quoting += 1
    in_row, written = Counter(row.ids.tolist()), Counter(expected)
    wrong = [token for token, id in reference.control.ids.items() if in_row[id] != written[id]]
    counts.forged += len(wrong)
    if wrong:
        counts.fail(f"content forges {wrong[0]}")


# ------------------------------------------------------------------------------------- answers


class _Answer(NamedTuple):
    """The trained ids of an answer whose text is right, and what a model is given before."""

    before: list[int]  # all ids of the row before the first that is trained
    prompt: str
    lead: str  # what the template writes after the prompt and the labels leave out


def _answers(
    counts: ParityCounts, row: _Row, reference: _Reference, quotes: bool
) -> Iterator[_Answer]:
    """Yields the answers of a row that can be compared with their prompts.

    Counts all of them: each span of labels must be what the template writes for an answer, from
    the end of the generation prompt to the last token that the model has to write.
    """
    spans = trained_spans(row.labels).tolist()
    counts.answers += len(row.trained)
    if len(spans) != len(row.trained):
        counts.fail(f"{len(row.trained)} answers are to be trained and {len(spans)} are")
    for (start, end), place in zip(spans, row.trained, strict=False):
        trained = row.labels[start:end].tolist()
        counts.stops_trained += _is_stopped(trained, row.turns[place], reference.tokenizer)
        prompt = reference.prompt(row, place)
        kind, lead = _kind(trained, row, place, prompt, reference)
        setattr(counts, kind, getattr(counts, kind) + 1)
        if kind == "headers_trained" or not _is_stopped(
            trained, row.turns[place], reference.tokenizer
        ):
            shown = (row.turns[place]["content"] or "")[:40]
            counts.fail(f"the labels of the answer {shown!r} are not that answer")
        elif kind == "straddling":
            continue
        elif quotes:
            counts.in_quoting += 1
        elif prompt is None:
            counts.unasked += 1
        else:
            yield _Answer(row.ids[:start].tolist(), prompt, lead)


_TELLING = 4  # characters of a text that is not learnt, above which it is no chance to find it


def _check_parts(counts: ParityCounts, row: _Row, tokenizer: Tokenizer, parts: TrainParts) -> None:
    """Checks that the labels of a row hold the parts that are learnt, and not the others."""
    learnt = row.labels[row.labels != IGNORE_INDEX].tolist()
    text = _without_space(tokenizer.decode(learnt))
    stops = sum(id in tokenizer.stops() for id in learnt)
    counts.answers += len(row.trained)
    counts.stops_trained += stops
    if (stops > 0) != (parts.end and bool(row.trained)):
        counts.fail(f"of {len(row.trained)} answers {stops} end with a trained end token")
    for place in row.trained:
        for name, words in _words_of_parts(row.turns[place]).items():
            is_learnt = _without_space(words) in text
            if is_learnt != getattr(parts, name) and (not is_learnt or len(words) > _TELLING):
                is_wrong = "not learnt" if getattr(parts, name) else "learnt"
                counts.fail(f"the {name} {words[:40]!r} of turn {place} is {is_wrong}")


def _words_of_parts(message: Message) -> dict[str, str]:
    """The words by which the parts of an answer are known."""
    calls = message.get("tool_calls") or ()
    return {
        "answer": message["content"] or "",
        "reasoning": message.get("reasoning_content") or "",
        "tool_calls": calls[0]["function"]["name"] if calls else "",
    }


def _without_space(text: str) -> str:
    return "".join(text.split())


def _is_stopped(trained: list[int], message: Message, tokenizer: Tokenizer) -> bool:
    """Whether the trained ids of an answer end with what stops a model.

    Some templates end a call of a tool with a control token of its own.
    """
    stops = tokenizer.stops()
    if trained[-len(stops) :] == stops:
        return True
    return "tool_calls" in message and trained[-1] in tokenizer.control.ids.values()


def _kind(
    trained: list[int], row: _Row, place: int, prompt: str | None, reference: _Reference
) -> tuple[str, str]:
    """What the trained ids of an answer are, as a field of ParityCounts, and the untrained lead.

    A first token that also covers the end of the header is never trained, so a little may be
    missing at the start. A tokenizer that normalises gives back what it makes of a text.
    """
    tokenizer = reference.tokenizer
    text = tokenizer.decode(trained)
    message = row.turns[place]
    if prompt is None:
        is_whole = lost.from_answer(text, message) is None
        return ("texts_returned" if is_whole else "headers_trained"), ""
    body = reference.text(row, place + 1)
    if not body.startswith(prompt):
        return "headers_trained", ""
    body = body[len(prompt) :]
    leads = _leads(body, message, tokenizer)
    if lost.from_answer(text, message) is None:
        for lead in leads:
            if body.startswith(text, len(lead)):
                return "texts_returned", lead
    kinds = [(_altered(trained, text, body[len(lead) :], tokenizer), lead) for lead in leads]
    return min(kinds, key=lambda kind: _ORDER.index(kind[0]))


_ORDER = ("texts_altered", "straddling", "headers_trained")


def _leads(body: str, message: Message, tokenizer: Tokenizer) -> list[str]:
    """What may stand between the prompt and the trained text of an answer: nothing, or a thought
    without words before an answer without reasoning."""
    empty = tokenizer.template.empty_thought
    if empty and not message.get("reasoning_content") and body.startswith(empty):
        return [empty, ""]
    return [""]


def _altered(trained: list[int], text: str, body: str, tokenizer: Tokenizer) -> str:
    """What the trained ids of an answer are whose text is not that of the template (`body`)."""
    ends = list(tokenizer.control.pattern.finditer(body))
    forms = [body[: match.end()] for match in ends]
    wholes = [list(tokenizer.full.encode(form, add_special_tokens=False).ids) for form in forms]
    for match in ends:  # control tokens that stand before this end are quoted, so they are text
        before = tokenizer.text.encode(body[: match.start()], add_special_tokens=False).ids
        wholes.append([*before, tokenizer.control.ids[match[0]]])
    expected = [tokenizer.decode(whole) for whole in wholes]
    if text in expected:
        return "texts_altered"
    for whole, decoded in zip(wholes, expected, strict=True):
        missing = decoded.removesuffix(text)
        if decoded.endswith(text) and (missing.isspace() or len(trained) >= len(whole) - 1):
            return "straddling"
    return "headers_trained"


def _check_prompts(counts: ParityCounts, answers: list[_Answer], reference: _Reference) -> None:
    """Counts the answers before which the ids of the generation prompt stand."""
    given = reference.encode([answer.prompt + answer.lead for answer in answers])
    for answer, ids in zip(answers, given, strict=True):
        if answer.before == ids:
            counts.prompts += not answer.lead
            counts.thoughts += bool(answer.lead)
        else:
            end = reference.tokenizer.template.generation_prompt[-12:]
            counts.fail(
                f"the end of its generation prompt, {end!r}, becomes different tokens before an "
                "answer than alone, so a model would be trained on what it is never given"
            )
    if counts.straddling and not counts.prompts + counts.thoughts:
        counts.fail(
            "the first token of every answer also covers the end of its generation prompt, so no "
            "answer begins where a model begins"
        )
