"""The table of pairs: what a build publishes of ranked answers, and what its ledger says of the
others."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core.errors import BuildError, ConfigError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, croissant, hub_configs, manifest, reader, report
from chatdata.dataset.shards import PARQUET
from chatdata.pipeline.add_rendering import add_rendering
from chatdata.pipeline.render_again import render_again
from chatdata.verify import rebuild
from chatdata.verify.dataset_diff import between
from tests.support.builds import TALKS, files, make, rows_of, tree_file
from tests.support.conversations import random_tree
from tests.support.published import loaded, trainer_of_pairs
from tests.support.ranked import FORK, PAIRED, build, pairs_of, problems, run, said
from tests.support.walker import preferred

pytestmark = pytest.mark.slow

TREES = [row for seed in range(40) for row in random_tree(seed)]  # of `tree_file`


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    return make(path, PAIRED, tree_file(path), "out")


def answers(out: Path) -> dict[str, str]:
    """What the ledger says of each answer as one to choose from."""
    rows = reader.scan_ledger(out).filter(unit="answer").collect()
    columns = rows.select("id", "reason", "detail").iter_rows()
    return {
        id: " ".join(filter(None, (reason or "kept", detail))) for id, reason, detail in columns
    }


# ------------------------------------------------------------------------------------- the rows


def test_a_row_to_read(tmp_path: Path) -> None:
    out = build(tmp_path, FORK, "threads.pairs=best_worst", "split=null")
    (row,) = pairs_of(out)
    nothing = dict.fromkeys(["reasoning_content", "tool_calls", "tool_call_id", "name"])
    assert row == {
        "id": "oasst1/u/good~poor",
        "group": "oasst1/u",
        "source": "oasst",
        "lang": "en",
        "question": "oasst1/u/u",
        "prompt": [{"role": "user", "content": "I am u", **nothing}],
        "chosen": [{"role": "assistant", "content": "I am good", **nothing}],
        "rejected": [{"role": "assistant", "content": "I am poor", **nothing}],
        "tools": None,
        "chosen_rank": 0,
        "rejected_rank": 2,
        "split": "train",
    }
    assert answers(out) == {
        "good": "kept in 1 pair",
        "fair": "not_paired",
        "poor": "kept in 1 pair",
    }


def test_all_ranked_answers_to_a_question_are_a_row(tmp_path: Path) -> None:
    out = build(tmp_path, FORK, "threads={pairs: best_worst, margin: 2}", "split=null")
    (row,) = rows_of(out, "ranked")
    assert (row["id"], row["group"], row["lang"]) == ("oasst1/u/u", "oasst1/u", "en")
    assert [message["content"] for message in row["prompt"]] == ["I am u"]
    assert [message["content"] for message in row["answers"]] == [
        "I am good",
        "I am fair",
        "I am poor",
    ]
    assert row["ranks"] == [0, 1, 2]


def test_the_ranked_answers_are_those_of_the_pairs(folder: Path) -> None:
    """As every pair of them is made here, in both splits."""
    rows = rows_of(folder, "ranked")
    expected = {
        (row["id"], row["split"], better["content"], worse["content"])
        for row in rows
        for (first, better), (second, worse) in itertools.combinations(
            zip(row["ranks"], row["answers"], strict=True), 2
        )
        if first < second
    }
    actual = {
        (row["question"], row["split"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in pairs_of(folder)
    }
    assert actual == expected
    facts = manifest.read(folder)
    assert facts.ranked is not None
    assert facts.ranked.splits.total("rows") == len(rows) == facts["pairs"]["questions"]


def test_ranks_may_be_large(tmp_path: Path) -> None:
    """A source may count what it likes: a score that is no place in a row stays what it is."""
    out = build(tmp_path, [*FORK[:3], said("last", "u", 2**40)], "split=null")
    assert [row["rejected_rank"] for row in pairs_of(out)] == [1, 2**40, 2**40]
    assert problems(out) == {}


@pytest.mark.parametrize("threads", ["all_leaves", "best_rank"])
@pytest.mark.parametrize("policy", ["best_worst", "adjacent", "all"])
def test_the_pairs_are_those_of_the_walker(tmp_path: Path, policy: str, threads: str) -> None:
    out = build(tmp_path, TREES, f"threads={{policy: {threads}, pairs: {policy}}}")
    texts = {row["message_id"]: row["text"] for row in TREES}
    expected = {
        f"oasst1/{prompt[0]}/{better}~{worse}": [
            [*(texts[id] for id in prompt)],
            [texts[better]],
            [texts[worse]],
        ]
        for prompt, better, worse in preferred(TREES, policy)
    }
    actual = {
        row["id"]: [[m["content"] for m in row[name]] for name in ("prompt", "chosen", "rejected")]
        for row in pairs_of(out)
    }
    assert actual == expected


def test_pairs_are_in_the_split_of_their_tree(folder: Path) -> None:
    of_messages = {row["group"]: row["split"] for row in rows_of(folder)}
    of_pairs = {row["group"]: row["split"] for row in pairs_of(folder)}
    assert set(of_pairs.values()) == {"train", "test"}
    assert of_pairs.items() <= of_messages.items()


def test_workers_and_order_do_not_show_in_the_bytes(folder: Path, tmp_path: Path) -> None:
    data = tree_file(folder.parent)
    again = make(tmp_path, PAIRED, data, "out", workers=2)
    assert files(again) == files(folder)
    shuffled = make(tmp_path, PAIRED, tree_file(tmp_path, shuffle=1), "out")
    assert [pairs_of(shuffled), answers(shuffled)] == [pairs_of(folder), answers(folder)]


def test_other_tables_are_those_of_a_build_without_pairs(folder: Path, tmp_path: Path) -> None:
    without = make(tmp_path, PAIRED, folder.parent / "trees.jsonl", "out", "threads.pairs=null")
    facts, plain = manifest.read(folder), manifest.read(without)
    assert facts.content_hash == plain.content_hash
    assert [facts.counts, facts.splits, facts.lengths] == [
        plain.counts,
        plain.splits,
        plain.lengths,
    ]
    assert "pairs" not in plain.as_json()
    assert not (without / "pairs").exists()


# ---------------------------------------------------------------------------------- what is left


def test_what_a_filter_removes_is_in_no_pair(tmp_path: Path) -> None:
    """Neither an answer, nor an answer to a prompt that a filter cut."""
    below = [said("u2", "fair", deleted=True), said("a0", "u2", 0), said("a1", "u2", 1)]
    rows = [FORK[0], {**FORK[1], "deleted": True}, *FORK[2:], *below]
    out = build(tmp_path, rows)
    assert [row["id"] for row in pairs_of(out)] == ["oasst1/u/fair~poor"]
    assert answers(out) == {
        "good": "deleted",
        "fair": "kept in 1 pair",
        "poor": "kept in 1 pair",
        "a0": "deleted below u2",
        "a1": "deleted below u2",
    }


def test_what_a_filter_of_conversations_drops_is_in_no_pair(tmp_path: Path) -> None:
    rows = [*FORK, said("u2", "poor"), said("a0", "u2", 0), said("a1", "u2", 1)]
    out = build(tmp_path, rows, "drop=[{too_few_turns: {below: 4}}]")
    assert [row["id"] for row in pairs_of(out)] == ["oasst1/u/a0~a1"]
    assert answers(out)["good"] == "too_few_turns"


def test_what_repeats_is_in_no_pair(tmp_path: Path) -> None:
    """A tree that says what another one says gives no pairs of its own."""
    again = [
        {**row, "message_id": f"{row['message_id']}2", "message_tree_id": "u2"} for row in FORK
    ]
    again = [{**row, "parent_id": row["parent_id"] and "u2"} for row in again]
    out = build(tmp_path, [*FORK, *again], "drop=[duplicate]", "threads.pairs=best_worst")
    assert [row["id"] for row in pairs_of(out)] == ["oasst1/u/good~poor"]
    assert answers(out)["good2"].startswith("duplicate says the same as oasst1/u/good")


def test_every_answer_has_one_outcome(folder: Path) -> None:
    live = sorted(row["message_id"] for row in TREES if row["role"] == "assistant")
    assert sorted(answers(folder)) == live
    entry = manifest.read(folder)["pairs"]["answers"]
    assert entry["read"] == entry["kept"] + sum(entry["dropped"].values()) == len(live)
    in_pairs = {id for row in pairs_of(folder) for id in row["id"].split("/")[-1].split("~")}
    assert {id for id, fate in answers(folder).items() if fate.startswith("kept")} == in_pairs


def test_rendering_decides_nothing_about_pairs(folder: Path, tmp_path: Path) -> None:
    """What is too long for rows of tokens stays in pairs, in a build and when rendered again."""
    data = folder.parent / "trees.jsonl"
    short = make(tmp_path, PAIRED, data, "short", "render={tokenizer: bytes, max_tokens: 30}")
    assert manifest.read(short)["pairs"] == manifest.read(folder)["pairs"]
    assert manifest.read(short).counts != manifest.read(folder).counts
    render_again(folder, tmp_path / "again", tokenizer="bytes", settings=["render.max_tokens=30"])
    add_rendering(folder, tmp_path / "added", tokenizer="bytes", name="b")
    kept = ("pairs/", "ranked/")
    pairs = {name: data for name, data in files(folder).items() if name.startswith(kept)}
    assert len(pairs) == 4
    for out in (short, tmp_path / "again", tmp_path / "added"):
        assert files(out).items() >= pairs.items()
        for key in ("pairs", "ranked"):
            assert manifest.read(out)[key] == manifest.read(folder)[key]
        assert problems(out) == {}


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["threads.pairs=some"], "threads.pairs"),
        (["threads.margin=0"], "threads.margin"),
        (["threads={margin: 2}"], "threads.margin is 2, which is of pairs, and"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, settings: list[str], words: str) -> None:
    (tmp_path / "r.yaml").write_text(PAIRED)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_recipe(tmp_path / "r.yaml", settings)


def test_a_source_without_ranks_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(TALKS)
    with pytest.raises(ConfigError, match="trees, and source 'sharegpt' has no ranks; leave it"):
        load_recipe(tmp_path / "r.yaml", ["threads.pairs=all"])


def test_trees_without_ranks_are_refused_by_their_source(tmp_path: Path) -> None:
    unranked = [{**row, "rank": None} for row in FORK]
    words = (
        r"threads.pairs is all, and no pair is left of the 3 answers in trees of source 'oasst' "
        r"\(3 unranked\); name a source with ranks"
    )
    with pytest.raises(BuildError, match=words):
        build(tmp_path, unranked)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------- the folder as a whole


def test_the_folder_is_sound_and_built_again(folder: Path) -> None:
    assert problems(folder) == {}
    data = [str(folder.parent / "trees.jsonl")]
    assert rebuild.problems(folder, inputs=data) == []


def test_card_and_croissant_name_the_table(folder: Path) -> None:
    facts = manifest.read(folder)
    *_, config, ranked = hub_configs.of(facts)
    assert (config.name, sum(config.rows.values())) == ("pairs", len(pairs_of(folder)))
    assert (ranked.name, sum(ranked.rows.values())) == ("ranked", len(rows_of(folder, "ranked")))
    page = (folder / card.PAGE).read_text()
    assert 'pairs = load_dataset("PATH", "pairs", split="train")' in page
    assert re.search(r"\d+ pairs of a preferred and a less preferred answer to \d+ questions", page)
    assert "`pairs` has `prompt`, `chosen` and `rejected` as lists of messages" in page
    known = json.loads((folder / croissant.FILE).read_text())
    assert [record["name"] for record in known["recordSet"]] == [
        "splits",
        "messages",
        "pairs",
        "ranked",
    ]
    assert report.page(folder)


def test_the_terminal_tells_of_pairs(tmp_path: Path) -> None:
    out = build(tmp_path, FORK, "threads.pairs=best_worst", "split=null")
    (tmp_path / "r.yaml").write_text(PAIRED)
    data = tmp_path / "rows.jsonl"
    assert "pairs: 3 in train, 0 in test, of 1 question; 3 of 3 answers are in one\n" in run(
        "check", tmp_path / "r.yaml", "--input", data, "--set", "split=null"
    )
    shown = run("explain", out, "fair")
    assert "not_paired" in shown
    assert "the policy or the margin of pairs did not choose" in shown


OF_TEST = "g3"  # a group whose hash is of the test split


def _swap(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def _promptless(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prompt": []}


def _worse(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen_rank": row["rejected_rank"]}


def _elsewhere(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "group": OF_TEST}


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "ranks": row["ranks"][::-1]}


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("ranked", _turned, "no ranked answers of which the best is first"),
        ("pairs", _swap, "content_hash: the manifest says"),
        ("pairs", _promptless, "it has no prompt"),
        ("pairs", _worse, "a chosen answer that is not ranked above the rejected"),
        ("pairs", _elsewhere, "group 'g3' of pairs is in train, but its hash is of the other"),
    ],
)
def test_verify_sees_changed_pairs(
    folder: Path,
    tmp_path: Path,
    table: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    words: str,
) -> None:
    """Though the manifest has the hash of the changed file."""
    out = Path(shutil.copytree(folder, tmp_path / "out"))
    path = out / table / "train-00000-of-00001.parquet"
    stored = pq.read_table(path)
    first, *rest = stored.to_pylist()
    pq.write_table(stored.from_pylist([change(first), *rest], stored.schema), path, **PARQUET)
    assert list(problems(out)) == ["hashes"]
    facts = json.loads((out / manifest.FILE).read_text())
    for file in facts["files"]:
        file["sha256"] = sha256_file(out / file["path"])
    (out / manifest.FILE).write_text(json.dumps(facts))
    (out / croissant.FILE).write_text(croissant.text(manifest.parsed(facts)))
    failed = problems(out)
    assert list(failed) == ["pairs"]
    assert words in " ".join(failed["pairs"])


@pytest.mark.parametrize("key", ["questions", "answers.kept", "splits.train.rows", "ranked"])
def test_verify_sees_changed_figures_of_pairs(folder: Path, tmp_path: Path, key: str) -> None:
    out = Path(shutil.copytree(folder, tmp_path / "out"))
    facts = json.loads((out / manifest.FILE).read_text())
    *outer, last = key.split(".") if key != "ranked" else ["splits", "test", "rows"]
    values = facts["ranked" if key == "ranked" else "pairs"]
    for name in outer:
        values = values[name]
    values[last] += 1
    (out / manifest.FILE).write_text(json.dumps(facts))
    for name, text in card.pages(manifest.parsed(facts)).items():
        (out / name).write_text(text)
    assert list(problems(out)) == ["pairs"]


def test_the_validation_trees_have_the_pairs_of_the_walker(real_data: Path, tmp_path: Path) -> None:
    """416 questions have at least two ranked answers that are not deleted: 1,022 ordered pairs."""
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    recipe = load_recipe("oasst1-en", ["drop=[deleted]", "threads.pairs=all"])
    facts = build_dataset(recipe, tmp_path / "out", inputs=[str(path)])
    assert facts.pairs is not None
    assert (facts.pairs.questions, facts.pairs.splits.total("rows")) == (416, 1022)
    trees = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    named = {f"{better}~{worse}" for _, better, worse in preferred(trees, "all")}
    published = reader.scan(tmp_path / "out", "pairs").collect()
    assert set(published["id"].str.split("/").list.last()) == named
    assert (published["chosen_rank"] < published["rejected_rank"]).all()
    assert pl.Series(published["prompt"].list.last().struct.field("role")).unique().to_list() == [
        "user"
    ]


# ------------------------------------------------------------------------- shown and compared


def test_show_prints_pairs(tmp_path: Path) -> None:
    out = build(tmp_path, FORK, "threads.pairs=best_worst", "split=null")
    shown = run("show", out, "--pairs")
    assert shown.splitlines()[:4] == [
        "oasst1/u/good~poor  train, oasst, en",
        "user: I am u",
        "chosen, rank 0: I am good",
        "rejected, rank 2: I am poor",
    ]
    assert run("show", out, "--pairs", "--id", "oasst1/u/u") == shown
    assert run("show", out, "--pairs", "--id", "oasst1/u/good~poor") == shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "--id", "nobody"], "no pair of"),
        (
            ["--pairs", "--ids"],
            "--pairs goes with -n, --random, --lang, --source, --split and --id alone",
        ),
        (["--dropped", "--pairs"], "--dropped goes with -n, --random, --grep and --source alone"),
    ],
)
def test_show_says_what_it_cannot(folder: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["show", str(folder), *arguments])
    assert done.exit_code != 0
    assert words in done.output


def test_show_says_how_a_folder_gets_pairs(sample: Path) -> None:
    done = CliRunner().invoke(main, ["show", str(sample), "--pairs"])
    assert "has no pairs; build it with --set threads.pairs=best_worst" in done.output


def test_a_diff_counts_pairs(folder: Path, tmp_path: Path) -> None:
    data = folder.parent / "trees.jsonl"
    fewer = make(tmp_path, PAIRED, data, "fewer", "threads.pairs=best_worst")
    before, after = ({row["id"] for row in pairs_of(out)} for out in (folder, fewer))
    difference = between(folder, fewer)
    assert difference.pairs == {
        "added": 0,
        "removed": len(before - after),
        "changed": 0,
        "the_same": len(after),
    }
    assert between(folder, folder).pairs == {
        **difference.pairs,
        "removed": 0,
        "the_same": len(before),
    }
    printed = run("diff", folder, fewer)
    assert f"pairs: {len(before - after)} removed, {len(after)} the same" in printed
    assert "\npairs\n" in printed
    assert re.search(r"  dropped.not_paired: \d+ → \d+\n", printed)
    without = make(tmp_path, PAIRED, data, "without", "threads.pairs=null")
    assert between(folder, without).pairs["removed"] == len(before)
    assert between(without, without).pairs == {}


def test_a_diff_sees_a_changed_pair(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    folders = (
        build(old, FORK, "split=null"),
        build(new, [*FORK[:3], {**FORK[3], "text": "I am poorer"}], "split=null"),
    )
    counts = {"added": 0, "removed": 0, "changed": 2, "the_same": 1}
    assert between(*folders).pairs == counts


# ----------------------------------------------------------------------------------- what loads


@pytest.fixture(scope="module")
def chatml(folder: Path) -> Path:
    """The pairs beside rows of tokens, whose tokenizer trains them."""
    data = folder.parent / "trees.jsonl"
    settings = ["render={tokenizer: bytes, template: chatml}", "threads.pairs=best_worst"]
    return make(folder.parent, PAIRED, data, "chatml", *settings)


@pytest.mark.slow
def test_datasets_loads_the_rows(chatml: Path) -> None:
    rows = pairs_of(chatml)
    actual = loaded(chatml, "pairs")
    assert actual.column_names == [name for name in rows[0] if name != "split"]
    assert actual["id"] == [row["id"] for row in rows]
    assert [row["prompt"] for row in actual] == [row["prompt"] for row in rows]
    assert [row["chosen"][0]["content"] for row in actual] == [
        row["chosen"][0]["content"] for row in rows
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's own, of what it hands on
@pytest.mark.parametrize("kind", ["DPO", "Reward"])
def test_trl_trains_the_rows_as_they_are(chatml: Path, tmp_path: Path, kind: str) -> None:
    """The ids that TRL makes of a pair begin with those of its prompt, on both sides."""
    pairs = loaded(chatml, "pairs")
    trainer = trainer_of_pairs(kind, chatml, pairs, tmp_path / "run")
    tokenizer = trainer.processing_class
    assert len(trainer.train_dataset) == len(pairs)
    for pair, made in zip(pairs, trainer.train_dataset, strict=True):
        prompt = tokenizer.apply_chat_template(
            pair["prompt"], add_generation_prompt=True, return_dict=False
        )
        for name in ("chosen", "rejected"):
            whole = tokenizer.apply_chat_template(pair["prompt"] + pair[name], return_dict=False)
            assert whole[: len(prompt)] == prompt
            assert ids_of_side(made, name) == whole
    trainer.train()
    assert all(math.isfinite(log["loss"]) for log in trainer.state.log_history if "loss" in log)


def ids_of_side(made: dict[str, Any], name: str) -> list[int]:
    """The ids of the prompt and an answer, as TRL's trainer has prepared them."""
    if "prompt_ids" in made:
        return [*made["prompt_ids"], *made[f"{name}_ids"]]
    return list(made[f"{name}_ids"])


# ------------------------------------------------------------------------- preferences as pairs

PREFERENCES = """
name: preferences
version: 1.0.0
source: {auto: {}}
threads: {pairs: all}
"""


def prefer(folder: Path, records: list[dict[str, Any]], *settings: str) -> Path:
    path = folder / "preferences.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return make(folder, PREFERENCES, path, "out", *settings)


def test_preferences_become_pairs_and_only_the_best_is_learnt(tmp_path: Path) -> None:
    answers = [{"response": f"a{score}", "score": score} for score in (1, 3, 2)]
    out = prefer(
        tmp_path, [{"instruction": "q", "completions": answers}], "render={tokenizer: bytes}"
    )
    sides = [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["rejected_rank"])
        for row in pairs_of(out)
    ]
    assert sides == [("a3", "a2", 1), ("a3", "a1", 2), ("a2", "a1", 2)]
    (talk,) = rows_of(out)
    assert [turn["content"] for turn in talk["messages"]] == ["q", "a3"]
    assert manifest.read(out).counts.messages.dropped == {"not_selected": 2}
    assert len(rows_of(out, "pair-tokens")) == 3
    assert problems(out) == {}


def test_pairs_have_the_tools_of_their_record(tmp_path: Path) -> None:
    """In all tables, and in the rows of tokens, as the conversation of the best answer has them."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    records = [
        {"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}", "tools": [tool] * n}
        for n in range(2)
    ]
    out = prefer(tmp_path, records, "render={tokenizer: bytes, template: chatml}")
    listed = {row["id"].split("/")[1]: row["tools"] for row in rows_of(out)}
    assert sorted(tools is None for tools in listed.values()) == [False, True]
    for kind in ("pairs", "ranked"):
        assert {row["id"].split("/")[1]: row["tools"] for row in rows_of(out, kind)} == listed
    ids = {row["id"]: row["input_ids"] for row in rows_of(out, "tokens")}
    assert [row["chosen_ids"] for row in rows_of(out, "pair-tokens")] == [
        ids[row["id"].split("~")[0]] for row in rows_of(out, "pairs")
    ]


def test_a_system_message_that_says_nothing_costs_no_pair(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    prompt = [{"role": "system", "content": ""}, {"role": "user", "content": "q"}]
    record = {"prompt": prompt, "chosen": "good", "rejected": "bad", "tools": [tool]}
    out = prefer(tmp_path, [record], "drop=[empty]")
    (row,), (talk,) = pairs_of(out), rows_of(out)
    assert [message["role"] for message in row["prompt"]] == ["user"]
    assert [message["role"] for message in talk["messages"]] == ["user", "assistant"]
    assert row["tools"] == talk["tools"] == json.dumps([tool])
    assert problems(out) == {}


def test_without_pairs_what_was_chosen_is_read_and_nothing_else(tmp_path: Path) -> None:
    record = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    out = prefer(tmp_path, [record, {**record, "prompt": "r"}], "threads={}")
    talks = [[turn["content"] for turn in talk["messages"]] for talk in rows_of(out)]
    assert sorted(talks) == [["q", "good"], ["r", "good"]]
    assert not (out / "pairs").exists()


def test_of_answers_whose_best_is_removed_the_others_are_pairs(tmp_path: Path) -> None:
    """Though none of them is learnt from."""
    answers = [
        {"response": text, "score": at} for at, text in enumerate(["a", "b", "network error"])
    ]
    records: list[dict[str, Any]] = [
        {"instruction": "q", "completions": answers},
        {"instruction": "r", "completions": answers[:2]},
    ]
    out = prefer(tmp_path, records, "drop=[error_answer]", "max_dropped=1")
    sides = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs_of(out)]
    assert sides == [("b", "a")] * 2
    assert len(rows_of(out)) == 1


def test_verdicts_become_pairs_where_a_prompt_has_both(tmp_path: Path) -> None:
    verdicts = [("q", "good", True), ("q", "bad", False), ("r", "fine", True), ("s", "poor", False)]
    records = [{"prompt": q, "completion": a, "label": label} for q, a, label in verdicts]
    out = prefer(tmp_path, records, "max_dropped=1")
    assert [
        (row["prompt"][0]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in pairs_of(out)
    ] == [("q", "good", "bad")]
    assert sorted(answers(out).values()) == ["kept in 1 pair"] * 2 + ["no_rival"] * 2
    assert sorted(talk["messages"][1]["content"] for talk in rows_of(out)) == ["fine", "good"]
