"""Audits of rows of tokens: each check finds its fault, and finds nothing in sound rows."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tokenizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from chatdata.verify.audit import auditing, known
from chatdata.verify.audit.checks import CHECKS
from chatdata.verify.audit.token_rows import TokenRows
from tests.support.audits import (
    BLANK,
    END,
    PAD,
    TINY,
    answer,
    audited,
    batch,
    cases,
    faults,
    row,
    user,
    write_jsonl,
)

SOUND = "1 5 20 3 6 4 7 6 +21 +22 +3"
TOKENS: dict[str, tuple[list[str], list[str]]] = {
    "outside_vocabulary": (["1 5 20 3 4 7 +50 +3", "-1 5 20 3 4 7 +21 +3"], []),
    "fully_masked": (["1 5 20 3 4 7 21 3"], ["5 4 7 21 +3"]),
    "nothing_masked": (["+5 +20 +3 +4 +7 +21 +3", "+5 +4 +7 +21 +3 2p 2p"], ["5 +4 +7 +21 +3"]),
    "trained_prompt": (
        [
            "5 20 3 +4 7 +21 +3",  # the header
            "5 20 3 4 +7 +21 +3",  # its second token
            "+20 3 4 7 +21 +3",  # words before it
            "+20 +3",  # no header at all
        ],
        ["5 20 +3 +6 4 7 +6 +21 +3", "5 20 3 4 7 +21 +3 4 7 +22 +3", "4 7 21 4 7 +21 +3"],
    ),
    "untrained_end": (
        ["5 20 3 4 7 +21 3", "5 20 3 4 7 +21 3 2p 2p"],
        ["5 20 3 4 7 +21 +3 +6", "5 20 3 4 7 21 +22 6 +3", "5 20 3 4 7 21 22 3"],
    ),
    "missing_end": (["5 20 3 4 7 +21", "5 20 3 4 7 +21 2p"], ["5 20 3 4 7 +21 +3 5 20"]),
    "doubled_begin": (["1 1 5 3 4 7 +21 +3", "5 3 4 7 +21 +3 1 1"], ["1 5 1 4 7 +21 +3"]),
    "trained_padding": (
        ["5 4 7 +21 +3 +2", "5 4 7 +21 +3 2 +2p 2p", "+0p 5 4 7 +21 +3"],
        ["5 +2 4 7 +21 +3 2"],
    ),
}
_OTHERS = {"uneven", "differing_labels", "repeats_across_splits", "repeats", "cut", "collator"}


def tokens(*rows: dict[str, Any], split: str | None = None) -> TokenRows:
    return TokenRows.of(pl.DataFrame(list(rows)), split, "x.parquet", 0)


@pytest.mark.parametrize("name", TOKENS)
def test_each_check_of_tokens_finds_its_cases_and_no_others(name: str) -> None:
    odd, sound = TOKENS[name]
    for text in odd:
        assert cases("tokens", name, [tokens(row(text))], TINY).count == 1, text
    for text in [SOUND, *sound]:
        assert cases("tokens", name, [tokens(row(text))], TINY).count == 0, text
    mixed = [row(text) for text in [SOUND, *sound, *odd, SOUND]]
    found_in = cases("tokens", name, [tokens(*mixed)], TINY)
    assert found_in.count == len(odd), "rows do not run into each other"


def test_every_check_of_tokens_is_tried() -> None:
    assert {check.name for check in CHECKS["tokens"]} == set(TOKENS) | _OTHERS


def test_a_padding_token_that_ends_turns_is_padding_from_the_second_on() -> None:
    facts = replace(TINY, pad=END)
    padded = tokens(row("5 20 3 4 7 +21 +3 3 3"))
    assert cases("tokens", "trained_padding", [padded], facts).count == 0
    assert cases("tokens", "untrained_end", [padded], facts).count == 0
    trained = tokens(row("5 20 3 4 7 +21 +3 +3 +3"))
    assert cases("tokens", "trained_padding", [trained], facts).count == 1


def test_labels_that_are_shifted_or_of_another_length_are_found() -> None:
    shifted = {"input_ids": [5, 4, 7, 21, 3], "labels": [-100, -100, 21, 3, -100]}
    short = {"input_ids": [5, 4, 7, 21, 3], "labels": [5, 4]}
    good = {"input_ids": [5, 4, 7, 21, 3], "labels": [-100, -100, -100, 21, 3]}
    rows = tokens(good, short, shifted, good)
    assert cases("tokens", "differing_labels", [rows], TINY).count == 1
    uneven = cases("tokens", "uneven", [rows], TINY)
    assert (uneven.count, uneven.of) == (1, 4)
    assert uneven.example is not None
    assert uneven.example.where == "x.parquet#1"
    assert cases("tokens", "repeats", [rows], TINY).count == 1


@pytest.mark.parametrize("mask", ["assistant_masks", "completion_mask", "loss_mask"])
def test_masks_say_what_is_trained(mask: str) -> None:
    rows = tokens({"input_ids": [5, 4, 7, 21, 3], mask: [0, 0, 0, 1, 0]})
    assert rows.labels.tolist() == [-100, -100, -100, 21, -100]
    assert cases("tokens", "untrained_end", [rows], TINY).count == 1


def test_long_conversations_are_those_of_more_tokens_than_the_default(sample: Path) -> None:
    """In the tokenizer of bytes a token is a byte, so that the beginning always decides; in a
    tokenizer of long words all of a conversation has to be read."""
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    talks = [[user("a" * size), answer("b")] for size in (1022, 1023, 5, 20_000)]
    assert cases("messages", "cut", [batch(*talks)], facts).count == 2  # a line feed between
    long_words = tokenizers.Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    long_words.pre_tokenizer = Whitespace()
    talks = [[user(("x" * 99 + " ") * number), answer("b")] for number in (1023, 1024)]
    facts = replace(facts, tokenizer=long_words)
    assert cases("messages", "cut", [batch(*talks)], facts).count == 1


def test_a_token_of_id_0_is_known() -> None:
    rows = tokens(row("0 0 5 3 4 7 +21 +3"))
    assert cases("tokens", "doubled_begin", [rows], replace(TINY, begin=0)).count == 1


ODD_LISTS: list[Any] = [None, "1 2 3", [[1, 2], [3]], [1, None, 3], ["a", "b"], 7, [], {"a": 1}]


@pytest.mark.parametrize("odd", [each for each in ODD_LISTS if each != []])
def test_what_is_no_row_of_ids_is_counted(tmp_path: Path, odd: object) -> None:
    good = {"input_ids": [5, 4, 7, 21, 3], "labels": [-100, -100, -100, 21, 3]}
    lines = [json.dumps(good), json.dumps({"input_ids": odd}), "{", json.dumps({"messages": []})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    results = audited(tmp_path)
    assert faults(results) == {"uneven": 3}
    assert results["uneven"].cases.of == 4


@pytest.mark.slow
def test_no_row_stops_an_audit(tmp_path: Path, sample: Path) -> None:
    rng = random.Random(7)
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    lists = [*ODD_LISTS, [5, 4], [2**40], [-3, 1], [1.5], [True, False]]
    names = ["input_ids", "labels", "attention_mask", "assistant_masks", "id"]
    for number in range(25):
        rows = [
            {name: rng.choice(lists) for name in names if rng.random() < 0.7}
            for _ in range(rng.randrange(1, 5))
        ]
        path = tmp_path / f"{number}.jsonl"
        write_jsonl(path, [{"input_ids": [5]}, *rows])
        audit = auditing.audit([path], facts)
        assert audit.read["rows"] == 1 + len(rows)


def test_several_masks_train_what_all_of_them_train() -> None:
    masks = {"assistant_masks": [0, 1, 1], "completion_mask": [1, 1, 0]}
    assert tokens({"input_ids": [5, 6, 7], **masks}).labels.tolist() == [-100, 6, -100]
    assert tokens({"input_ids": [5, 6, 7]}).labels.tolist() == [5, 6, 7]


def test_what_a_default_length_cuts_is_counted() -> None:
    def long(words: int, answered: int) -> dict[str, Any]:
        return row(" ".join(["5"] * words + ["4", "7"] + ["+21"] * answered + ["+3"]))

    rows = tokens(long(5, 1021 - 5), long(5, 1020), long(1020, 2), long(1022, 2), row(SOUND))
    cut = cases("tokens", "cut", [rows], TINY)
    assert cut.count == 3
    assert list(cut.tally.values()) == [3, 1]


def test_the_collator_that_overwrites_labels_is_named_with_the_tokens_that_it_would_train() -> None:
    counted = cases("tokens", "collator", [tokens(row("5 3 4 7 +21 +3 2p"), row("+5 +3"))], TINY)
    assert (counted.count, counted.of) == (4, 9)  # all untrained tokens but padding
    check = next(check for check in CHECKS["tokens"] if check.name == "collator")
    assert "DataCollatorForSeq2Seq(tokenizer), which keeps the labels" in check.way_out
    assert not check.is_fault


def slow_counts(rows: list[dict[str, list[int]]]) -> dict[str, int]:
    """What the fast checks count, one token after the other."""
    untrained = missing = masked = 0
    for each in rows:
        ids, labels = each["input_ids"], each["labels"]
        masked += all(label == -100 for label in labels)
        has_words = False
        for place, (id, label) in enumerate(zip(ids, labels, strict=True)):
            has_words |= label != -100 and id not in (END, PAD, BLANK)
            if id == END:
                untrained += has_words and label == -100
                has_words = False
            elif place == len(ids) - 1:
                missing += has_words
    return {"untrained_end": untrained, "missing_end": missing, "fully_masked": masked}


@pytest.mark.slow
def test_fast_counts_are_those_of_a_slow_loop() -> None:
    rng = random.Random(5)
    for _ in range(60):
        rows = []
        for _ in range(rng.randrange(1, 6)):
            ids = [rng.randrange(1, 12) for _ in range(rng.randrange(1, 15))]
            labels = [id if rng.random() < 0.4 else -100 for id in ids]
            rows.append({"input_ids": ids, "labels": labels})
        for name, number in slow_counts(rows).items():
            assert cases("tokens", name, [tokens(*rows)], TINY).count == number, rows


def test_first_and_last_places_of_rows() -> None:
    rows = tokens(row("5 +20 3 +4"), row("5 6"), row("+7"))
    assert rows.first(rows.trained).tolist() == [1, -1, 0]
    assert rows.last(rows.trained).tolist() == [3, -1, 0]
    assert rows.count(rows.trained).tolist() == [2, 0, 1]
    assert np.flatnonzero(~rows.follows).tolist() == [0, 4, 6]
