"""Templates of models that see images take words as a list of parts."""

from __future__ import annotations

from pathlib import Path

from chatdata.render.serving import Serving
from tests.support.carrying import carry, load
from tests.support.templates import PLAIN, rows, run

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
