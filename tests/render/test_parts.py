"""Parts of answers that are learnt: a golden for people, and the choices that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata import load_recipe
from chatdata.cli import main
from chatdata.core.errors import ConfigError
from chatdata.render import built_in
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.parts import TrainParts
from chatdata.render.rows import render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer
from tests.support.structured import call, calls, structured
from tests.support.templates import bracketed, load_bytes

TALK = [
    {"role": "user", "content": "High water?"},
    {"role": "assistant", "reasoning": "A tool knows.", "tool_calls": calls(call("tide"))},
    {"role": "tool", "content": "12:40", "name": "tide"},
    {"role": "assistant", "content": "At 12:40.", "reasoning": "It says so."},
]

# Like Qwen's: thoughts before the last question are forgotten, an answer without reasoning gets a
# thought without words, and calls and results stand between tags.
QWEN_LIKE = """\
{%- set last = namespace(question=0) %}
{%- for m in messages %}
  {%- if m.role == 'user' %}{% set last.question = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
  {%- set words = m.content or '' %}
  {%- if m.role == 'tool' %}
    {{- '<|im_start|>user\\n<tool_response>\\n' + words + '\\n</tool_response><|im_end|>\\n' }}
  {%- elif m.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if loop.index0 > last.question %}
      {{- '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- words }}
    {%- for c in m.tool_calls or [] %}
      {{- '<tool_call>\\n' + c.function | tojson + '\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- else %}
    {{- '<|im_start|>' + m.role + '\\n' + words + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{% endif %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""


def written(tokenizer: Tokenizer, talk: list[dict[str, Any]], **parts: bool) -> str:
    """The text of the last row of a conversation, trained text in brackets."""
    train_on = TrainParts(**parts)
    options = Render(tokenizer="t", template="tokenizer", train_on=train_on)
    pool = TextPool(tokenizer)
    fitted = fit(structured({"talk": talk}), pool, options)
    assert fitted.outcomes.is_empty()
    return bracketed(render(fitted.messages, fitted.windows, pool, options), tokenizer)[-1]


CALL = '<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>'
RESULT = "<|im_start|>user\n<tool_response>\n12:40\n</tool_response><|im_end|>\n"
QUESTION = "<|im_start|>user\nHigh water?<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "<|im_start|>assistant\n"
FIRST, SECOND = "<think>\nA tool knows.\n</think>\n\n", "<think>\nIt says so.\n</think>\n\n"
END = "<|im_end|>"


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


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("{answer: false}", "answer is false between reasoning and tool_calls"),
        ("{answer: false, reasoning: false, tool_calls: false}", "no part is learnt but the end"),
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
