"""What some templates of 2025 and 2026 do: ends in several tokens, tags in places, the clock."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import polars as pl
import pytest

from chatdata.core.errors import RenderError
from chatdata.render import certificate
from chatdata.render.chat_template.jinja import read_variables
from chatdata.render.fit import fit
from chatdata.render.rows import render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.tokenizer import Tokenizer
from tests.support.carrying import carry, load
from tests.support.structured import call, calls, structured
from tests.support.templates import HEAD, OPTIONS, PLAIN, PROMPT, TURN, bracketed, load_bytes, run

TALK = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]

# As Apriel and Kimi K3: words, or a line break, stand between the control tokens of an end.
LONG_END = PLAIN.replace("'<|im_end|>\n'", "'\n<|im_end|>turn\n<|end_of_text|>'")


def test_an_end_of_several_control_tokens_may_have_text_between_them(tmp_path: Path) -> None:
    tokenizer = load_bytes(LONG_END, tmp_path)
    end = "\n<|im_end|>turn\n<|end_of_text|>"
    question, answer = "<|im_start|>user\n", "<|im_start|>assistant\n"
    assert bracketed(run(tokenizer, {"x": TALK}), tokenizer) == [
        f"{question}q{end}{answer}[a{end}]{question}r{end}{answer}[b{end}]"
    ]
    counts = certificate.certify(tokenizer, OPTIONS)
    assert counts.stops_trained == counts.answers > 100


# As LFM 2.5: thoughts are kept in the last answer, so a generation prompt keeps one that the
# conversation with its next answer has forgotten.
FORGETTING = (
    "{% set last = namespace(answer=-1) %}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% set last.answer = loop.index0 %}{% endif %}{% endfor %}"
    + HEAD
    + "{% set c = m['content'] %}{% if m['role'] == 'assistant' and loop.index0 != last.answer %}"
    + "{% set c = c.split('</think>')[-1] %}{% endif %}"
    + TURN.replace("m['content']", "c")
    + "{% endfor %}"
    + PROMPT
)
THOUGHT = "<think>hm</think>"


def test_a_template_that_forgets_too_late_writes_what_it_does_not_forget(tmp_path: Path) -> None:
    tokenizer = load_bytes(FORGETTING, tmp_path)
    forgotten = [("user", "q"), ("assistant", f"{THOUGHT}a"), *TALK[2:]]
    kept = [*TALK[:3], ("assistant", f"{THOUGHT}b")]
    rendered = run(tokenizer, {"plain": TALK, "forgotten": forgotten, "kept": kept})
    assert rendered.conversations == ["plain", "kept"]
    assert bracketed(rendered, tokenizer)[1].endswith(f"[{THOUGHT}b<|im_end|>]\n")


def test_tags_that_are_control_tokens_are_words_where_content_quotes_them(tmp_path: Path) -> None:
    """Of such a row the certificate asked for what the template makes of the control tokens."""
    folder = carry(None, FORGETTING + "{# <|think|> #}", tmp_path / "t")
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("</think>", "<|think|>"))
    tokenizer = load(folder, tmp_path / "w")
    assert "<|think|>" in tokenizer.control.ids
    assert certificate.certify(tokenizer, OPTIONS).quoting > 0
    talk = [("user", "q"), ("assistant", "a<|think|>b"), *TALK[2:]]
    (text,) = bracketed(run(tokenizer, {"x": talk}), tokenizer)
    assert "[a<|think|>b<|im_end|>]" in text


# As Hunyuan: the time of day, where tools are offered.
TIMED = "{% if tools %}{{ tools | tojson + strftime_now('%H:%M') }}{% endif %}" + PLAIN.replace(
    "m['content']", "(m['content'] or m['tool_calls'][0]['function']['name'])"
)


def test_the_time_of_day_is_refused_in_the_conversations_that_have_it(tmp_path: Path) -> None:
    tokenizer = load_bytes(TIMED, tmp_path, date=datetime.date(2026, 1, 31))
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}])
    question = {"role": "user", "content": "q"}
    called = {"role": "assistant", "tool_calls": calls(call())}
    talks = {
        "plain": [question, {"role": "assistant", "content": "a"}],
        "tools": [{**question, "tools": tools}, {**called, "tools": tools}],
    }
    fitted = fit(structured(talks), TextPool(tokenizer), OPTIONS)
    assert fitted.messages["conversation"].unique().to_list() == ["plain"]
    (reason,) = fitted.outcomes.filter(pl.col("unit") == "conversation")["detail"]
    assert "writes the time of day, which render.date cannot fix" in reason


@pytest.mark.parametrize(
    "source",
    [
        "{% set trains = trains | default(false) %}{% if trains %}{% endif %}",
        "{% if trains is not defined %}{% set trains = false %}{% endif %}{{ trains }}",
    ],
)
def test_variables_that_a_template_gives_a_default_are_read(source: str) -> None:
    assert read_variables(source) == ["trains"]
    assert read_variables("{% set trains = 1 %}{{ trains }}") == []


def test_a_refusal_names_the_variable_that_ends_the_last_answer(tmp_path: Path) -> None:
    """As Hy3: the last answer has its end in training alone."""
    unended = PLAIN.replace(
        "+ '<|im_end|>\n'", "+ ('<|im_end|>\n' if trains or not loop.last else '')"
    )
    source = "{% set trains = trains | default(false) %}" + unended
    with pytest.raises(RenderError, match=r"render\.variables=\{trains: true\}"):
        load_bytes(source, tmp_path / "a")
    tokenizer = load_bytes(source, tmp_path / "b", trains=True)
    assert bracketed(run(tokenizer, {"x": TALK[:2]}), tokenizer)[0].endswith("[a<|im_end|>]\n")


# As Apertus: the last answer has no end, whatever a variable says.
ENDLESS = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}" + (
    "{% if not loop.last or m['role'] == 'user' %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    + PROMPT
    + "\n"
)
# As GLM 4.5: what ends an answer is the opener of the next turn.
OPENED = """\
{% if tools %}{{ tools | tojson }}{% endif %}
{% for m in messages %}
{% if m['role'] == 'tool' %}
<|tool|>
{% elif m['role'] == 'user' %}
<|user|>
{% else %}
<|assistant|>
{% endif %}
{{ m['content'] or '' }}
{%- for c in m['tool_calls'] or [] %}
<call>{{ c.function.name + c.function.arguments | tojson }}
{%- endfor %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
"""


def load_with_end(source: str, folder: Path) -> Tokenizer:
    return load_bytes(source, folder, add_end=True)


@pytest.mark.parametrize("source", [ENDLESS, OPENED])
def test_a_refusal_names_the_way_to_end_the_last_answer(source: str, tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"a model could never learn .* render\.add_end=true"):
        load_bytes(source, tmp_path)


def test_the_last_answer_ends_as_earlier_ones(tmp_path: Path) -> None:
    tokenizer = load_with_end(ENDLESS, tmp_path)
    asked = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert bracketed(run(tokenizer, {"x": TALK}), tokenizer) == [
        f"{asked.format('q')}[a<|im_end|>]\n{asked.format('r')}[b<|im_end|>]"
    ]
    certificate.certify(tokenizer, OPTIONS)
    facts = tokenizer.template.facts()
    assert facts["added_end"] == "<|im_end|>"
    assert tokenizer.template.jinja() == facts["jinja"] != ENDLESS


def test_of_an_end_no_more_is_added_than_is_missing(tmp_path: Path) -> None:
    spaced = ENDLESS.replace("m['content'] }}", "m['content'] + ' ' }}")
    tokenizer = load_with_end(spaced, tmp_path)
    (text,) = bracketed(run(tokenizer, {"x": TALK}), tokenizer)
    assert re.findall(r"\[.*?\]", text) == ["[a <|im_end|>]", "[b <|im_end|>]"]


@pytest.mark.parametrize("source", [ENDLESS, OPENED, f"{ENDLESS}\n", f"{OPENED}\n"])
def test_an_end_that_was_added_is_added_once(source: str, tmp_path: Path) -> None:
    """`verify` and `render` load the template of a folder, which has its end."""
    first = load_with_end(source, tmp_path / "first").template
    again = load_with_end(first.jinja(), tmp_path / "again").template
    assert again.facts() == first.facts()


def test_an_answer_ends_with_the_opener_of_the_turn_that_follows(tmp_path: Path) -> None:
    tokenizer = load_with_end(OPENED, tmp_path)
    certificate.certify(tokenizer, OPTIONS)
    talk = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": calls(call())},
        {"role": "tool", "content": "r", "name": "f"},
        {"role": "assistant", "content": "a"},
    ]
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}])
    messages = structured({"x": [{**turn, "tools": tools} for turn in talk]})
    pool = TextPool(tokenizer)
    fitted = fit(messages, pool, OPTIONS)
    assert fitted.outcomes.is_empty()
    rendered = render(fitted.messages, fitted.windows, pool, OPTIONS)
    chosen = pl.Series([True])
    counts = certificate.compare_rows(rendered, tokenizer, "assistant", chosen)
    assert (counts.first_failure, counts.answers, counts.prompts) == ("", 2, 2)
    (text,) = bracketed(rendered, tokenizer)
    rest = text.partition("}]")[2]
    assert rest == "<|user|>\nq<|assistant|>\n[<call>f{}<|tool|>]\nr<|assistant|>\n[a<|user|>]"


def test_an_end_that_is_there_is_not_added(tmp_path: Path) -> None:
    for name, source in (
        ("ended", PLAIN),
        ("no end", "{% for m in messages %}{{ m }}{% endfor %}"),
        ("words", ENDLESS.replace("{{ '<|im_end|>", "{{ ' Over.<|im_end|>")),
    ):
        with pytest.raises(RenderError, match="leave add_end out"):
            load_with_end(source, tmp_path / name)
