"""A message that a cleaner leaves as it was is named in the ledger, whatever becomes of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import render_dataset
from chatdata.cli import main
from chatdata.dataset import dropped, manifest, reader
from chatdata.steps.clean import SEPARATOR
from tests.support.builds import SHAREGPT_ROLES, make
from tests.support.conversations import random_conversation, random_tree

DEEP = f"<p>{'<b>' * 100}a page{'</b>' * 100}</p>"  # more than html reads
OPEN = "<think>a thought without an end"  # lift_reasoning leaves it
LEFT = r"(?:^|; )left as it is by (.*)$"

TALKS = """
name: s
version: 1.0.0
source: {sharegpt: {}}
clean: [lift_reasoning, html, white_space]
threads: {start: user, end: assistant, repeated_role: merge}
drop: [empty, too_few_turns, duplicate]
render: {tokenizer: bytes, template: chatml, max_tokens: 3000}
max_dropped: 1.0
"""
TREES = """
name: t
version: 1.0.0
source: {oasst: {}}
clean: [html, lift_reasoning]
drop: [deleted, duplicate]
render: {tokenizer: bytes, max_tokens: 1200, overflow: cut}
max_dropped: 1.0
"""


def some_left(draw: random.Random, text: str, role: str) -> str:
    """The text, or in a third of cases one that a cleaner leaves."""
    lefts = [DEEP, OPEN if role in ("assistant", "gpt") else DEEP]
    return draw.choice(lefts) if draw.random() < 1 / 3 else text


def talk_file(folder: Path) -> Path:
    talks = []
    for seed in range(60):
        draw = random.Random(seed % 50)  # the last repeat the first, some by id as well
        turns = [turn for turn in random_conversation(seed % 50) for _ in range(draw.randint(1, 2))]
        values = [(SHAREGPT_ROLES[role], some_left(draw, text, role)) for role, text in turns]
        talk = [{"from": who, "value": value} for who, value in values]
        talks.append({"id": f"c{seed % 53}", "conversations": talk})
    path = folder / "talks.json"
    path.write_text(json.dumps(talks))
    return path


def tree_file(folder: Path) -> Path:
    draw = random.Random(5)
    rows = [row for seed in range(30) for row in random_tree(seed)]
    rows = [{**row, "text": some_left(draw, row["text"], row["role"])} for row in rows]
    path = folder / "trees.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, rows[0]])))
    return path


KINDS = {"talks": (TALKS, talk_file), "trees": (TREES, tree_file)}


def left_in_ledger(folder: Path) -> Counter[str]:
    """How many messages the ledger says each cleaner left."""
    rows = reader.scan_ledger(folder).select("unit", names=pl.col("detail").str.extract(LEFT, 1))
    named = rows.drop_nulls().collect()
    assert set(named["unit"]) <= {"message"}
    return Counter(name for names in named["names"] for name in names.split(SEPARATOR))


def left_in_manifest(folder: Path) -> dict[str, int]:
    entries = (manifest.read(folder).cleaned or {}).items()
    return {name: entry.left for name, entry in entries if entry.left}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ledger_names_as_many_messages_as_the_manifest_counts(
    tmp_path: Path, kind: str, workers: int
) -> None:
    text, write = KINDS[kind]
    built = make(tmp_path, text, write(tmp_path), "built", workers=workers)
    assert left_in_ledger(built) == left_in_manifest(built)
    assert left_in_ledger(built).keys() == {"html", "lift_reasoning"}
    rows = reader.scan_ledger(built).filter(pl.col("detail").str.contains(LEFT)).collect()
    assert set(rows["outcome"]) == {"kept", "dropped"}
    assert list(dropped.problems(built)) == []


def test_a_rendering_keeps_what_the_ledger_says_of_cleaners(tmp_path: Path) -> None:
    """Of what it drops too, and of messages that were merged into what it drops."""
    data = talk_file(tmp_path)
    whole = ("render.max_tokens=null", "render.template=starchat")
    settings = ("render.max_tokens=1500",)
    large = make(tmp_path, TALKS, data, "large", *whole)
    small = make(tmp_path, TALKS, data, "small", *settings)
    again = tmp_path / "again"
    render_dataset(large, again, tokenizer="bytes", template="chatml", settings=settings)
    ledgers = [reader.scan_ledger(folder).collect() for folder in (small, again)]
    assert ledgers[0].sort(ledgers[0].columns).equals(ledgers[1].sort(ledgers[1].columns))
    assert left_in_ledger(again) == left_in_manifest(large)


def test_a_message_that_was_left_is_explained(tmp_path: Path) -> None:
    def built(name: str, *turns: str) -> tuple[dict[str, Any], str]:
        values = [{"from": who, "value": t} for who, t in zip(["human", "gpt"], turns, strict=True)]
        (tmp_path / "talk.json").write_text(json.dumps([{"id": "x", "conversations": values}]))
        (tmp_path / "r.yaml").write_text(TALKS)
        places = {"--input": tmp_path / "talk.json", "--out": tmp_path / name}
        options = [str(word) for option in places.items() for word in option]
        done = CliRunner().invoke(main, ["build", str(tmp_path / "r.yaml"), *options])
        assert done.exit_code == 0, done.output
        rows = reader.scan_ledger(tmp_path / name).filter(unit="message").collect()
        return dict(rows.select("id", "detail").iter_rows()), done.output

    details, output = built("left", DEEP, f"<think>{DEEP}</think>{DEEP}")
    assert details == {
        "sharegpt/x#0": "turn 0; left as it is by html",
        "sharegpt/x#1": "turn 1; left as it is by html",
    }
    assert "html 0 (2 left as words: `left as it is by html` in the ledger)" in output
    done = CliRunner().invoke(main, ["explain", str(tmp_path / "left"), "x#1"])
    assert "turn 1; left as it is by html" in done.output
    details, output = built("read", "<p>hi</p>", "yes")
    assert details == {"sharegpt/x#0": "turn 0", "sharegpt/x#1": "turn 1"}
    assert "html 1" in output
    assert "left as" not in output
