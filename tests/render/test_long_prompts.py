"""Prompts that are tokenised from their last control token on: the ids are those of the whole."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken

from chatdata.render import long_prompts
from chatdata.render.answer_checks import Answer
from chatdata.render.control_tokens import ControlTokens
from chatdata.render.long_prompts import WholeRow, shortened
from tests.support.made_tokenizers import CONTROL, MADE, made

TEXTS = (*CONTROL, "\n", " ", "a", "Hello", "e\u0301", "</s", "return x\n", " 日本", "<|", "user\n")
KINDS = [kind for kind in MADE if kind != "WordPiece, no unknown token"]


def tokenizer(kind: str, **flags: bool) -> tokenizers.Tokenizer:
    full = tokenizers.Tokenizer.from_str(made(kind))
    full.add_tokens(
        [AddedToken(t, special=True, **{"normalized": False, **flags}) for t in CONTROL]
    )
    return full


def encode(full: tokenizers.Tokenizer, text: str) -> list[int]:
    ids: list[int] = full.encode(text, add_special_tokens=False).ids
    return ids


def answer(prompt: str) -> Answer:
    return Answer(np.empty(0, np.int32), None, prompt, "")


def with_known(full: tokenizers.Tokenizer, text: str, prompt: str) -> tuple[list[int], int]:
    """The ids of a prompt by those that a row knows, and how many these are."""
    whole = WholeRow(text, encode(full, text), ControlTokens(full))
    short = whole.shortened(answer(prompt))
    return [*short.known.tolist(), *encode(full, short.prompt)], len(short.known)


@pytest.mark.parametrize("flags", [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_are_those_of_the_whole_prompt(kind: str, flags: dict[str, bool]) -> None:
    full, draw = tokenizer(kind, **flags), random.Random(kind)
    known = 0
    for _ in range(12):
        text = "".join(draw.choices(TEXTS, k=12))
        prompt = text[: draw.randrange(len(text))] + draw.choice(("", "<|im_start|>", "b"))
        ids, length = with_known(full, text, prompt)
        assert ids == encode(full, prompt), (text, prompt)
        known += length
    assert known or flags == {"single_word": True}  # few of these become control tokens


def test_a_row_that_begins_otherwise_leaves_a_prompt_whole() -> None:
    full = tokenizer("byte level")
    ids, known = with_known(full, "<|im_start|>a<|im_end|>", "<|im_start|>b<|im_end|>b")
    assert (ids, known) == (encode(full, "<|im_start|>b<|im_end|>b"), 0)


def test_ids_of_the_row_and_of_the_end_of_the_prompt_are_compared() -> None:
    full = tokenizer("byte level")
    text, prompt = "<|im_start|>a<|im_end|>\n<|im_start|>b", "<|im_start|>a<|im_end|>\n<|im_start|>"
    ids = np.asarray(encode(full, text), np.int32)
    whole = WholeRow(text, ids.tolist(), ControlTokens(full))
    short = whole.shortened(Answer(ids, len(encode(full, prompt)), prompt, ""))
    given = encode(full, short.prompt)
    assert len(short.known)
    assert short.begins_behind(given)
    assert not short._replace(ids=ids + (np.arange(len(ids)) == 1)).begins_behind(given)
    assert not short.begins_behind([given[0] + 1, *given[1:]])
    assert not short._replace(first=len(given)).begins_behind(given)


def test_one_prompt_of_a_row_and_short_prompts_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_prompts, "_SHORT", 20)
    full = tokenizer("byte level")
    turn = "<|im_start|>a<|im_end|>"
    whole = WholeRow(turn * 5, encode(full, turn * 5), ControlTokens(full))
    answers = [answer(turn * number) for number in range(5)]
    for in_one_go in range(10):
        wholes = [not len(each.known) for each in shortened(answers, whole, in_one_go)]
        assert wholes == [number in (0, in_one_go % 5) for number in range(5)]
    assert not [*shortened([], whole, 3)]
