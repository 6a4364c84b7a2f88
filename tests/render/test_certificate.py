"""Faults of templates with reasoning and tools, planted, and caught by the certificate in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.core.errors import RenderError
from chatdata.render import answer_checks, built_in, certificate
from chatdata.render.built_in import BuiltInTemplate
from chatdata.render.conversation import Message, Messages, Tools, UnrenderableError
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.render.rows import render
from chatdata.render.segments.from_text import Answer
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer
from tests.support.carrying import carry, load
from tests.support.conversations import table
from tests.support.templates import HEAD, TURN

OPTIONS = Render(tokenizer="bytes", template="chatml")
STOP = "<|im_end|>"
Written = tuple[str, list[Answer]]
Change = Callable[[Message], dict[str, Any]]


def flat(message: Message) -> dict[str, Any]:
    """The message with its reasoning as words between tags, as many data sets have it."""
    reasoning = message.get("reasoning_content")
    if not reasoning:
        return dict(message)
    words = f"<think>{reasoning}</think>{message['content'] or ''}"
    return {k: v for k, v in message.items() if k != "reasoning_content"} | {"content": words}


class Flattening(BuiltInTemplate):
    """Rows in which reasoning is words; serving writes reasoning as the template does."""

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> Written:
        return super().write(list(map(flat, messages)), wanted, tools)


class FlatteningTwice(Flattening):
    """Rows, and what they are compared with, in which reasoning is words."""

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        return super().text(list(map(flat, messages)), add_generation_prompt, tools)


class Endless(BuiltInTemplate):
    """Answers that call a tool are learnt without their end token."""

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> Written:
        text, answers = super().write(messages, wanted, tools)
        calls = [answer for answer in answers if "tool_calls" in messages[answer.message]]
        ends = {answer.message: answer.end - len(STOP) for answer in calls}
        return text, [
            Answer(answer.message, answer.start, ends.get(answer.message, answer.end))
            for answer in answers
        ]


class Doubling(BuiltInTemplate):
    """Rows in which a thought without words stands before each thought."""

    def write(
        self, messages: Messages, wanted: Sequence[int], tools: Tools | None = None
    ) -> Written:
        text, answers = super().write(messages, wanted, tools)
        thought, empty = "<think>\n", "<think>\n\n</think>\n\n"
        starts = [answer.start for answer in answers if text.startswith(thought, answer.start)]
        written = [
            Answer(
                answer.message,
                answer.start + len(empty) * sum(start < answer.start for start in starts),
                answer.end + len(empty) * sum(start < answer.end for start in starts),
            )
            for answer in answers
        ]
        for start in reversed(starts):
            text = text[:start] + empty + text[start:]
        return text, written


def chatml(kind: type[BuiltInTemplate]) -> Tokenizer:
    tokenizer = built_in.load(None, "bytes", BUILT_IN["chatml"], None)
    return replace(tokenizer, template=kind(BUILT_IN["chatml"]))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Flattening, "of the conversation that begins .* differs"),
        (FlatteningTwice, "the Jinja that goes to the tokenizer writes another text"),
        (Endless, "the labels of the answer .* are not that answer"),
        (Doubling, "of the conversation that begins .* differs"),
    ],
)
def test_a_planted_fault_is_caught(kind: type[BuiltInTemplate], words: str) -> None:
    with pytest.raises(RenderError, match=words):
        certificate.certify(chatml(kind), OPTIONS)


def test_without_a_fault_it_passes() -> None:
    counts = certificate.certify(chatml(BuiltInTemplate), OPTIONS)
    assert counts.answers == counts.stops_trained > 20


class Promptless(BuiltInTemplate):
    """A template that cannot be asked for an answer."""

    def text(
        self, messages: Messages, add_generation_prompt: bool = False, tools: Tools | None = None
    ) -> str:
        if add_generation_prompt:
            raise UnrenderableError("nobody asks")
        return super().text(messages, tools=tools)


def test_answers_of_which_none_stands_behind_a_prompt_fail() -> None:
    with pytest.raises(RenderError, match="no answer stands behind its generation prompt"):
        certificate.certify(chatml(Promptless), OPTIONS)


def test_a_template_whose_prompt_no_answer_follows_is_refused(tmp_path: Path) -> None:
    prompt = "<|im_start|>model\n"
    asks = f"{{% if add_generation_prompt %}}{{{{ '{prompt}' }}}}{{% endif %}}".replace("\n", "\\n")
    folder = carry(None, HEAD + TURN + "{% endfor %}" + asks, tmp_path / "t")
    with pytest.raises(RenderError, match="generation prompt"):
        certificate.certify(
            load(folder, tmp_path / "w"), Render(tokenizer="t", template="tokenizer")
        )


def test_of_a_row_of_very_many_answers_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_checks, "_MOST_TOKENS", 1)
    counts = compared(answers=50)
    assert counts.answers == counts.prompts == 8
    assert counts.passed_over == 42
    assert compared(50, {"answer": True, "end": True}).passed_over == 50
    monkeypatch.undo()
    assert compared(answers=50).answers == 50
    assert "passed_over" not in compared(answers=50).counts()


def compared(answers: int, train_on: Any = "assistant") -> ParityCounts:
    tokenizer = chatml(BuiltInTemplate)
    turns = [("user", "a"), ("assistant", "b")] * answers
    pool = TextPool(tokenizer)
    options = Render(tokenizer="bytes", template="chatml", train_on=train_on)
    fitted = fit(table({"x": turns}), pool, options)
    rendered = render(fitted.messages, fitted.windows, pool, options)
    return certificate.compare_rows(rendered, tokenizer, options.train_on, pl.Series([True]))
