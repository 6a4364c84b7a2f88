"""Parts of answers that are learnt: a golden for people, and the choices that are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import load_recipe
from chatdata.cli import main
from chatdata.core.errors import ConfigError
from chatdata.render import built_in, certificate
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.render.parts import TrainParts
from chatdata.render.rows import render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer
from tests.support.structured import structured
from tests.support.templates import QWEN_LIKE, bracketed, load_bytes
from tests.support.tides import ANSWER, CALL, END, FIRST, QUESTION, RESULT, SECOND, TALK


def written(tokenizer: Tokenizer, talk: list[dict[str, Any]], **parts: bool) -> str:
    """The text of the last row of a conversation, trained text in brackets."""
    train_on = TrainParts(**parts)
    options = Render(tokenizer="t", template="tokenizer", train_on=train_on)
    pool = TextPool(tokenizer)
    fitted = fit(structured({"talk": talk}), pool, options)
    assert fitted.outcomes.is_empty()
    return bracketed(render(fitted.messages, fitted.windows, pool, options), tokenizer)[-1]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {},
            f"{QUESTION}[{FIRST}{CALL}{END}]\n{RESULT}{ANSWER}[{SECOND}At 12:40.{END}]\n",
        ),
        (
            {"reasoning": False},
            f"{QUESTION}{FIRST}[{CALL}{END}]\n{RESULT}{ANSWER}{SECOND}[At 12:40.{END}]\n",
        ),
        (
            {"tool_calls": False, "end": False},
            f"{QUESTION}[{FIRST}]{CALL}{END}\n{RESULT}{ANSWER}[{SECOND}At 12:40.]{END}\n",
        ),
        (
            {"reasoning": False, "answer": False},
            f"{QUESTION}{FIRST}[{CALL}{END}]\n{RESULT}{ANSWER}{SECOND}At 12:40.[{END}]\n",
        ),
    ],
    ids=["all", "no reasoning", "no calls, no end", "calls"],
)
def test_parts_of_answers_by_chatml(parts: dict[str, bool], expected: str) -> None:
    tokenizer = built_in.load(None, "bytes", BUILT_IN["chatml"], None)
    assert written(tokenizer, TALK, **parts) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, f"{ANSWER}[{SECOND}At 12:40.{END}]\n"),
        ({"reasoning": False}, f"{ANSWER}{SECOND}[At 12:40.{END}]\n"),
        (
            {"answer": False, "end": False, "tool_calls": False},
            f"{ANSWER}[{SECOND}]At 12:40.{END}\n",
        ),
    ],
    ids=["all", "no reasoning", "reasoning"],
)
def test_parts_of_answers_by_a_template_like_qwen(
    parts: dict[str, bool], expected: str, tmp_path: Path
) -> None:
    tokenizer = load_bytes(QWEN_LIKE, tmp_path)
    assert written(tokenizer, TALK, **parts).endswith(f"{RESULT}{expected}")


def test_an_empty_thought_is_learnt_where_the_recipe_says_so_alone(tmp_path: Path) -> None:
    tokenizer = load_bytes(QWEN_LIKE, tmp_path)
    talk = [{"role": "user", "content": "High water?"}, {"role": "assistant", "content": "No."}]
    empty = "<think>\n\n</think>\n\n"
    assert written(tokenizer, talk) == f"{QUESTION}{empty}[No.{END}]\n"
    assert written(tokenizer, talk, empty_thought=True) == f"{QUESTION}[{empty}No.{END}]\n"
    without = written(tokenizer, talk, empty_thought=True, reasoning=False)
    assert without == f"{QUESTION}[{empty}No.{END}]\n"


def counted(made_with: TrainParts, stated: TrainParts, **change: Any) -> ParityCounts:
    """What the certificate counts in TALK, whose rows learn other parts than is stated."""
    tokenizer = built_in.load(None, "bytes", BUILT_IN["chatml"], None)
    options = Render(tokenizer="t", template="chatml", train_on=made_with)
    pool = TextPool(tokenizer)
    fitted = fit(structured({"talk": TALK}), pool, options)
    rendered = render(fitted.messages, fitted.windows, pool, options)
    if change:
        template = replace(tokenizer.template, spec=replace(tokenizer.template.spec, **change))
        tokenizer = replace(tokenizer, template=template)
    everything = pl.repeat(True, len(rendered.ids), eager=True)
    return certificate.compare_rows(rendered, tokenizer, stated, everything)


CHOICES = [
    TrainParts(),
    TrainParts(reasoning=False),
    TrainParts(end=False),
    TrainParts(tool_calls=False),
    TrainParts(answer=False, tool_calls=False),
]


@pytest.mark.parametrize("parts", CHOICES)
def test_answers_of_which_parts_are_learnt_begin_behind_their_prompts(parts: TrainParts) -> None:
    counts = counted(parts, parts)
    assert counts.first_failure == ""
    assert (counts.answers, counts.prompts) == (2, 2)
    assert counts.stops_trained == 2 * parts.end


@pytest.mark.parametrize(
    ("made_with", "stated", "words"),
    [
        (
            TrainParts(),
            TrainParts(reasoning=False),
            "more is learnt than there is without the parts",
        ),
        (
            TrainParts(reasoning=False),
            TrainParts(),
            "the reasoning 'A tool knows.' of turn 1 is not",
        ),
        (TrainParts(), TrainParts(end=False), "of 2 answers 2 end with a trained end token"),
        (TrainParts(end=False), TrainParts(), "of 2 answers 0 end with a trained end token"),
        (TrainParts(), TrainParts(tool_calls=False), "without the parts tool_calls, empty_thought"),
        (
            TrainParts(tool_calls=False),
            TrainParts(),
            "the tool_calls 'tide' of turn 1 is not learnt",
        ),
    ],
)
def test_labels_of_other_parts_are_caught(
    made_with: TrainParts, stated: TrainParts, words: str
) -> None:
    assert words in counted(made_with, stated).first_failure


def test_a_prompt_that_no_answer_stands_behind_is_caught() -> None:
    turn = BUILT_IN["chatml"].turns["assistant"]
    turns = {**BUILT_IN["chatml"].turns, "assistant": replace(turn, header="bot\n")}
    parts = TrainParts(reasoning=False)
    counts = counted(parts, parts, turns=turns)
    assert counts.prompts == 0
    assert counts.first_failure


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("{answer: false}", "the answer is left out between reasoning and tool_calls"),
        ("{answer: false, reasoning: false, tool_calls: false}", "no part is learnt but the end"),
        ("{answer: false, reasoning: false, empty_thought: true}", "the answer is left out"),
        ("{thoughts: false}", "render.train_on: unknown key 'thoughts'"),
        ("{answer: 3}", "render.train_on: answer: "),
        ("asistant", "render.train_on: unknown 'asistant'; did you mean 'assistant'"),
    ],
)
def test_choices_that_are_refused(parts: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe("sample", [f"render.train_on={parts}"])


@pytest.mark.slow
def test_a_recipe_chooses_parts(tmp_path: Path) -> None:
    record = {
        "id": "x",
        "messages": [
            {"role": "user", "content": "Two and two?"},
            {"role": "assistant", "content": "4", "reasoning_content": "An easy sum."},
        ],
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(record))
    (tmp_path / "r.yaml").write_text(
        "name: r\nversion: 1.0.0\nsource: {jsonl: {}}\ndrop: []\nsplit: {test_percent: 0}\n"
        "render: {tokenizer: bytes, template: chatml}\n"
    )
    settings = ["--set", "render.train_on={reasoning: false}", "--out", str(tmp_path / "out")]
    command = ["build", str(tmp_path / "r.yaml"), "--input", str(tmp_path / "in.jsonl"), *settings]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    render_entry = json.loads((tmp_path / "out" / "manifest.json").read_text())["render"]
    assert render_entry["train_on"]["reasoning"] is False
    assert render_entry["trained_tokens"] == len("4") + 1
    card = (tmp_path / "out" / "README.md").read_text()
    assert "trained on `answer, tool_calls, end`" in card
    assert "1 of 1 answers are trained in the parts answer, tool_calls, end" in done.output
    assert "1 of 1 answers begin right behind their generation prompt" in done.output
