"""Conversations with variables of their own: written as transformers writes them, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.core.errors import RenderError
from chatdata.render import certificate
from chatdata.render.chat_template import JinjaTemplate, jinja
from chatdata.render.fit import Fitted, fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments import from_text
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.templates import TEMPLATES
from chatdata.render.tokenizer import Tokenizer
from tests.support import families
from tests.support.carrying import carry, load
from tests.support.structured import structured
from tests.support.templates import HEAD, OPTIONS, PLAIN, PROMPT, bracketed, load_bytes

SWITCH = "enable_thinking"
# An empty thought before each answer, in the generation prompt where `think` is false.
THOUGHT = "{% if not think %}{{ '<think></think>' }}{% endif %}"
SWITCHED = (
    "{% set think = think is not defined or think %}"
    "{{ '<|im_start|>system\n' + (mood | default('calm')) + '<|im_end|>\n' }}"
    + HEAD
    + "{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    + THOUGHT
    + "{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    + PROMPT.replace("{% endif %}", THOUGHT + "{% endif %}")
)
TALK = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]


def frame(**variables: Mapping[str, Any] | None) -> pl.DataFrame:
    """The same conversation with these variables, by name."""
    return structured(
        {
            name: [
                {"role": role, "content": words, "variables": json.dumps(given) if given else None}
                for role, words in TALK
            ]
            for name, given in variables.items()
        }
    )


def run(tokenizer: Tokenizer, messages: pl.DataFrame, pool: TextPool | None = None) -> Rendered:
    pool = pool or TextPool(tokenizer)
    fitted = fit(messages, pool, OPTIONS)
    assert fitted.outcomes.is_empty()
    return render(fitted.messages, fitted.windows, pool, OPTIONS)


def certify(rendered: Rendered, tokenizer: Tokenizer) -> str:
    """The first failure that the certificate finds in all rows."""
    every = pl.repeat(True, len(rendered.ids), eager=True)
    return certificate.compare_rows(rendered, tokenizer, "assistant", every).first_failure


def test_each_row_has_its_variables(tmp_path: Path) -> None:
    """A golden that can be read: trained text in brackets."""
    tokenizer = load_bytes(SWITCHED, tmp_path, mood="warm")
    talks = frame(none=None, off={"think": False}, both={"mood": "cold", "think": True})
    rendered = run(tokenizer, talks)
    assert bracketed(rendered, tokenizer) == [
        "<|im_start|>system\nwarm<|im_end|>\n"
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"
        "<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n",
        "<|im_start|>system\nwarm<|im_end|>\n"
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think></think>[a<|im_end|>]\n"
        "<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n<think></think>[b<|im_end|>]\n",
        "<|im_start|>system\ncold<|im_end|>\n"
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"
        "<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n",
    ]
    assert certify(rendered, tokenizer) == ""


def test_rows_of_the_same_name_are_not_mixed_up(tmp_path: Path) -> None:
    tokenizer = load_bytes(SWITCHED, tmp_path)
    pool = TextPool(tokenizer)
    texts = [
        bracketed(run(tokenizer, frame(x=given), pool), tokenizer)[0]
        for given in (None, {"mood": "cold"}, {"mood": "hot"}, None)
    ]
    assert ["cold" in text for text in texts] == [False, True, False, False]
    assert ["hot" in text for text in texts] == [False, False, True, False]


def test_a_variable_forges_no_control_token(tmp_path: Path) -> None:
    tokenizer = load_bytes(SWITCHED, tmp_path)
    rendered = run(tokenizer, frame(x={"mood": "<|im_end|>"}))
    end = tokenizer.control.ids["<|im_end|>"]
    assert rendered.input_ids.tolist().count(end) == len(TALK) + 1
    assert certify(rendered, tokenizer) == ""


@pytest.mark.parametrize("ignores", ["the rows", "the template"])
def test_variables_that_are_ignored_are_seen(
    ignores: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fault is one of rows alone; the second is in rows and in their reference."""
    tokenizer = load_bytes(SWITCHED, tmp_path)
    if ignores == "the rows":
        monkeypatch.setattr(from_text, "_values", lambda messages, column: [])
    else:
        monkeypatch.setattr(JinjaTemplate, "given", lambda self, variables: self)
    failure = certify(run(tokenizer, frame(none=None, off={"think": False})), tokenizer)
    words = {"the rows": "that begins 'q' differs", "the template": "writes another text"}
    assert words[ignores] in failure


def refused(tokenizer: Tokenizer, given: Mapping[str, Any], options: Render = OPTIONS) -> str:
    fitted: Fitted = fit(frame(x=given, y=None), TextPool(tokenizer), options)
    assert fitted.messages["conversation"].unique().to_list() == ["y"]
    return str(fitted.outcomes.filter(unit="conversation")["detail"][0])


@pytest.mark.parametrize("template", ["chatml", "starchat", "dialogue"])
def test_a_built_in_template_refuses_variables_by_name(template: str) -> None:
    options = Render(tokenizer="bytes", template=template)
    tokenizer = TEMPLATES[template].load(None, "bytes", options)
    assert refused(tokenizer, {"think": False, "mood": "cold"}, options) == (
        "the template has no variables, and the conversation gives think, mood; the cleaner "
        "drop_variables removes them"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"speed": 1}, "the chat template reads no variable 'speed'; the cleaner drop_variables"),
        ({"messages": []}, "the variable 'messages' has a meaning of its own"),
        ({"mood": 7}, "with the variables mood: the chat template says: can only concatenate str"),
        (
            {"ends": True},
            "with the variables ends the chat template ends an answer with '<|end_of_text|>'",
        ),
    ],
)
def test_what_a_template_cannot_do_with_variables_is_refused(
    given: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    turn = "m['content'] + ('<|end_of_text|>' if ends else '<|im_end|>') + '"
    template = SWITCHED.replace("m['content'] + '<|im_end|>", turn)
    assert words in refused(load_bytes(template, tmp_path), given)


def test_a_compiled_template_writes_such_rows_by_its_jinja(tmp_path: Path) -> None:
    template = "{% if shout %}{{ '!' }}{% endif %}" + PLAIN
    tokenizer = load_bytes(template, tmp_path)
    assert tokenizer.template.facts()["method"] == "segments"
    texts = bracketed(run(tokenizer, frame(loud={"shout": True}, calm={"shout": 0})), tokenizer)
    assert texts == [f"!{texts[1]}", texts[1]]


SHIPPED = families.shipped()
SWITCHES = [
    name for name, source in SHIPPED.items() if SWITCH in source and jinja.reads(source, SWITCH)
]


def test_templates_with_the_switch_are_tried() -> None:
    assert not SHIPPED or len(SWITCHES) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
def test_rows_with_the_switch_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    folder = carry(None, SHIPPED[name], tmp_path / "t", more=True)
    try:
        tokenizer = load(folder, tmp_path / "w", date=families.DATE)
    except RenderError as error:
        pytest.skip(f"the template is refused whole: {error}")
    key = tokenizer.template.facts()["reasoning_key"]
    reference = families.Reference(folder, key or "reasoning_content")
    talks = {
        (kind, value): talk._replace(variables={SWITCH: value})
        for kind, talk in families.KINDS.items()
        for value in (False, True)
    }
    outcomes = {key: families.outcome(talk, tokenizer, reference) for key, talk in talks.items()}
    assert not {key: outcome for key, outcome in outcomes.items() if outcome.state == "wrong"}
    states = {key[1] for key, outcome in outcomes.items() if outcome.state == "exact"}
    assert states == {False, True}
