"""Proof, made in every build, that rows of tokens say what the template says.

Two things are compared: what `render` made of a conversation, and what the tokenizer makes of
the text that the Jinja template writes, tokenised in one go. They must be equal wherever content
quotes no control token; where it does, the row must hold the template's control tokens and no
more. The probes are hard cases; the sample is rows of the dataset itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.sandbox
import numpy as np
import polars as pl

from chatdata.errors import RenderError
from chatdata.hashing import sha256_json
from chatdata.manifest import IGNORE_INDEX
from chatdata.pieces import Texts
from chatdata.render import Render, Rendered, render
from chatdata.schema import MESSAGES
from chatdata.templates import Template
from chatdata.tokenizer import Tokenizer

SAMPLE = 256  # rows, about

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
    straddling: int = 0  # answers whose first token also covers the end of the header
    first: str = ""  # the first failure, in words

    def add(self, other: Findings) -> None:
        """Adds the counts of another part of the same build."""
        for name in self.__dataclass_fields__:
            if name != "first":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first = self.first or other.first

    def counts(self) -> dict[str, int]:
        """The counts, for the manifest."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "first"}


def certify(tokenizer: Tokenizer, options: Render) -> Findings:
    """What the probes find. Raises RenderError where the template cannot be rendered exactly."""
    probes = _probes(tokenizer.template)
    rendered = render(
        probes, Texts(tokenizer), options.model_copy(update={"train_on": "assistant"})
    )
    all_rows = pl.repeat(True, len(rendered.conversations), eager=True)
    findings = examine(rendered, tokenizer, "assistant", all_rows)
    demand(findings, tokenizer)
    return findings


def demand(findings: Findings, tokenizer: Tokenizer) -> None:
    """Raises RenderError where a comparison found a fault."""
    if findings.first:
        raise RenderError(
            f"template '{tokenizer.template.name}' cannot be rendered exactly with tokenizer "
            f"'{tokenizer.name}': {findings.first}; choose another template or tokenizer."
        )


def manifest_entry(probes: Findings, sample: Findings, tokenizer: Tokenizer) -> dict[str, Any]:
    """The certificate as it stands in the manifest."""
    return {
        "passed": not (probes.first or sample.first),
        "probes": probes.counts(),
        "sample": sample.counts(),
        "template_sha256": sha256_json(tokenizer.template.facts()),
        "tokenizer_sha256": f"sha256:{tokenizer.sha256}",
    }


def examine(rendered: Rendered, tokenizer: Tokenizer, train_on: str, chosen: pl.Series) -> Findings:
    """Compares the chosen rows with their Jinja rendering, and their labels with their answers."""
    findings = Findings()
    jinja = _compile(tokenizer.template)
    names = pl.Series(rendered.conversations, dtype=pl.String).filter(chosen)
    messages = rendered.messages.filter(pl.col("conversation").is_in(names.implode()))
    said = messages.partition_by("conversation", maintain_order=True)
    for row, own in zip(chosen.arg_true(), said, strict=True):
        start, end = rendered.offsets[row : row + 2]
        turns = own.select("role", "content").to_dicts()
        ids, labels = rendered.input_ids[start:end], rendered.labels[start:end]
        findings.rows += 1
        _compare(findings, ids, turns, jinja, tokenizer)
        if train_on in ("assistant", "last_assistant"):
            learnt = _learnt_answers(own, train_on)
            _check_labels(findings, ids, labels, learnt, tokenizer)
    return findings


def _compare(
    findings: Findings,
    ids: np.ndarray[Any, Any],
    turns: list[dict[str, str]],
    jinja: jinja2.Template,
    tokenizer: Tokenizer,
) -> None:
    special = _special_ids(tokenizer)
    if any(token in turn["content"] for turn in turns for token in special):
        findings.quoting += 1
        expected = _encode(jinja, [{**turn, "content": "x"} for turn in turns], tokenizer)
        wrong = [t for t, id in special.items() if (ids == id).sum() != expected.count(id)]
        findings.forged += len(wrong)
        _note(findings, f"content forges {wrong[0]}" if wrong else "")
        return
    expected = _encode(jinja, turns, tokenizer)
    findings.compared += 1
    if ids.tolist() != expected:
        findings.differences += 1
        pairs = zip([*ids.tolist(), None], [*expected, None], strict=False)
        at = next((i for i, (own, other) in enumerate(pairs) if own != other), len(ids))
        first = turns[0]["content"][:40]
        _note(findings, f"token {at} of the conversation that begins {first!r} differs")


def _check_labels(
    findings: Findings,
    ids: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    answers: Sequence[str],
    tokenizer: Tokenizer,
) -> None:
    """Each stretch of labels must be one answer and its end token, and nothing else."""
    stop = tokenizer.id(tokenizer.template.stop)
    lead = tokenizer.template.turns["assistant"].lead
    stretches = list(_stretches(labels))
    findings.answers += len(answers)
    if len(stretches) != len(answers):
        _note(findings, f"{len(answers)} answers are to be trained and {len(stretches)} are")
    for stretch, answer in zip(stretches, answers, strict=False):
        *trained, last = labels[stretch].tolist()
        text, whole = tokenizer.decode(trained), _there_and_back(lead + answer, tokenizer)
        is_end = whole.endswith(text)
        findings.stops_trained += last == stop
        findings.texts_returned += text == whole
        findings.straddling += is_end and text != whole
        findings.headers_trained += not is_end
        if last != stop or not is_end:
            _note(findings, f"the labels of the answer {answer[:40]!r} are not that answer")


def _there_and_back(text: str, tokenizer: Tokenizer) -> str:
    """What a tokenizer that normalises makes of a text."""
    return tokenizer.decode(tokenizer.text.encode(text, add_special_tokens=False).ids)


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """All control tokens, the template's and the tokenizer's own."""
    added = tokenizer.full.get_added_tokens_decoder()
    own = {token.content: id for id, token in added.items() if token.special}
    return own | tokenizer.control_ids()


def _stretches(labels: np.ndarray[Any, Any]) -> Iterator[slice]:
    """Yields the stretches of trained labels; there is untrained text between two answers."""
    trained = labels != IGNORE_INDEX
    edges = np.flatnonzero(np.diff(np.concatenate([[0], trained.view(np.int8), [0]])))
    for start, end in edges.reshape(-1, 2).tolist():
        yield slice(start, end)


def _note(findings: Findings, problem: str) -> None:
    findings.first = findings.first or problem


def _learnt_answers(messages: pl.DataFrame, train_on: str) -> list[str]:
    answers = messages.filter(pl.col("role") == "assistant")
    answers = answers.tail(1) if train_on == "last_assistant" else answers
    return answers.filter("train")["content"].to_list()


# -------------------------------------------------------------------------------------- jinja


def _compile(template: Template) -> jinja2.Template:
    """The template as transformers compiles it."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    return environment.from_string(template.jinja())


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _encode(jinja: jinja2.Template, turns: list[dict[str, str]], tokenizer: Tokenizer) -> list[int]:
    text = jinja.render(messages=turns, add_generation_prompt=False)
    return list(tokenizer.full.encode(text, add_special_tokens=False).ids)


# ------------------------------------------------------------------------------------- probes


def _probes(template: Template) -> pl.DataFrame:
    """Conversations of hard contents, in every place, and contents that quote control tokens."""
    contents = [*_CONTENTS, *(f"I say {token} and\n{token}" for token in template.special_tokens)]
    rows: list[dict[str, Any]] = []
    for number, content in enumerate(contents):
        other = contents[(number * 7 + 3) % len(_CONTENTS)]
        _add(rows, f"answer-{number}", [("user", other), ("assistant", content)])
        turns = [("system", content), ("user", content), ("assistant", content)]
        _add(rows, f"everywhere-{number}", turns + turns[1:])
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
