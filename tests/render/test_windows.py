"""Several rows of a long conversation: whole turns, carried context, nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.render import windows as spans
from chatdata.render.built_in import load
from chatdata.render.fit import Fitted, fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer
from tests.support.conversations import Turns, random_conversation, table
from tests.support.templates import ENDED, THINKING, bracketed, load_bytes

CONVERSATIONS = {str(seed): random_conversation(seed) for seed in range(40)}


@pytest.fixture(scope="module", params=["starchat", "dialogue", "system", "ended", "thinking"])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    carried = {"ended": ENDED, "thinking": THINKING}
    if request.param in carried:
        pytest.importorskip("transformers")
        return load_bytes(carried[request.param], folder)
    if request.param == "system":
        return load(None, "bytes", BUILT_IN["starchat"], "You are asked things.")
    return load(None, "bytes", BUILT_IN[request.param], None)


def split(
    conversations: dict[str, Turns], tokenizer: Tokenizer, **settings: Any
) -> tuple[pl.DataFrame, Fitted, Rendered]:
    options = Render(tokenizer="bytes", overflow="split", **settings)
    pool, messages = TextPool(tokenizer), table(conversations)
    fitted = fit(messages, pool, options)
    return messages, fitted, render(fitted.messages, fitted.windows, pool, options)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [40, 90, 200, 800, 5000])
def test_rows_fit_and_every_answer_is_learnt_once(tokenizer: Tokenizer, limit: int) -> None:
    messages, fitted, rendered = split(CONVERSATIONS, tokenizer, max_tokens=limit)
    assert (np.diff(rendered.offsets) <= limit).all()
    learnt = rendered.row_messages.filter(pl.col("train")).group_by("message").len()
    answers = rendered.messages.filter(pl.col("role") == "assistant")
    assert set(learnt["message"]) == set(answers["message"])
    assert learnt["len"].max() in (None, 1)
    dropped = fitted.outcomes.filter(pl.col("unit") == "message")["id"].to_list()
    assert sorted([*rendered.messages["message"], *dropped]) == sorted(messages["message"])
    assert len(set(rendered.ids)) == len(rendered.ids)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [90, 200])
def test_rows_are_whole_turns_behind_their_context(tokenizer: Tokenizer, limit: int) -> None:
    _, _, rendered = split(CONVERSATIONS, tokenizer, max_tokens=limit)
    for row in rendered.row_messages.partition_by("conversation", maintain_order=True):
        turns = row.filter(pl.col("role") != "system")
        positions = turns["position"].to_list()
        assert positions == list(range(positions[0], positions[0] + len(positions)))
        assert turns["role"][0] == "user"
        assert turns["role"][-1] == "assistant"
        # Once a turn is learnt from, those behind it are too.
        learnt = turns.filter(pl.col("role") == "assistant")["train"].fill_null(False).to_list()
        assert learnt == sorted(learnt)


def test_by_bytes() -> None:
    """A golden that can be read: trained text in brackets."""
    tokenizer = load(None, "bytes", BUILT_IN["starchat"], None)
    talk = [("system", "s")]
    for i in "123":
        talk += [("user", f"question {i}"), ("assistant", f"answer {i}")]
    turn = {i: f"<|user|>\nquestion {i}<|end|>\n<|assistant|>\n" for i in "123"}
    size = len("s") + 4 + len("question 1answer 1") + 8  # the bytes and the control tokens
    _, _, rendered = split({"x": talk}, tokenizer, max_tokens=size + 26, carry_tokens=30)
    assert rendered.ids == ["x#1-4", "x#5-6"]
    assert bracketed(rendered, tokenizer) == [
        f"<|system|>\ns<|end|>\n{turn['1']}[answer 1<|end|>]\n{turn['2']}[answer 2<|end|>]\n",
        f"<|system|>\ns<|end|>\n{turn['2']}answer 2<|end|>\n{turn['3']}[answer 3<|end|>]\n",
    ]
    _, _, bare = split({"x": talk}, tokenizer, max_tokens=size + 26, carry_tokens=0)
    assert bracketed(bare, tokenizer)[1] == (
        f"<|system|>\ns<|end|>\n{turn['3']}[answer 3<|end|>]\n"
    )


def test_a_turn_that_no_row_can_hold_ends_the_conversation(tokenizer: Tokenizer) -> None:
    talk = [("user", "q"), ("assistant", "a"), ("user", "r" * 500), ("assistant", "b")] * 2
    _, fitted, rendered = split({"x": talk, "y": talk[2:]}, tokenizer, max_tokens=300)
    assert rendered.messages["message"].to_list() == ["x#0", "x#1"]
    lost = fitted.outcomes
    assert set(lost["reason"]) == {"too_long"}
    assert lost.filter(pl.col("unit") == "conversation")["id"].to_list() == ["y"]
    assert lost.filter(pl.col("unit") == "message").height == 6 + 6


def test_what_fits_is_one_row_with_its_own_id(tokenizer: Tokenizer) -> None:
    talk = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    _, _, rendered = split({"x": talk}, tokenizer, max_tokens=10_000)
    forgets = not tokenizer.template.keeps_history
    assert rendered.ids == (["x#1", "x#3"] if forgets else ["x"])


@pytest.mark.parametrize("limit", [60, 10_000])
def test_no_two_rows_have_one_id(tokenizer: Tokenizer, limit: int) -> None:
    talk = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")] * 2
    names = ["x", "x#1", "x#0-1", "x#3", "x#1#1", "x#2-3"]
    talks = {name: talk if number % 2 == 0 else talk[:2] for number, name in enumerate(names)}
    _, _, rendered = split(talks, tokenizer, max_tokens=limit)
    assert set(rendered.conversations) == set(names)
    assert len(set(rendered.ids)) == len(rendered.ids)


def test_a_row_for_each_answer_carries_what_is_said(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    tokenizer = load_bytes(THINKING, tmp_path)
    talk = [pair for n in range(4) for pair in (("user", f"q{n}"), ("assistant", f"a{n}"))]
    turns = {}
    for carry in (0, 30, None):
        _, _, rendered = split({"x": talk}, tokenizer, max_tokens=80, carry_tokens=carry)
        rows = rendered.row_messages.partition_by("conversation", maintain_order=True)
        turns[carry] = [row.height for row in rows]
        assert (np.diff(rendered.offsets) <= 80).all()
    assert turns == {0: [2, 4, 6, 2], 30: [2, 4, 6, 4], None: [2, 4, 6, 6]}


def test_a_quarter_of_a_row_is_context_unless_the_recipe_says_otherwise() -> None:
    """The default of `carry_tokens`: what fits into a quarter, and no more."""
    tokenizer = load(None, "bytes", BUILT_IN["starchat"], None)
    talk = [pair for n in range(6) for pair in (("user", f"question {n}"), ("assistant", "a" * 8))]
    exchange = len("question 0" + "a" * 8) + 2 * 4  # the bytes, control tokens and new lines
    limit = 4 * exchange
    chosen = Render(tokenizer="bytes", max_tokens=limit, overflow="split")
    assert chosen.budget() == spans.Budget(limit, exchange)
    context = {}
    for carry in (None, exchange, exchange - 1, 2 * exchange):
        _, _, rendered = split({"x": talk}, tokenizer, max_tokens=limit, carry_tokens=carry)
        second = rendered.row_messages.filter(pl.col("conversation") == rendered.ids[1])
        context[carry] = second["train"].null_count()
    assert context == {None: 2, exchange: 2, exchange - 1: 0, 2 * exchange: 4}


def test_context_is_no_more_than_is_said() -> None:
    tokenizer = load(None, "bytes", BUILT_IN["starchat"], None)
    for carry in (0, 30, 60):
        _, _, rendered = split(CONVERSATIONS, tokenizer, max_tokens=250, carry_tokens=carry)
        for number, row in enumerate(
            rendered.row_messages.partition_by("conversation", maintain_order=True)
        ):
            context = row.filter(pl.col("role") == "assistant", pl.col("train").is_null())
            start, end = rendered.offsets[number : number + 2]
            labels = rendered.labels[start:end]
            spent = int(np.flatnonzero(labels != IGNORE_INDEX)[0])
            questions = row.filter(pl.col("train"))["position"][0] - 1
            taught = row.filter(pl.col("position") >= questions)["content"]
            head = row.filter(pl.col("role") == "system")["content"]
            fixed = sum(len(text.encode()) + 4 for text in [*head, taught[0]]) + 2
            assert spent - fixed <= carry or context.is_empty()
            assert carry or context.is_empty()


def test_the_last_answer_is_learnt_in_one_row_alone(tokenizer: Tokenizer) -> None:
    _, _, rendered = split(CONVERSATIONS, tokenizer, max_tokens=200, train_on="last_assistant")
    assert len(set(rendered.conversations)) == len(rendered.conversations)
    learnt = rendered.row_messages.filter(pl.col("train"))
    last = rendered.messages.filter(pl.col("role") == "assistant").group_by("conversation").last()
    assert set(learnt["message"]) == set(last["message"])


def test_every_turn_is_learnt_once_where_all_are(tokenizer: Tokenizer) -> None:
    """Context used to be learnt from again, in each row that carries it."""
    _, _, rendered = split(CONVERSATIONS, tokenizer, max_tokens=200, train_on="all")
    rows = rendered.row_messages.partition_by("conversation", maintain_order=True)
    assert len(rows) > len(set(rendered.conversations))
    # What a template writes row by row cannot be told apart: a system turn is learnt from again.
    by_rows = not tokenizer.template.is_explicit
    fresh = rendered.row_messages.filter(pl.col("train").is_not_null())
    assert sorted(fresh["message"]) == sorted(rendered.messages["message"])
    for number, row in enumerate(rows):
        start, end = rendered.offsets[number : number + 2]
        untrained = (rendered.labels[start:end] == IGNORE_INDEX).sum()
        assert by_rows or (untrained == 0) == (row["train"].null_count() == 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["render.carry_tokens=5"], "carry_tokens needs overflow: split"),
        (["render.date=2026-01-31"], "are for template 'tokenizer'"),
        (["render.variables={tools: []}"], "are for template 'tokenizer'"),
        (["render.template=tokenizer", "render.system=Hi"], "system is for templates of ours"),
        (
            ["render.overflow=split", "render.max_tokens=null"],
            "overflow is split, and max_tokens is not set, so nothing is too long; set max_tokens",
        ),
        (["render.overflow=cut", "render.max_tokens=null"], "overflow is cut, and max_tokens is"),
        (
            ["render.overflow=split", "render.max_tokens=100", "render.carry_tokens=101"],
            "carry_tokens is 101, and a row has at most max_tokens 100; write fewer",
        ),
        (
            ["render.template=tokenizer", "render.date=yesterday"],
            "render.date: 'yesterday' is not a date; write year, month and day",
        ),
        (["render.max_tokens=0"], "greater than or equal to 1"),
    ],
)
def test_what_would_be_said_in_vain_is_refused(settings: list[str], words: str) -> None:
    from chatdata import load_recipe
    from chatdata.core.errors import ConfigError

    with pytest.raises(ConfigError, match=words):
        load_recipe("sample", settings)


@pytest.mark.slow
def test_a_build_says_how_many_rows_there_are(tmp_path: Path) -> None:
    from chatdata import build_dataset, load_recipe, read_manifest
    from chatdata.dataset.reader import explain, scan

    recipe = load_recipe(
        "sample", ["render.max_tokens=400", "render.overflow=split", "max_dropped=1"]
    )
    build_dataset(recipe, tmp_path / "out")
    facts = read_manifest(tmp_path / "out")
    tokens = scan(tmp_path / "out", "tokens").collect()
    messages = scan(tmp_path / "out", "messages").collect()
    rows = {name: entry["token_rows"] for name, entry in facts["splits"].items()}
    assert sum(rows.values()) == tokens.height == facts["render"]["token_rows"]
    assert tokens.height > messages.height
    several = tokens.filter(~pl.col("id").is_in(messages["id"].implode()))["id"]
    entries = explain(tmp_path / "out", several[0])
    details = entries.filter(pl.col("unit") == "conversation")["detail"]
    assert details.str.contains("rows of tok").all()
    owner = row_id.conversation_of(several[0])
    split_of = dict(messages.select("id", "split").iter_rows())
    assert split_of[owner] == tokens.filter(pl.col("id") == several[0])["split"].item()


MANY = """
import resource

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

import polars as pl

from chatdata.core import schema
from chatdata.render import windows

n = 30_000
given = {"conversation": ["a"] * n, "position": range(n), "role": ["user", "assistant"] * (n // 2)}
table = pl.DataFrame(given)
table = table.select(
    pl.col(name) if name in given else pl.lit(None).alias(name) for name in schema.MESSAGES
)
spans = pl.DataFrame({"first": range(0, n, 2), "last": range(1, n, 2)})
spans = spans.with_columns(conversation=pl.lit("a"), row=pl.lit("r"), loss_from="first")
spans = spans.select(windows.WINDOWS.keys()).cast(windows.WINDOWS)
rows = windows.rows(table.cast(schema.MESSAGES), spans)
print(rows.height)
"""


def test_many_windows_of_a_long_conversation_take_the_memory_of_their_messages() -> None:
    """In 4 GB of addresses; all pairs of a window and a message would be 450 million rows."""
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}  # each has addresses of its own
    line = [sys.executable, "-c", MANY]
    ran = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("30000\n", "")
