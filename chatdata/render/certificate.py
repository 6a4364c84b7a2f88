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
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import RenderError
from chatdata.core.hashing import sha256_json
from chatdata.core.schema import MESSAGES
from chatdata.render import chat_template
from chatdata.render.chat_template import ChatTemplate, UnrenderableError
from chatdata.render.rows import Render, Rendered, fit, render
from chatdata.render.segments import Texts, value_of
from chatdata.render.token_spans import trained_spans
from chatdata.render.tokenizer import Tokenizer

SAMPLE = 128  # rows, about
_LEAST_PROBES = 20

_CONTENTS = (
    "Hello, can you help me?",
    "",
    " ",
    "\n",
    "\n\n",
    "\t\tindented",
    "  leading spaces",
    "\n\nleading newlines",
    "trailing spaces   ",
    "trailing newlines\n\n",
    "1234567890 3.14 ٣ ½ Ⅷ",
    "can't won't we'll 'tis",
    "def f(a):\n\n\n    return a[0]\n",
    "émigré naïve e\u0301 \u0300",
    "日本語の文章。한국어 العربية עברית",
    "👩‍👩‍👧 🏳️‍🌈",
    "zero\u200bwidth \u00a0 nbsp",
    "control\x00\x01\x1b characters",
    "x" * 3000,
    "Human: hi\n\nAssistant: hello",
    "<think>so</think>{{ messages }}{% raw %}",
)


@dataclass(slots=True)
class Findings:
    """What a comparison found. `differences` and `forged` must be 0, the other counts say how
    much was looked at."""

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
    prompts: int = 0  # first trained ids that stand behind the generation prompt, token by token
    first: str = ""  # the first failure, in words

    def __add__(self, more: Findings) -> Findings:
        """The findings in both, with the first failure of the two."""
        counts = self.counts(), more.counts()
        sums = {name: number + counts[1][name] for name, number in counts[0].items()}
        return Findings(**sums, first=self.first or more.first)

    def counts(self) -> dict[str, int]:
        """The counts, for the manifest."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "first"}


def certify(tokenizer: Tokenizer, options: Render) -> Findings:
    """What the probes find. Raises RenderError where the template cannot be rendered exactly."""
    if options.train_on == "assistant_with_header" and value_of(tokenizer.template) is None:
        raise RenderError(
            "train_on is assistant_with_header, and where a header begins is not known of the "
            "chat template of this tokenizer; write train_on: assistant."
        )
    probes = _probes(tokenizer)
    own = options.model_copy(update={"train_on": "assistant", "max_tokens": None})
    texts = Texts(tokenizer)
    fitted = fit(probes, texts, own)
    rendered = render(fitted.messages, fitted.windows, texts, own)
    all_rows = pl.repeat(True, len(rendered.ids), eager=True)
    findings = examine(rendered, tokenizer, "assistant", all_rows)
    if findings.compared < _LEAST_PROBES and not findings.first:
        reason = fitted.events.filter(pl.col("unit") == "conversation")["detail"].to_list()
        findings.first = f"too few probes can be written ({findings.compared}; {reason[:1]})"
    demand(findings, tokenizer)
    return findings


def demand(findings: Findings, tokenizer: Tokenizer) -> None:
    """Raises RenderError where a comparison found a fault."""
    if findings.first:
        raise RenderError(
            f"template '{tokenizer.template.name}' cannot be rendered exactly with tokenizer "
            f"'{tokenizer.name}': {findings.first}; choose another template or tokenizer."
        )


def manifest_entry(
    probes: Findings, sample: Findings, tokenizer: Tokenizer, engine: dict[str, Any]
) -> dict[str, Any]:
    """The certificate as it stands in the manifest; `engine` says what made the ids."""
    return {
        "passed": not (probes.first or sample.first),
        "probes": probes.counts(),
        "sample": sample.counts(),
        "engine": engine,
        "template_sha256": sha256_json(tokenizer.template.facts()),
        "tokenizer_sha256": f"sha256:{tokenizer.sha256}",
    }


# ---------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of tokens, and the messages that it should say."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    turns: list[dict[str, str]]
    learnt: list[int]  # the turns that are trained, by their place


def examine(rendered: Rendered, tokenizer: Tokenizer, train_on: str, chosen: pl.Series) -> Findings:
    """Compares the chosen rows with their Jinja rendering, and their labels with their answers."""
    findings = Findings()
    reference = _Reference(tokenizer)
    rows = list(_chosen_rows(rendered, train_on, chosen))
    expected = reference.encode([reference.comparable(row.turns) for row in rows])
    exact: list[_Row] = []
    for row, ids in zip(rows, expected, strict=True):
        findings.rows += 1
        quotes = reference.quotes(row.turns)
        (_count_control if quotes else _compare)(findings, row, ids, reference)
        if train_on in ("assistant", "last_assistant"):
            is_exact = _check_labels(findings, row, tokenizer)
            exact += [row] if is_exact and not quotes and row.learnt else []
    _check_prompts(findings, exact, reference)
    return findings


def _chosen_rows(rendered: Rendered, train_on: str, chosen: pl.Series) -> Iterator[_Row]:
    names = pl.Series(rendered.ids, dtype=pl.String).filter(chosen)
    said = rendered.said.filter(pl.col("conversation").is_in(names.implode()))
    by_row = said.partition_by("conversation", maintain_order=True)
    for row, own in zip(chosen.arg_true(), by_row, strict=True):
        start, end = rendered.offsets[row : row + 2]
        yield _Row(
            rendered.input_ids[start:end],
            rendered.labels[start:end],
            own.select("role", "content").to_dicts(),
            _learnt_answers(own, train_on),
        )


def _learnt_answers(messages: pl.DataFrame, train_on: str) -> list[int]:
    places = messages.with_row_index("place").filter(pl.col("role") == "assistant")
    places = places.tail(1) if train_on == "last_assistant" else places
    return places.filter("train")["place"].to_list()


class _Reference:
    """What the tokenizer makes of the text that the Jinja template writes, in one go."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = tokenizer.special_ids()
        self.pattern = tokenizer.pattern()
        self.variables: dict[str, Any] = {}
        self.date = None
        if isinstance(tokenizer.template, ChatTemplate):
            self.variables = dict(tokenizer.template.variables)
            self.date = tokenizer.template.date
        self.source = tokenizer.template.jinja()

    def quotes(self, turns: list[dict[str, str]]) -> bool:
        """Whether a content quotes a control token."""
        return any(self.pattern.search(turn["content"]) for turn in turns)

    def comparable(self, turns: list[dict[str, str]]) -> str:
        """The conversation as text; contents that quote control tokens are left out."""
        if self.quotes(turns):
            turns = [{**turn, "content": "x"} for turn in turns]
        return self.text(turns)

    def text(self, turns: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
        """The conversation as the template writes it."""
        return chat_template.render(
            self.source, self.variables, self.date, turns, add_generation_prompt
        )

    def prompt(self, row: _Row) -> str | None:
        """What a model is given to make it write the first trained answer; None where nobody asks
        before it, or where the template writes no such prompt."""
        before = row.turns[: row.learnt[0]]
        try:
            return self.text(before, True) if before else None
        except UnrenderableError:
            return None

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of texts, each tokenised in one go."""
        encodings = self.tokenizer.full.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _compare(findings: Findings, row: _Row, expected: list[int], reference: _Reference) -> None:
    findings.compared += 1
    ids = row.ids.tolist()
    if ids != expected:
        findings.differences += 1
        pairs = zip([*ids, None], [*expected, None], strict=False)
        at = next((i for i, (own, other) in enumerate(pairs) if own != other), len(ids))
        first = row.turns[0]["content"][:40]
        _note(findings, f"token {at} of the conversation that begins {first!r} differs")
    bos = reference.special.get(str(reference.tokenizer.config.get("bos_token")))
    if len(ids) > 1 and ids[0] == ids[1] == bos:
        _note(findings, "a row begins with the begin token twice")


def _count_control(
    findings: Findings, row: _Row, expected: list[int], reference: _Reference
) -> None:
    findings.quoting += 1
    own, written = Counter(row.ids.tolist()), Counter(expected)
    wrong = [token for token, id in reference.special.items() if own[id] != written[id]]
    findings.forged += len(wrong)
    _note(findings, f"content forges {wrong[0]}" if wrong else "")


def _check_labels(findings: Findings, row: _Row, tokenizer: Tokenizer) -> bool:
    """Each span of labels must be one answer and its stop tokens, and nothing else.

    Returns whether every answer is there from its first character.
    """
    stops = tokenizer.stops()
    spans = trained_spans(row.labels).tolist()
    before = findings.texts_returned + findings.texts_altered
    findings.answers += len(row.learnt)
    if len(spans) != len(row.learnt):
        _note(findings, f"{len(row.learnt)} answers are to be trained and {len(spans)} are")
    for (start, end), place in zip(spans, row.learnt, strict=False):
        trained = row.labels[start:end].tolist()
        stopped = trained[-len(stops) :] == stops
        findings.stops_trained += stopped
        own = trained[: -len(stops)] if stopped else trained
        kind = _kind(own, _bodies(row.turns[place]["content"], tokenizer), tokenizer)
        setattr(findings, kind, getattr(findings, kind) + 1)
        if not stopped or kind == "headers_trained":
            answer = row.turns[place]["content"][:40]
            _note(findings, f"the labels of the answer {answer!r} are not that answer")
    return findings.texts_returned + findings.texts_altered - before == len(row.learnt)


def _kind(trained: list[int], bodies: list[str], tokenizer: Tokenizer) -> str:
    """What the trained ids of an answer are, as a field of Findings.

    A first token that also covers the end of the header is never trained, so a little may be
    missing at the start. A tokenizer that normalises gives back what it makes of a text.
    """
    text = tokenizer.decode(trained)
    if text in bodies:
        return "texts_returned"
    wholes = [list(tokenizer.text.encode(body, add_special_tokens=False).ids) for body in bodies]
    expected = [tokenizer.decode(whole) for whole in wholes]
    if text in expected:
        return "texts_altered"
    for whole, words in zip(wholes, expected, strict=True):
        missing = words.removesuffix(text)
        if words.endswith(text) and (missing.isspace() or len(trained) >= len(whole) - 1):
            return "straddling"
    return "headers_trained"


def _bodies(content: str, tokenizer: Tokenizer) -> list[str]:
    """An answer as the template may write it."""
    value = value_of(tokenizer.template)
    if value is None:
        assert isinstance(tokenizer.template, ChatTemplate)
        return tokenizer.template.bodies(content)
    turn = value.turns["assistant"]
    return [turn.lead + (content.strip() if turn.trims else content)]


def _check_prompts(findings: Findings, rows: list[_Row], reference: _Reference) -> None:
    """What precedes the first trained id must be what a model is given to make it speak."""
    if value_of(reference.tokenizer.template) is None:
        # Whether white space is trimmed or merges with the header is not known.
        rows = [row for row in rows if not row.turns[row.learnt[0]]["content"][:1].isspace()]
    prompts = {n: prompt for n, row in enumerate(rows) if (prompt := reference.prompt(row))}
    for number, expected in zip(prompts, reference.encode([*prompts.values()]), strict=True):
        row = rows[number]
        first = int(np.flatnonzero(row.labels != IGNORE_INDEX)[0])
        if expected == row.ids[:first].tolist():
            findings.prompts += 1
            continue
        end = reference.tokenizer.template.generation_prompt[-12:]
        _note(
            findings,
            f"the end of its generation prompt, {end!r}, is other tokens before an answer than "
            "alone, so a model would be trained on what it is never given",
        )


def _note(findings: Findings, problem: str) -> None:
    findings.first = findings.first or problem


# ------------------------------------------------------------------------------------- probes


def _probes(tokenizer: Tokenizer) -> pl.DataFrame:
    """Conversations of hard contents, in every place, and contents that quote control tokens."""
    quoted = [f"I say {token} and\n{token}" for token in tokenizer.control_ids()]
    contents = [*_CONTENTS, *quoted]
    rows: list[dict[str, Any]] = []
    for number, content in enumerate(contents):
        other = contents[(number * 7 + 3) % len(_CONTENTS)]
        _add(rows, f"answer-{number}", [("user", other), ("assistant", content)])
        turns = [("system", content), ("user", content), ("assistant", content)]
        _add(rows, f"everywhere-{number}", turns + turns[1:])
        _add(rows, f"several-{number}", [*turns[1:], ("user", other), ("assistant", content)])
    _add(rows, "long", [("user", "go on"), ("assistant", "on")] * 100)
    return pl.DataFrame(rows, schema=MESSAGES)


def _add(rows: list[dict[str, Any]], name: str, turns: list[tuple[str, str]]) -> None:
    for position, (role, content) in enumerate(turns):
        rows.append(
            {
                "conversation": name,
                "group": name,
                "position": position,
                "message": f"{name}#{position}",
                "role": role,
                "content": content,
                "train": role == "assistant",
                "source": "probe",
            }
        )
