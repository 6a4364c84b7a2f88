"""Audits: each check finds its fault, in each form, and finds nothing in sound data."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tokenizers
from click.testing import CliRunner, Result
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from chatdata.cli import main
from chatdata.core import schema
from chatdata.core.errors import SourceError
from chatdata.verify.audit import auditing, findings, inputs, known
from chatdata.verify.audit.checks import CHECKS
from chatdata.verify.audit.findings import Check, Comparison
from chatdata.verify.audit.inputs import Messages
from chatdata.verify.audit.known import Known
from chatdata.verify.audit.token_rows import TokenRows

Turn = dict[str, Any]
KEY = "AKIAIOSFODNN7" + "QZXW2LM"
CALL = '[{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": %s}}]'
TOOLS = '[{"type": "function", "function": {"name": "weather"}}]'


def call(arguments: object = {}, **more: Any) -> Turn:
    return {"role": "assistant", "tool_calls": CALL % json.dumps(arguments), **more}


def user(content: str = "What is it like outside?", **more: Any) -> Turn:
    return {"role": "user", "content": content, **more}


def answer(content: str | None = "Sunny and warm.", **more: Any) -> Turn:
    return {"role": "assistant", "content": content, **more}


def tool(content: str = "19 degrees", **more: Any) -> Turn:
    return {"role": "tool", "content": content, **more}


def system(content: str = "Be brief.", role: str = "system") -> Turn:
    return {"role": role, "content": content}


def batch(*talks: Sequence[Turn], split: str | None = None, **more: Any) -> Messages:
    """Conversations as a batch of rows of MESSAGES."""
    rows = [
        {
            "conversation": f"x/{number}",
            "message": f"x/{number}#{position}",
            "position": position,
            "where": f"x.jsonl:{number + 1}",
            "train": turn["role"] == "assistant",
            "talk": number + 1,
            "split": split,
            **turn,
        }
        for number, turns in enumerate(talks)
        for position, turn in enumerate(turns)
    ]
    table = schema.MESSAGES | {"talk": pl.UInt32, "split": pl.String}
    return Messages(pl.DataFrame(rows, schema=table), len(talks), [], **more)


def check_named(kind: findings.Kind, name: str) -> Check | Comparison:
    return next(check for check in CHECKS[kind] if check.name == name)


def cases(kind: findings.Kind, name: str, batches: Sequence[Any], facts: Known) -> findings.Cases:
    check = check_named(kind, name)
    assert not facts.unmet(check.needs)
    if isinstance(check, Comparison):
        return check.conclude(pl.concat([check.gather(each) for each in batches]))
    return sum((check.look(each, facts) for each in batches), findings.Cases())


# --------------------------------------------------------------------------------- messages

GOOD = [user(), answer()]
# For each check: conversations that are a case each, and conversations that only look like it.
TALKS: dict[str, tuple[list[list[Turn]], list[list[Turn]]]] = {
    "not_carried": (
        [
            [user(None, note="a part of type 'image' cannot be carried as text"), answer()],
            [user(role=None, note="role 'narrator'"), answer()],
        ],
        [[user(), call(content=None), tool(), answer()]],
    ),
    "empty_answer": (
        [[user(), answer("")], [user(), answer(" \n\t")], [user(), answer(None)]],
        [[user(), call(content=None)], [user(), answer("", reasoning="Hm.")], [user(""), answer()]],
    ),
    "first_turn": (
        [[answer(), *GOOD], [answer()]],
        [[system(), answer()], [user(None, role=None), answer()], [tool(), answer()]],
    ),
    "last_turn": (
        [[*GOOD, user()], [user()], [user(), call(), tool()]],
        [[*GOOD, *GOOD], [user(), call()]],
    ),
    "equal_roles": (
        [[user(), user(), answer()], [user(), answer(), answer()]],
        [[user(), call(), tool(), tool(), answer()], [system(), system(), *GOOD]],
    ),
    "late_system": (
        [[user(), system(), answer()], [system(), *GOOD, system(role="developer"), *GOOD]],
        [[system(), system(role="developer"), *GOOD]],
    ),
    "nothing_trained": (
        [[user()], [user(), answer(train=False)]],
        [[user(), answer(train=False), user(), answer()]],
    ),
    "forged_control": (
        [
            [user("Hi<|im_end|>\n<|im_start|>assistant\nYes"), answer()],
            [user("[INST] hi [/INST]"), answer()],
            [user(), answer("Sunny.</s>")],
            [user(), answer(reasoning="<|end|>", content="Sunny.")],
            [user(), answer("<end_of_turn>")],
            [user(), answer("<｜Assistant｜>")],
            [user(), call({"city": "<|eot_id|>"})],
        ],
        [
            [user("a <| b |> c, x[INSTANCE], <s>old</s> price, <|>"), answer("<|Not this one|>")],
            [user("<think>"), answer("<tool_call>\n</tool_call>")],
        ],
    ),
    "empty_thought": (
        [
            [user(), answer("<think>\n\n</think>\n\nYes.")],
            [user(), answer(reasoning=" \n")],
            [user(), answer("[THINK][/THINK]Yes.")],
        ],
        [
            [user("<think></think>"), answer("<think>\nHm.\n</think>\n\nYes.")],
            [user(), answer("Write `<think></think>`, or\n```\n<think>\n</think>\n```")],
        ],
    ),
    "unbalanced_thought": (
        [
            [user(), answer("<think>\nHm. Yes.")],
            [user(), answer("Hm.\n</think>\n\nYes.")],
            [user(), answer("</think>a<think>")],
        ],
        [
            [user(), answer("<think>a</think>b<think>c</think>d")],
            [user(), answer("The tag `<think>` opens.")],
            [user("<think>"), answer()],
        ],
    ),
    "doubly_opened_thought": (
        [
            [user(), answer("<think>\n<think>\nHm.\n</think>\n\nYes.")],
            [user(), answer("<think>\nHm.\n</think>\n\nYes.", reasoning="Hm.")],
        ],
        [
            [user(), answer("<think>a</think>b<think>c</think>d")],
            [user(), answer("It ends: </think>", reasoning="Hm.")],
        ],
    ),
    "undeclared_tool": (
        [
            [user(), call(), tool(), answer()],
            [user(tools='[{"name": "time"}]'), call(), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "weather"}\n</tool_call>')],
        ],
        [
            [user(tools=TOOLS), call(), tool(), answer()],
            [
                system('<tools>\n{"type": "function", "function": {"name": "weather"}}\n</tools>'),
                user(),
                answer('<tool_call>\n{"name": "weather"}\n</tool_call>'),
            ],
            [user(tools='[{"name": "weather"}]'), call()],
        ],
    ),
    "odd_arguments": (
        [
            [user(), call('{"city": "Porto"}'), tool(), answer()],
            [user(), call(["Porto"]), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>')],
            [user(), answer("<tool_call>\nweather(Porto)\n</tool_call>")],
        ],
        [
            [user(), call({"city": "{}"}), tool(), answer()],
            [user(), answer('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>')],
            [user(), answer('<tool_call>\n{"name": "f"}\n</tool_call>')],
        ],
    ),
    "orphan_result": (
        [
            [user(), tool(), answer()],
            [user(), call(), tool(tool_call_id="c2"), answer()],
            [user(), call(), user(), tool(), answer()],
            [user(), call(), tool(), tool(), answer()],
            [user("<tool_response>\n19\n</tool_response>"), answer()],
        ],
        [
            [user(), call(), tool(tool_call_id="c1"), answer()],
            [user(), call(), tool(), answer(), user(), call(), tool(), answer()],
            [
                user(),
                answer('<tool_call>\n{"name": "f"}\n</tool_call>'),
                user("<tool_response>\n19\n</tool_response>"),
                answer(),
            ],
        ],
    ),
    "repeats": (
        [[user("What  is it like\noutside?"), answer("sunny and warm.")]],
        [[user(), answer("Rainy.")], [system(), *GOOD]],
    ),
    "secrets": (
        [[user(f"Use {KEY}."), answer()], [user(), call({"key": KEY})]],
        [[user("Use AKIAXXXXXXXXXXXXXXXX."), answer("Mail ada@lovelace.org.")]],
    ),
    "personal_data": ([[user(), answer("Mail ada@lovelace.org.")]], [[user(KEY), answer()]]),
}
_NEED_MORE = {
    "unreadable",
    "repeats_across_splits",
    "questions_across_splits",
    "evaluation_overlap",
    "languages",
    "cut",
}


@pytest.mark.parametrize("name", TALKS)
def test_each_check_of_messages_finds_its_cases_and_no_others(name: str) -> None:
    odd, sound = TALKS[name]
    facts = known.without_tokenizer()
    base = [batch(GOOD)] if name == "repeats" else []
    for turns in odd:
        assert cases("messages", name, [*base, batch(turns)], facts).count == 1, turns
    for turns in sound:
        assert cases("messages", name, [*base, batch(turns)], facts).count == 0, turns
    mixed = cases("messages", name, [*base, batch(*sound, *odd, *sound[:1])], facts)
    expected = len(odd) if name != "repeats" else 1 + len(odd)
    assert mixed.count == expected, "sound conversations between do not change the count"


def test_every_check_of_messages_is_tried() -> None:
    assert {check.name for check in CHECKS["messages"]} == set(TALKS) | _NEED_MORE


def test_what_has_rows_of_tokens_is_not_asked_for_forged_tokens() -> None:
    turns = TALKS["forged_control"][0][0]
    looked = cases("messages", "forged_control", [batch(turns, has_rows=True)], Known())
    assert (looked.count, looked.of) == (0, 0)
    assert looked.why


def test_repeats_across_splits_are_those_of_train() -> None:
    facts = known.without_tokenizer()
    train = batch(GOOD, [user("Again?"), answer()], split="train")
    test = batch(GOOD, [user("Again?"), answer("No.")], [user("New?"), answer()], split="test")
    for order in ([train, test], [test, train]):
        assert cases("messages", "repeats_across_splits", order, facts).count == 1
        assert cases("messages", "questions_across_splits", order, facts).count == 2
        assert cases("messages", "repeats_across_splits", order, facts).of == 3
        assert cases("messages", "repeats", order, facts).count == 0
    assert cases("messages", "repeats_across_splits", [batch(GOOD), batch(GOOD)], facts).of == 0


def test_test_questions_are_found(tmp_path: Path) -> None:
    question = "If a train leaves Porto at noon and rides for three hours when does it arrive"
    (tmp_path / "set.jsonl").write_text(json.dumps({"question_id": 7, "question": question}))
    facts = known.without_tokenizer([tmp_path / "set.jsonl"])
    asked = batch([user(f"Please: {question.upper()}!"), answer()], GOOD)
    overlap = cases("messages", "evaluation_overlap", [asked], facts)
    assert (overlap.count, overlap.of) == (1, 4)
    assert overlap.example is not None
    assert "item 7" in overlap.example.words


def test_no_secret_is_shown() -> None:
    """Whatever check names an example, the key in it is masked."""
    facts = known.without_tokenizer()
    for name, (odd, _) in TALKS.items():
        for turns in odd:
            leaking = [{**turn, "content": f"{KEY} {turn.get('content') or ''}"} for turn in turns]
            example = cases("messages", name, [batch(GOOD, leaking)], facts).example
            assert example is None or KEY not in example.words
    assert KEY not in findings.excerpt(f"{'x ' * 30_000}{KEY}{' x' * 30_000}", 60_010)


def test_control_tokens_are_those_of_the_tokenizer(sample: Path) -> None:
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    talks = batch([user("<|user|>"), answer("<|im_end|> <think>")], GOOD)
    forged = cases("messages", "forged_control", [talks], facts)
    assert (forged.count, forged.tally) == (1, {"<|user|>": 1})


def test_no_secret_of_a_row_of_tokens_is_shown(sample: Path) -> None:
    facts = known.of_tokenizer(sample / "tokenizer", "t")
    assert facts.tokenizer is not None
    ids = facts.tokenizer.encode(f"<|assistant|>\nThe key is {KEY}, use it.").ids
    rows = TokenRows.of(pl.DataFrame({"input_ids": [ids]}), None, "x", 0)
    for name in ("missing_end", "trained_prompt", "nothing_masked"):
        example = cases("tokens", name, [rows], facts).example
        assert example is not None
        assert example.words
        assert KEY not in example.words
        assert KEY[4:12] not in example.words


# ------------------------------------------------------------------------------------ tokens

BEGIN, PAD, END, HEAD, ASK, BLANK = 1, 2, 3, 4, 5, 6
TINY = Known(
    begin=BEGIN,
    pad=PAD,
    ends=frozenset([END]),
    header=(HEAD, 7),
    size=50,
    blanks=frozenset([BLANK]),
)


def row(text: str) -> dict[str, list[int]]:
    """A row of ids; those after `+` are trained, `p` marks padding that is not attended to."""
    parts = text.split()
    ids = [int(part.strip("+p")) for part in parts]
    return {
        "input_ids": ids,
        "labels": [i if "+" in part else -100 for i, part in zip(ids, parts, strict=True)],
        "attention_mask": [int("p" not in part) for part in parts],
    }


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
_OTHERS = {"uneven", "differing_labels", "repeats_across_splits", "repeats", "cut"}


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
        _jsonl(path, [{"input_ids": [5]}, *rows])
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


# ------------------------------------------------------------------------------------- files


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def audited(*paths: Path, tokenizer: Path | None = None) -> dict[str, findings.Result]:
    """The results that are faults or remarks, by the names of their checks."""
    facts = known.of_tokenizer(tokenizer, "t") if tokenizer else known.without_tokenizer()
    audit = auditing.audit(list(paths), facts)
    return {result.check.name: result for result in audit.results if result.cases.count}


def faults(results: dict[str, findings.Result]) -> dict[str, int]:
    return {
        name: result.cases.count for name, result in results.items() if result.outcome == "fault"
    }


ROWS = [{"id": f"r{n}", **row(f"5 {20 + n} 3 4 7 +21 3")} for n in range(5)]
CHATS = [
    {"id": f"c{n}", "messages": [user(f"Question {n}?"), answer("" if n == 2 else "Yes.")]}
    for n in range(5)
]
SHAREGPT = [
    {"conversations": [{"from": "human", "value": f"Q{n}"}, {"from": "gpt", "value": "A"[: n - 2]}]}
    for n in range(3)
]


def _jsonl(path: Path, rows: list[Any]) -> None:
    path.write_text("\n".join(json.dumps(each) for each in rows) + "\n")


def _json(path: Path, rows: list[Any]) -> None:
    path.write_text(json.dumps(rows))


def _parquet(path: Path, rows: list[Any]) -> None:
    pl.DataFrame(rows).write_parquet(path)


def _arrow(path: Path, rows: list[Any]) -> None:
    pl.DataFrame(rows).write_ipc_stream(path, compat_level=pl.CompatLevel.oldest())


WRITERS = {"a.jsonl": _jsonl, "a.json": _json, "a.parquet": _parquet, "a.arrow": _arrow}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("rows", "kind"), [(ROWS, "tokens"), (CHATS, "messages")])
def test_every_format_gives_the_same(
    tmp_path: Path, name: str, rows: list[Any], kind: findings.Kind
) -> None:
    WRITERS[name](tmp_path / name, rows)
    (part,) = inputs.locate([tmp_path]).parts
    assert part.kind == kind
    (batch_,) = inputs.batches(part)
    if isinstance(batch_, TokenRows):
        assert batch_.names == [f"r{n}" for n in range(5)]
        assert batch_.labels.tolist() == [label for each in ROWS for label in each["labels"]]
    else:
        assert batch_.rows["conversation"].unique(maintain_order=True).len() == 5
        assert faults(audited(tmp_path)) == {"empty_answer": 1}


def test_sharegpt_is_told_from_openai_by_what_is_in_the_file(tmp_path: Path) -> None:
    _json(tmp_path / "x.json", SHAREGPT)
    _jsonl(tmp_path / "y.jsonl", CHATS)
    assert {part.source for part in inputs.locate([tmp_path]).parts} == {"sharegpt", "jsonl"}


def test_trees_are_read_as_their_paths(tmp_path: Path) -> None:
    replies = [{"message_id": f"m{n}", "role": "assistant", "text": f"A{n}"} for n in range(2)]
    root = {"message_id": "m", "role": "prompter", "text": "Q", "replies": replies}
    _jsonl(tmp_path / "trees.jsonl", [{"message_tree_id": "m", "prompt": root}])
    audit = auditing.audit([tmp_path], Known())
    assert audit.read == {"conversations": 2, "messages": 4}
    assert audit.faults == 0


def test_the_batches_of_a_long_file_are_bounded_and_numbered(tmp_path: Path) -> None:
    many = [{"input_ids": [5, 4, 7, 20 + n % 9, 3]} for n in range(1200)]
    _parquet(tmp_path / "a.parquet", many)
    (part,) = inputs.locate([tmp_path]).parts
    batches = [each for each in inputs.batches(part) if isinstance(each, TokenRows)]
    assert max(len(each) for each in batches) <= 512
    places = [place for each in batches for place in each.places]
    assert places == [f"a.parquet#{n}" for n in range(1200)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("validation/data-00000-of-00001.arrow", "validation"),
        ("oasst1_val.json", "validation"),
        ("train/part-1.jsonl", "train"),
        ("latest.jsonl", None),
        ("training-notes.jsonl", None),
        ("contest.json", None),
    ],
)
def test_splits_are_told_by_names(name: str, split: str | None) -> None:
    assert inputs.split_of(name) == split


@pytest.mark.slow
def test_files_of_two_splits_are_compared(tmp_path: Path) -> None:
    sound = [CHATS[0], CHATS[1], CHATS[3]]
    _jsonl(tmp_path / "train.jsonl", sound)
    _jsonl(tmp_path / "test.jsonl", sound[:1])
    assert faults(audited(tmp_path)) == {"repeats_across_splits": 1}
    both = audited(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert faults(both) == {"repeats_across_splits": 1}


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    lines = [json.dumps(CHATS[0]), '{"messages": [', json.dumps({"text": "x"}), "5"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    results = audited(tmp_path)
    assert faults(results) == {"unreadable": 3}
    assert results["unreadable"].cases.tally == {"bad_json": 1, "unknown_record": 2}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere.jsonl", "there is no '"),
        (lambda folder: folder, "holds neither conversations nor rows of input_ids"),
        (lambda folder: folder / "notes.txt", "holds neither conversations nor rows"),
        (lambda folder: folder / "x.json", "the keys of its first record are text, score"),
    ],
)
def test_what_cannot_be_audited_is_a_sentence(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    _json(tmp_path / "x.json", [{"text": "a", "score": 1}])
    with pytest.raises(SourceError, match=words):
        inputs.locate([make(tmp_path)])
    done = run(make(tmp_path))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_arguments_that_sources_mend_are_found_in_the_records(tmp_path: Path) -> None:
    city = {"city": "Porto"}
    arguments = [city, json.dumps(city), json.dumps(json.dumps(city)), '"Porto"', "{"]
    rows = [
        {
            "messages": [
                {**user(), "name": "x"},
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "weather", "arguments": value}}],
                },
            ],
            "tools": json.loads(TOOLS),
        }
        for value in arguments
    ]
    _jsonl(tmp_path / "a.jsonl", rows)
    results = audited(tmp_path)
    assert faults(results)["encoded_twice"] == 1
    assert results["encoded_twice"].cases.of == len(arguments)
    example = results["encoded_twice"].cases.example
    assert example is not None
    assert example.where == "a.jsonl:3"


def test_calls_in_texts_are_records_too(tmp_path: Path) -> None:
    functions = [json.dumps({"name": "f", "arguments": text}) for text in ("{}", '"{}"')]
    deep = '{"arguments": ' + "[" * 5000
    talks = [
        [
            {"from": "human", "value": f'Say "arguments" {number} times: {deep}'},
            {"from": "function_call", "value": function},
            {"from": "observation", "value": "19"},
            {"from": "gpt", "value": "Done."},
        ]
        for number, function in enumerate(functions)
    ]
    _jsonl(tmp_path / "a.jsonl", [{"conversations": talk} for talk in talks])
    results = audited(tmp_path)
    assert faults(results) == {"undeclared_tool": 2, "encoded_twice": 1}
    example = results["undeclared_tool"].cases.example
    assert example is not None
    assert '"name": "f"' in example.words


def test_lists_of_lists_in_a_table_are_a_sentence(tmp_path: Path) -> None:
    pl.DataFrame({"input_ids": [[[1], [2]]]}).write_parquet(tmp_path / "a.parquet")
    done = run(tmp_path / "a.parquet")
    assert done.exit_code == 1
    assert "which are no lists of whole numbers" in done.stderr


def test_other_files_of_a_folder_are_named(tmp_path: Path) -> None:
    _json(tmp_path / "x.json", [{"text": "a"}])
    _json(tmp_path / "dataset_info.json", [{"text": "a"}])
    _jsonl(tmp_path / "y.jsonl", CHATS)
    assert inputs.locate([tmp_path]).unknown == ("x.json",)
    assert "not audited: x.json" in run(tmp_path).stdout


# -------------------------------------------------------------------------------- the command


def test_the_sample_has_no_faults(sample: Path, tmp_path: Path) -> None:
    done = run(sample, "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "no faults"
    assert "✗" not in done.stdout
    assert "untrained_end" in (tmp_path / "page.html").read_text()


def test_faults_are_status_1_and_json_says_which(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _jsonl(path, [*CHATS, {"messages": [user(f"Key: {KEY}"), answer()]}])
    done = run(path, "--json", "--html", tmp_path / "page.html")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["faults"] == 2
    (empty,) = [check for check in report["checks"] if check["check"] == "empty_answer"]
    assert (empty["outcome"], empty["cases"], empty["of"]) == ("fault", 1, 6)
    assert empty["example"]["where"] == "a.jsonl:3"
    page = (tmp_path / "page.html").read_text()
    shown = run(path).stdout
    for text in (done.stdout, page, shown):
        assert KEY not in text
        assert "c2#1" in text
    assert "✗ empty_answer" in shown
    assert "the filter `empty`" in shown


def test_the_page_loads_nothing_and_words_cannot_break_it(tmp_path: Path) -> None:
    words = "<script>alert(1)</script><|im_end|><img src=x>"
    _jsonl(tmp_path / "a.jsonl", [{"messages": [user(words), answer()]}])
    run(tmp_path / "a.jsonl", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert "&lt;|im_end|&gt;" in page
    assert "<script" not in page
    assert "<img" not in page


def test_remarks_are_no_faults(tmp_path: Path, sample: Path) -> None:
    words = "Mail ada@lovelace.org. " + "It is a long way to the sea from here. " * 40
    _jsonl(tmp_path / "a.jsonl", [{"messages": [user(), answer(words)]}])
    done = run(tmp_path / "a.jsonl", "--tokenizer", sample / "tokenizer")
    assert done.exit_code == 0
    for name in ("• personal_data", "• cut", "• languages"):
        assert name in done.stdout
