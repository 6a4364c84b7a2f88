"""Templates of models that see images take words as a list of parts."""

from __future__ import annotations

import json
from pathlib import Path

from chatdata.render.fit import fit
from chatdata.render.rows import render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.serving import Serving
from tests.support.carrying import carry, load
from tests.support.structured import call, calls, structured
from tests.support.templates import OPTIONS, PLAIN, bracketed, rows, run

OF_PARTS = PLAIN.replace("m['content']", "m['content'][0]['text']")
TALK = [("user", "What is 2 + 2?"), ("assistant", "4"), ("user", "Sure?"), ("assistant", "Yes.")]


def test_a_template_that_takes_parts_writes_the_rows_of_one_that_takes_texts(
    tmp_path: Path,
) -> None:
    of_parts, of_texts = (
        load(carry(None, template, tmp_path / name), tmp_path / f"{name}-work")
        for name, template in (("parts", OF_PARTS), ("texts", PLAIN))
    )
    talk = {"talk": TALK}
    assert list(rows(run(of_parts, talk))) == list(rows(run(of_texts, talk)))
    assert of_parts.template.facts()["takes_parts"] is True
    assert "takes_parts" not in of_texts.template.facts()


def test_what_serves_is_handed_parts_too(tmp_path: Path) -> None:
    tokenizer = load(carry(None, OF_PARTS, tmp_path / "t"), tmp_path / "work")
    messages = [{"role": role, "content": content} for role, content in TALK]
    assert Serving(tokenizer).writes(tokenizer.template.text(messages), messages, None, {})


def test_an_answer_without_words_has_no_parts(tmp_path: Path) -> None:
    words = "m['content'][0]['text'] if m['content'] else m['tool_calls'][0]['function']['name']"
    template = "{% if tools %}{% endif %}" + PLAIN.replace("m['content']", f"({words})")
    tokenizer = load(carry(None, template, tmp_path / "t"), tmp_path / "work")
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}])
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": calls(call())}]
    pool = TextPool(tokenizer)
    fitted = fit(structured({"x": [{**turn, "tools": tools} for turn in talk]}), pool, OPTIONS)
    assert fitted.outcomes.is_empty()
    (text,) = bracketed(render(fitted.messages, fitted.windows, pool, OPTIONS), tokenizer)
    assert text.endswith("<|im_start|>assistant\n[f<|im_end|>]\n")
