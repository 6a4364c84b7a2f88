"""Pairs as rows of tokens: both answers behind the same ids of their prompt."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata.core.errors import RenderError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, croissant, hub_configs, manifest, pair_tokens, schemas
from chatdata.dataset.shards import PARQUET
from chatdata.pipeline.render_again import render_again
from chatdata.render import certificate
from chatdata.render.parity import ParityCounts
from chatdata.render.segments.text_pool import TextPool
from chatdata.verify.dataset_diff import between
from tests.support.builds import files, make, rows_of, tree_file
from tests.support.published import loaded, trainer_of_pairs
from tests.support.ranked import FORK, PAIRED, build, pairs_of, problems, run
from tests.support.templates import FORGETTING, OPTIONS, PLAIN, load_bytes

CHATML = "render={tokenizer: bytes, template: chatml}"
SIDES = ("chosen", "rejected")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair-tokens")
    return make(path, PAIRED, tree_file(path), "out", CHATML)


def tokens_of(out: Path) -> list[dict[str, Any]]:
    return rows_of(out, "pair-tokens")


def a_pair(chosen: dict[str, Any], rejected: dict[str, Any]) -> pa.Table:
    """A table with a pair of these answers to a question."""
    row = {"id": "g/a~b", "group": "g", "source": "s", "lang": "en", "question": "g/u"}
    prompt = [{"role": "user", "content": "Why?"}]
    sides = {"chosen": [chosen], "rejected": [rejected], "chosen_rank": 0, "rejected_rank": 1}
    return pa.Table.from_pylist([{**row, "prompt": prompt, **sides}], schemas.PAIRS)


def answer(words: str, **more: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **more}


# ------------------------------------------------------------------------------------- the rows


def test_a_row_to_read(tmp_path: Path) -> None:
    out = build(tmp_path, FORK, "threads.pairs=best_worst", "split=null", CHATML)
    (row,) = tokens_of(out)
    assert (row["id"], row["split"]) == ("oasst1/u/good~poor", "train")
    control = manifest.read(out).rendering.tokenizer.control_ids

    def text(ids: list[int]) -> str:
        names = {id: token for token, id in control.items()}
        return "".join(names.get(id) or chr(id) for id in ids if id != -100)

    prompt = "<|im_start|>user\nI am u<|im_end|>\n<|im_start|>assistant\n"
    assert text(row["chosen_ids"][: row["prompt_length"]]) == prompt
    assert text(row["chosen_ids"]) == f"{prompt}I am good<|im_end|>\n"
    assert text(row["rejected_ids"]) == f"{prompt}I am poor<|im_end|>\n"
    assert text(row["chosen_labels"]) == "I am good<|im_end|>"
    assert text(row["rejected_labels"]) == "I am poor<|im_end|>"


def test_each_pair_is_a_row_whose_sides_begin_alike(folder: Path) -> None:
    rows = tokens_of(folder)
    assert [row["id"] for row in rows] == [row["id"] for row in pairs_of(folder)]
    assert [row["split"] for row in rows] == [row["split"] for row in pairs_of(folder)]
    for row in rows:
        begins = row["prompt_length"]
        assert row["chosen_ids"][:begins] == row["rejected_ids"][:begins]
        for side in SIDES:
            ids, labels = row[f"{side}_ids"], row[f"{side}_labels"]
            assert labels[:begins] == [-100] * begins
            assert labels[begins] == ids[begins]
    entry = manifest.read(folder).pair_tokens
    assert entry is not None
    assert (entry.left_out, entry.compared.differences) == ({}, 0)
    assert entry.compared.compared + entry.compared.quoting == entry.compared.rows > 0
    sums = [sum(len(row[f"{side}_ids"]) for side in SIDES) for row in rows]
    assert entry.splits.total("tokens") == sum(sums)


def test_what_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    """Nor does a recipe that splits conversations split a pair."""
    rows = [*FORK[:3], {**FORK[3], "text": "I am poor" * 30}]
    short = "{tokenizer: bytes, template: chatml, max_tokens: 100, overflow: split}"
    out = build(tmp_path, rows, "split=null", f"render={short}")
    assert [row["id"] for row in tokens_of(out)] == ["oasst1/u/good~fair"]
    entry = manifest.read(out).pair_tokens
    assert entry is not None
    assert entry.left_out == {"too_long": 2}
    assert "2 `too_long`" in (out / card.PAGE).read_text()
    nothing = {name: {"rows": 0} for name in ("train", "test")}
    facts = manifest.read(out).as_json()
    facts["pair_tokens"]["splits"] = nothing
    configs = [config.name for config in hub_configs.of(manifest.parsed(facts))]
    assert configs == ["messages", "tokens-chatml", "pairs", "ranked"]
    assert problems(out) == {}
    (tmp_path / "r.yaml").write_text(PAIRED)
    settings = ["--set", "split=null", "--set", f"render={short}"]
    shown = run("check", tmp_path / "r.yaml", "--input", tmp_path / "rows.jsonl", *settings)
    assert "pairs as tokens: 1 in train, 0 in test, " in shown
    assert "left out: 2 too_long" in shown


@pytest.mark.slow
def test_answers_that_begin_at_different_places_are_no_row(tmp_path: Path) -> None:
    """A template that writes an empty thought for an answer without any gives it another prompt."""
    pool = TextPool(load_bytes(FORGETTING, tmp_path))
    alike = a_pair(answer("Yes."), answer("No."))
    assert pair_tokens.draw(alike, pool, OPTIONS, 1.0).table.num_rows == 1
    thought = a_pair(answer("Yes.", reasoning_content="Hm."), answer("No."))
    drawn = pair_tokens.draw(thought, pool, OPTIONS, 1.0)
    assert (drawn.table.num_rows, drawn.left_out) == (0, {"g/a~b": "prompts_differ"})


def test_pairs_of_several_batches_are_told_apart_in_a_pool(tmp_path: Path) -> None:
    """As `verify` draws those of each split. A row with a thought is kept as it is written."""
    tokenizer = load_bytes(FORGETTING, tmp_path)
    pool = TextPool(tokenizer)
    for number, words in enumerate(("Yes.", "Sure.")):
        sides = (answer(side, reasoning_content="Hm.") for side in (words, "No."))
        pair = a_pair(*sides).set_column(0, "id", [[f"g/a~b{number}"]])
        drawn = pair_tokens.draw(pair, pool, OPTIONS, 1.0)
        assert drawn.parity.first_failure == ""
        assert drawn.table.equals(pair_tokens.draw(pair, TextPool(tokenizer), OPTIONS, 1.0).table)


@pytest.mark.slow
def test_of_a_pair_the_answers_are_learnt(tmp_path: Path) -> None:
    pool = TextPool(load_bytes(PLAIN, tmp_path))
    pair = a_pair(answer("Yes."), answer("No."))
    expected = pair_tokens.draw(pair, pool, OPTIONS, 1.0).table
    assert expected.num_rows == 1
    for train_on in ("all", "assistant_with_header", "last_assistant"):
        options = OPTIONS.model_copy(update={"train_on": train_on})
        assert pair_tokens.draw(pair, pool, options, 1.0).table.equals(expected)


def test_a_row_that_is_not_the_templates_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate looks at pairs too."""
    choose, compare = certificate.chosen_rows, certificate.compare
    of_pairs = list[Any]()

    def chosen(rendered: Any, *more: Any) -> Any:
        rows = choose(rendered, *more)
        of_pairs.extend(rows if rendered.conversations[0].startswith("chosen") else [])
        return rows

    def fails(rows: Any, *more: Any) -> ParityCounts:
        counts = compare(rows, *more)
        if any(row is of_pair for row in rows for of_pair in of_pairs):
            counts.fail("a token differs")
        return counts

    monkeypatch.setattr(certificate, "chosen_rows", chosen)
    monkeypatch.setattr(certificate, "compare", fails)
    with pytest.raises(RenderError, match="a token differs"):
        build(tmp_path, FORK, CHATML)


# ------------------------------------------------------------------------- the folder as a whole


@pytest.mark.slow
def test_rendered_again_and_by_two_workers_the_rows_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    data = folder.parent / "trees.jsonl"
    assert files(make(tmp_path, PAIRED, data, "two", CHATML, workers=2)) == files(folder)
    plain = make(tmp_path, PAIRED, data, "plain")
    assert not (plain / "pair-tokens").exists()
    render_again(plain, tmp_path / "again", tokenizer="bytes", template="chatml")
    again = tmp_path / "again"
    assert tokens_of(again) == tokens_of(folder)
    entries = [manifest.read(out).pair_tokens for out in (again, folder)]
    assert entries[0] == entries[1]
    assert problems(again) == {}


def test_the_folder_is_sound_and_tells_of_the_rows(folder: Path) -> None:
    assert problems(folder) == {}
    config = hub_configs.of(manifest.read(folder))[-1]
    assert (config.name, sum(config.rows.values())) == (
        "pair-tokens-chatml",
        len(tokens_of(folder)),
    )
    page = (folder / card.PAGE).read_text()
    assert re.search(r"As rows of tokens: \d+ of these pairs\. Of \d+ rows of a sample", page)
    id = tokens_of(folder)[0]["id"]
    assert re.search(
        r"tokens: \d+ of the prompt, \d+ chosen, \d+ rej", run("show", folder, "--pairs")
    )
    assert "tokens: " in run("show", folder, "--pairs", "--id", id)


def _other_prompt(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen_ids": [row["chosen_ids"][0] + 1, *row["chosen_ids"][1:]]}


def _longer_prompt(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prompt_length": row["prompt_length"] - 1}


def _other_answer(row: dict[str, Any]) -> dict[str, Any]:
    ids, labels = [*row["chosen_ids"]], [*row["chosen_labels"]]
    ids[row["prompt_length"]] = labels[row["prompt_length"]] = 65
    return {**row, "chosen_ids": ids, "chosen_labels": labels}


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (_other_prompt, "pairs", "the ids of its prompt are not the same on both sides"),
        (_longer_prompt, "pairs", "the labels of chosen do not begin where the prompt ends"),
        (_other_answer, "pair_tokens", "its row of tokens is not that of its messages"),
    ],
)
def test_verify_sees_changed_rows(
    folder: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    check: str,
    words: str,
) -> None:
    """Though the manifest has the hash of the changed file."""
    out = Path(shutil.copytree(folder, tmp_path / "out"))
    path = out / "pair-tokens" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    first, *rest = table.to_pylist()
    pq.write_table(table.from_pylist([change(first), *rest], table.schema), path, **PARQUET)
    facts = json.loads((out / manifest.FILE).read_text())
    for file in facts["files"]:
        file["sha256"] = sha256_file(out / file["path"])
    if check == "pair_tokens":
        parsed = manifest.parsed(facts)
        from chatdata.core.hashing import sha256_pairs
        from chatdata.verify.pair_tokens import digests

        facts["pair_tokens"]["content_hash"] = sha256_pairs(digests(out, parsed))
    (out / manifest.FILE).write_text(json.dumps(facts))
    (out / croissant.FILE).write_text(croissant.text(manifest.parsed(facts)))
    failed = problems(out)
    assert list(failed) == [check]
    assert words in " ".join(failed[check])


def test_a_diff_of_other_templates_has_the_same_pairs(folder: Path, tmp_path: Path) -> None:
    plain = make(tmp_path, PAIRED, folder.parent / "trees.jsonl", "plain")
    assert between(plain, folder).pairs["changed"] == 0


# ----------------------------------------------------------------------------------- what loads


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("few"), FORK, CHATML, "split=null")


@pytest.mark.slow
def test_the_ids_are_those_of_transformers(few: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(few / "tokenizer")
    for pair, row in zip(
        loaded(few, "pairs", "train"), loaded(few, "pair-tokens-chatml", "train"), strict=True
    ):
        prompt = tokenizer.apply_chat_template(
            pair["prompt"], add_generation_prompt=True, return_dict=False
        )
        for side in SIDES:
            whole = tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=False)
            assert row[f"{side}_ids"] == whole
            assert row[f"{side}_ids"][: row["prompt_length"]] == prompt


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's own, of what it hands on
def test_trl_reads_the_rows(few: Path, tmp_path: Path) -> None:
    """`RewardTrainer` as they are. `DPOTrainer` makes the same of messages as docs/pairs.md does of
    the rows."""
    rows = loaded(few, "pair-tokens-chatml", "train")
    trainer = trainer_of_pairs("Reward", few, rows, tmp_path / "reward")
    assert [row["chosen_ids"] for row in trainer.train_dataset] == rows["chosen_ids"]
    trainer.train()
    by_trl = trainer_of_pairs(
        "DPO", few, loaded(few, "pairs", "train"), tmp_path / "dpo"
    ).train_dataset
    for row, made in zip(rows, by_trl, strict=True):
        length = row["prompt_length"]
        assert made["prompt_ids"] == row["chosen_ids"][:length]
        for side in SIDES:
            assert made[f"{side}_ids"] == row[f"{side}_ids"][length:]
