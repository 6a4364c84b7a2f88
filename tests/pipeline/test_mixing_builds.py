"""Builds that mix: by tokens, with repeats, with a temperature, by the order of their sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe, render_dataset
from chatdata.cli import main
from chatdata.core.errors import ConfigError
from chatdata.dataset import manifest, reader
from chatdata.dataset.entries import Share
from chatdata.pipeline import prepare
from chatdata.pipeline.add_rendering import add_rendering
from chatdata.verify import dataset_diff, row_changes
from chatdata.verify.verification import verdicts_on
from tests.support.builds import files, rows_of

RECIPE = """
name: m
version: 1.0.0
source:
  big: {format: jsonl, files: [big.jsonl], weight: 1}
  small: {format: jsonl, files: [small.jsonl], weight: 1}
mix: {by: tokens, max_epochs: 3}
split: {test_percent: 30}
render: {tokenizer: bytes}
max_dropped: 1
"""


def chat(id: str, *texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"id": id, "messages": turns}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("mixing")
    big = [chat(f"c{n}", f"Question {n}", "x" * (20 + n)) for n in range(40)]
    small = [chat(f"c{n}", f"Asked {n}", "yes " * (20 + n)) for n in range(6)]
    for name, chats in (("big", big), ("small", small)):
        (to / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chats)))
    (to / "r.yaml").write_text(RECIPE)
    return to


def make(folder: Path, name: str, *settings: str, **options: Any) -> Path:
    build_dataset(load_recipe(folder / "r.yaml", settings), folder / name, force=True, **options)
    return folder / name


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    return make(folder, "out")


def shares(out: Path) -> dict[str, Share]:
    return {share.source: share for share in manifest.read(out).shares or ()}


def faults(out: Path) -> list[str]:
    return [str(verdict) for verdict in verdicts_on(out) if verdict.outcome == "failed"]


def measured(out: Path, column: str) -> Counter[str]:
    """The tokens of each source, counted from the rows by an independent path."""
    total: Counter[str] = Counter()
    for row in rows_of(out, "tokens"):
        total[row["id"].split("/")[0]] += row[column]
    return total


def test_weights_measure_tokens_and_repeats_reach_them(out: Path) -> None:
    """The small source is taken three times, and of the large one as many tokens."""
    given, tokens = shares(out), measured(out, "length")
    assert given["small"].epochs == 3
    assert 0 < given["big"].epochs < 1  # type: ignore[operator]
    assert {name: share.tokens for name, share in given.items()} == tokens
    longest = max(row["length"] for row in rows_of(out, "tokens"))
    assert tokens["small"] - longest < tokens["big"] <= tokens["small"]
    ids = {row["id"] for row in rows_of(out)}
    assert {f"small/c{n}{end}" for n in range(6) for end in ("", "~2", "~3")} <= ids
    assert manifest.read(out).repeats == 12
    assert not faults(out)


def test_repeats_say_the_same_in_the_same_split(out: Path) -> None:
    rows = {row["id"]: (row["messages"], row["split"], row["group"]) for row in rows_of(out)}
    assert all(rows[id] == rows[id.partition("~")[0]] for id in rows)
    ids = [row["id"] for row in rows_of(out, "tokens")]
    assert len(ids) == len(set(ids))


def test_the_ledger_counts_a_conversation_once_and_knows_its_repeats(out: Path) -> None:
    counts = manifest.read(out).counts
    assert counts.conversations.read == 46
    assert counts.conversations.kept + counts.conversations.dropped["not_sampled"] == 46
    (row,) = reader.explain(out, "small/c1~2").to_dicts()
    assert (row["unit"], row["outcome"], row["conversation"]) == ("repeat", "kept", "small/c1")
    page = (out / "README.md").read_text()
    assert "| small | 18 | " in page
    assert "12 rows are a conversation again" in page


@pytest.mark.slow
def test_workers_and_parts_change_no_byte(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PART_BYTES", 8000)
    first, second = (make(folder, f"by-{n}", workers=n) for n in (1, 2))
    assert files(first) == files(second)
    assert manifest.read(first).content_hash == manifest.read(out).content_hash


@pytest.mark.slow
def test_trained_tokens_and_temperature(folder: Path) -> None:
    by = "mix={by: trained_tokens, temperature: 1000000, max_epochs: 2}"
    without = ["source.big.weight=null", "source.small.weight=null"]
    out = make(folder, "trained", by, *without)
    trained = measured(out, "trained")
    longest = max(row["trained"] for row in rows_of(out, "tokens"))
    assert trained["small"] - 2 * longest < trained["big"] <= trained["small"]
    assert shares(out)["small"].epochs == 2
    assert not faults(out)
    size_by_size = make(folder, "sizes", "mix={temperature: 1}", "render=null", *without)
    assert [share.epochs for share in shares(size_by_size).values()] == [1, 1]


@pytest.mark.slow
def test_a_cap_measures_what_mix_measures(folder: Path) -> None:
    cap = ["source.big.cap=500", "source.big.weight=null", "source.small.weight=null"]
    out = make(folder, "capped", "mix={by: tokens}", *cap)
    assert 400 < measured(out, "length")["big"] <= 500
    assert shares(out)["small"].epochs == 1


@pytest.mark.slow
def test_diff_and_renderings_know_repeats(folder: Path, out: Path, tmp_path: Path) -> None:
    once = make(folder, "once", "mix={by: tokens}", "render.max_tokens=100")
    difference = dataset_diff.between(out, once)
    assert set(difference.removed_because) <= {"not_sampled", "too_long", row_changes.ABSENT}
    shorter = tmp_path / "shorter"
    settings = ["render.max_tokens=118", "render.overflow=drop", "max_dropped=1"]
    render_dataset(out, shorter, tokenizer="bytes", template="chatml", settings=settings)
    assert not faults(shorter)
    assert 0 < (manifest.read(shorter).repeats or 0) < 12
    assert set(dataset_diff.between(out, shorter).removed_because) == {"too_long"}
    assert shares(shorter)["small"].epochs == 3
    add_rendering(out, tmp_path / "added", tokenizer="bytes", settings=settings, name="short")
    assert not faults(tmp_path / "added")
    (tmp_path / "ids.txt").write_text("small/c1")
    forget = [str(tmp_path / "ids.txt")]
    render_dataset(out, tmp_path / "less", tokenizer="bytes", forget=forget)
    assert not [row for row in rows_of(tmp_path / "less") if row["id"].startswith("small/c1")]
    assert not faults(tmp_path / "less")


@pytest.mark.slow
def test_a_repeat_of_a_tree_is_learnt_again(tmp_path: Path) -> None:
    """`train_once` holds within each time that a tree is taken."""
    rows = [("q", None), ("a", "q"), ("m", "a"), ("b", "m"), ("n", "a"), ("c", "n")]
    tree = [
        {
            "message_id": id,
            "parent_id": parent,
            "message_tree_id": "q",
            "text": f"text of {id}",
            "role": "assistant" if id in "abc" else "prompter",
            "lang": "en",
        }
        for id, parent in rows
    ]
    (tmp_path / "trees.jsonl").write_text("\n".join(map(json.dumps, tree)))
    (tmp_path / "lists.jsonl").write_text(
        "\n".join(json.dumps(chat(f"l{n}", "q", "a")) for n in range(4))
    )
    (tmp_path / "r.yaml").write_text(
        "name: t\nversion: 1.0.0\nthreads: {train_once: true}\nrender: {tokenizer: bytes}\n"
        "source: {oasst: {files: [trees.jsonl], weight: 1}, "
        "jsonl: {files: [lists.jsonl], weight: 1}}\nmix: {max_epochs: 2}\n"
    )
    out = make(tmp_path, "out")
    assert not faults(out)
    learnt = {
        row["id"]: [turn["content"] for turn in row["messages"] if turn["train"]]
        for row in rows_of(out)
        if row["group"] == "oasst1/q"
    }
    assert len(learnt) == 4
    for first in ("oasst1/q/b", "oasst1/q/c"):
        assert learnt[first] == learnt[f"{first}~2"]
    render_dataset(out, tmp_path / "again", tokenizer="bytes", template="chatml")
    assert not faults(tmp_path / "again")


def test_what_has_no_meaning_is_refused(folder: Path) -> None:
    for settings, words in (
        (["render=null"], "no tokens can be counted; name a tokenizer"),
        (["mix.temperature=2"], "the sources have weights; leave either out"),
        (
            ["mix={max_epochs: 2}", "source.big.weight=null", "source.small.weight=null"],
            "no source is taken more than once",
        ),
        (["mix.by=words"], "'mix.by' is 'words'"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_recipe(folder / "r.yaml", settings)


def test_among_duplicates_the_first_source_of_the_recipe_wins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        chats = [chat(f"{name}-{n}", f"Question {n}", "The very same.") for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chats)))
    one_source = "{{format: jsonl, name: {name}, files: [{file}.jsonl]}}"
    for order in (["first", "second"], ["second", "first"]):
        # The names of the ids speak against the order: `z` comes first.
        of = {
            name: one_source.format(name=id, file=name)
            for name, id in zip(order, "za", strict=True)
        }
        sources = ", ".join(f"{name}: {text}" for name, text in of.items())
        (tmp_path / "r.yaml").write_text(
            f"name: d\nversion: 1.0.0\nsource: {{{sources}}}\nmax_dropped: 1\n"
        )
        drop = "duplicate" if order[0] == "first" else "near_duplicate"
        out = make(tmp_path, "out", f"drop=[{drop}]")
        assert [row["source"] for row in rows_of(out)] == ["z"] * 3


def test_a_build_prints_its_mix(folder: Path) -> None:
    done = CliRunner().invoke(
        main, ["check", str(folder / "r.yaml"), "--set", "render.max_tokens=9000"]
    )
    assert "mixed by tokens: big" in done.output
    given = r"conversations \(3\.00 epochs, [\d,]+ tokens, [\d,]+ trained\)"
    assert re.search(given, done.output)
