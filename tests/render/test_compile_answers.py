"""Templates that write the last answer in its own way: a spec for plain rows, else Jinja."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
import tokenizers

from chatdata.render import certificate
from chatdata.render.chat_template import CompiledAnswers
from chatdata.render.parts import TrainParts
from tests.support.carrying import carry, load
from tests.support.conversations import table
from tests.support.templates import FORGETTING, OPTIONS, bracketed, rows, run

transformers = pytest.importorskip("transformers")

PIECES = (
    "a",
    "b c",
    "\n",
    " ",
    "</think>",
    "<think>\nhm\n</think>\n\n",
    "<result>",
    "</result>",
    "é",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return carry(None, FORGETTING, tmp_path / "t")


def test_the_strings_that_it_looks_for_are_found(folder: Path, tmp_path: Path) -> None:
    template = load(folder, tmp_path / "w").template
    assert isinstance(template, CompiledAnswers)
    assert set(template.markers) == {"</think>", "<result>", "</result>"}


def test_rows_that_begin_with_an_answer_are_written_by_the_spec(
    folder: Path, tmp_path: Path
) -> None:
    """Half of the pieces of a real dump begin with one, and each was rendered by itself."""
    template = load(folder, tmp_path / "w").template
    assert isinstance(template, CompiledAnswers)
    assert template.begins_with_answer
    talks = {
        "begins": [("assistant", "a"), ("user", "q"), ("assistant", "b")],
        "with system": [("system", "s"), ("assistant", "a"), ("user", "q"), ("assistant", "b")],
        "no question": [("assistant", "a")],
        "two answers": [("assistant", "a"), ("assistant", "b")],
    }
    messages = table(talks)
    rows = messages.with_columns(as_text=template.in_text_rows(messages))
    as_text = rows.group_by("conversation", maintain_order=True).agg(pl.col("as_text").any())
    assert dict(as_text.iter_rows()) == {
        "begins": False,
        "with system": False,
        "no question": True,
        "two answers": True,
    }


def test_tags_of_thoughts_may_be_control_tokens(folder: Path, tmp_path: Path) -> None:
    """The tags of the empty thought were written as text, and the template was refused."""
    path = folder / "tokenizer.json"
    with_tags = tokenizers.Tokenizer.from_file(str(path))
    with_tags.add_special_tokens(["<think>", "</think>"])
    with_tags.save(str(path))
    tokenizer = load(folder, tmp_path / "w")
    assert isinstance(tokenizer.template, CompiledAnswers)
    certificate.certify(tokenizer, OPTIONS)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    talk = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    for _, turns, ids, _ in rows(run(tokenizer, {"x": talk})):
        assert ids == reference.apply_chat_template(turns, tokenize=True, return_dict=False)


def test_plain_rows_are_written_by_the_spec_and_others_as_text(
    folder: Path, tmp_path: Path
) -> None:
    template = load(folder, tmp_path / "w").template
    assert isinstance(template, CompiledAnswers)
    talks = {
        "plain": [("system", "s"), ("user", "q"), ("assistant", "a")],
        "edge": [("user", " q"), ("assistant", "a")],
        "marker": [("user", "what is </think>?"), ("assistant", "a")],
        "order": [("user", "q"), ("user", "r"), ("assistant", "a")],
        "open": [("user", "q"), ("assistant", "a"), ("user", "r")],
    }
    messages = table(talks)
    as_text = dict(zip(messages["conversation"], template.in_text_rows(messages), strict=True))
    assert as_text == {name: name != "plain" for name in talks}


def test_an_empty_thought_is_context_in_both(folder: Path, tmp_path: Path) -> None:
    tokenizer = load(folder, tmp_path / "w")
    talk = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    edge = [("user", "q "), ("assistant", "a")]
    head = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    assert bracketed(run(tokenizer, {"x": talk}), tokenizer) == [
        f"{head}<think>\n\n</think>\n\n[a<|im_end|>]\n",
        f"{head}a<|im_end|>\n<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n[b<|im_end|>]\n",
    ]
    (written,) = bracketed(run(tokenizer, {"y": edge}), tokenizer)
    assert written == head.replace("q", "q ") + "<think>\n\n</think>\n\n[a<|im_end|>]\n"


def test_an_empty_thought_is_learnt_in_both_where_the_recipe_says_so(
    folder: Path, tmp_path: Path
) -> None:
    tokenizer = load(folder, tmp_path / "w")
    talks = {
        "plain": [("user", "q"), ("assistant", "a")],
        "edge": [("user", "q "), ("assistant", "a")],
    }
    learnt = run(tokenizer, talks, train_on=TrainParts(empty_thought=True))
    for text in bracketed(learnt, tokenizer):
        assert text.endswith("[<think>\n\n</think>\n\na<|im_end|>]\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_every_row_is_what_transformers_writes(seed: int, folder: Path, tmp_path: Path) -> None:
    tokenizer = load(folder, tmp_path / "w")
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    draw = random.Random(seed)

    def content() -> str:
        return "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 4)))

    def talk() -> list[tuple[str, str]]:
        pairs = draw.randint(1, 4)
        turns = [(role, content()) for _ in range(pairs) for role in ("user", "assistant")]
        return [("assistant", content()), *turns] if draw.random() < 0.3 else turns

    talks = {str(number): talk() for number in range(8)}
    for name, turns, ids, _ in rows(run(tokenizer, talks)):
        assert ids == reference.apply_chat_template(turns, tokenize=True, return_dict=False), name
