"""Whole builds: the same bytes from any number of workers and parts, and a ledger that adds up."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq
import pytest

from chatdata import build_dataset, load_recipe, preview_dataset
from chatdata.core import ledger, row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import BuildError, ConfigError, RenderError, SourceError
from chatdata.dataset import dropped, reader, shards
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import partitions, prepare, preview, tokenizing
from chatdata.sources import cutting
from chatdata.steps.clean import CLEANERS
from tests.support import zstd_frames
from tests.support.builds import TALKS, TREES, files, make, rows_of, talk_file, tree_file
from tests.support.conversations import random_tree


class Case(NamedTuple):
    """A recipe, its input, and what was built of them."""

    text: str
    data: Path
    out: Path


MESSY = """
name: m
version: 1.0.0
source: {sharegpt: {}}
clean: [html, entities, escapes, artefacts, invisible, white_space]
threads: {start: user, end: assistant, repeated_role: merge}
drop:
  - empty: {on_removed: skip}
  - error_answer: {on_removed: skip}
  - not_alternating
  - too_few_turns
  - duplicate
split: {test_percent: 30}
max_dropped: 1.0
"""


def messy_file(folder: Path) -> Path:
    """Conversations with roles in any order, some ids used again, and values of all sorts."""
    draw = random.Random(0)
    values = [
        "",
        "\u200b",
        "<p>a &lt; {}</p>",
        "Too many requests in 1 hour.",
        "a\\_b{}  \n",
        "c{}s 2 / 2",
    ]
    values += ["plain {}", "&lt;3 {}"]
    talks = []
    for seed in range(300):
        turns = [
            {
                "from": draw.choice(["human", "gpt", "gpt", "human", "system", "tool", "judge"]),
                "value": draw.choice(values).format(draw.choice([seed, 0])),
            }
            for _ in range(draw.randint(0, 6))
        ]
        talks.append({"id": f"c{seed % 200}_{seed % 3}", "conversations": turns})
    path = folder / "messy.json"
    path.write_text(json.dumps(talks))
    return path


@pytest.fixture(scope="module", params=["trees", "talks"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    text, write = {"trees": (TREES, tree_file), "talks": (TALKS, talk_file)}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    data = write(folder)
    return Case(text, data, make(folder, text, data, "out"))


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("messy")
    return make(folder, MESSY, messy_file(folder), "out")


BOTH = MESSY.replace(
    "source: {sharegpt: {}}",
    """source:
  sharegpt: {files: [messy.json.zst]}
  oasst: {files: [trees.jsonl]}
render: {tokenizer: bytes, template: chatml, max_tokens: 900, overflow: cut}""",
)


@pytest.mark.slow
def test_one_and_two_workers_write_the_same_bytes_whatever_the_splits_and_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PART_BYTES", 60_000)
    monkeypatch.setattr(shards, "SHARD_BYTES", 4000)
    packed = zstd_frames.pack(messy_file(tmp_path).read_bytes(), random.Random(0))
    (tmp_path / "messy.json.zst").write_bytes(packed)
    tree_file(tmp_path)
    alone = files(make(tmp_path, BOTH, None, "alone", workers=1))
    monkeypatch.setattr(cutting, "SPLIT_BYTES", 4000)
    monkeypatch.setattr(partitions, "ONE_STEP", 1)
    steps = list[str]()
    again = make(
        tmp_path, BOTH, None, "two", workers=2, progress=lambda step, *_: steps.append(step)
    )
    assert files(again) == alone
    assert sum(name.startswith("tokens/train-") for name in alone) > 5
    assert steps.count("spreading") > 2
    facts = json.loads(alone["manifest.json"])
    assert all(split["rows"] >= 10 for split in facts["splits"].values())


@pytest.mark.slow
def test_the_number_of_parts_does_not_show(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = files(case.out)
    monkeypatch.setattr(prepare, "PART_BYTES", 20_000)
    monkeypatch.setattr("chatdata.pipeline.partitions._FILE_BYTES", 3000)
    monkeypatch.setattr("chatdata.sources.batches._MAX_MESSAGES", 11)
    out = make(tmp_path, case.text, case.data, "many")
    many = files(out)
    published = [name for name in few if not name.startswith(("ledger/", "dropped/"))]
    for name in set(published) - {"manifest.json"}:
        assert many[name] == few[name], name
    manifests = [json.loads(folder["manifest.json"]) for folder in (few, many)]
    for manifest in manifests:
        manifest["files"] = [f for f in manifest["files"] if not f["path"].startswith("ledger/")]
    assert manifests[0] == manifests[1]
    ledgers = [reader.scan_ledger(folder).collect() for folder in (case.out, out)]
    keys = ["unit", "id", "conversation", "reason", "detail"]
    assert ledgers[0].sort(keys).equals(ledgers[1].sort(keys))
    held = [dropped.scan(folder).collect() for folder in (case.out, out)]
    assert held[0].sort(held[0].columns).equals(held[1].sort(held[0].columns))


@pytest.mark.slow
def test_a_messy_dump_is_cleaned_the_same_in_any_number_of_parts(
    tmp_path: Path, messy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "PART_BYTES", 50_000)
    many = make(tmp_path, MESSY, messy_file(tmp_path), "many")
    first, second = (json.loads((out / "manifest.json").read_text()) for out in (messy, many))
    for key in ("content_hash", "counts", "cleaned", "splits"):
        assert first[key] == second[key]
    assert list(first["cleaned"]) == list(CLEANERS)
    assert all(counts["messages"] for counts in first["cleaned"].values())
    dropped = first["counts"]["messages"]["dropped"]
    assert {"empty", "error_answer", "unknown_role", "leading_turn"} <= set(dropped)
    assert "merged" not in dropped


@pytest.mark.slow
def test_merged_messages_are_kept_with_what_they_stand_in(messy: Path) -> None:
    ledger = reader.scan_ledger(messy).filter(pl.col("unit") == "message").collect()
    outcome = {
        row["id"]: row["reason"] for row in ledger.to_dicts() if row["reason"] != "duplicate_id"
    }
    merged = ledger.filter(pl.col("detail").str.starts_with("merged into "))
    assert merged.filter(pl.col("outcome") == "kept").height > 5
    assert merged.filter(pl.col("outcome") == "dropped").height > 5
    for row in merged.to_dicts():
        assert row["reason"] == outcome[row["detail"].removeprefix("merged into ")]
    texts = "\n".join(message["content"] for row in rows_of(messy) for message in row["messages"])
    assert "\u200b" not in texts


@pytest.mark.slow
def test_the_order_of_the_input_does_not_show(tmp_path: Path) -> None:
    expected = rows_of(make(tmp_path, TREES, tree_file(tmp_path), "in-order"), "tokens")
    for seed in range(2):
        shuffled = make(tmp_path, TREES, tree_file(tmp_path, shuffle=seed), f"shuffled-{seed}")
        assert rows_of(shuffled, "tokens") == expected


@pytest.mark.slow
def test_everything_that_was_read_has_one_outcome(case: Case) -> None:
    facts = json.loads((case.out / "manifest.json").read_text())
    ledger = reader.scan_ledger(case.out).collect()
    for unit, count in facts["counts"].items():
        assert count["read"] == count["kept"] + sum(count["dropped"].values())
        entries = ledger.filter(pl.col("unit") == unit[:-1])
        if unit != "records":  # records that could be read are not named one by one
            assert entries.height == count["read"]
            assert entries.filter(pl.col("outcome") == "kept").height == count["kept"]
        for reason, number in count["dropped"].items():
            assert entries.filter(pl.col("reason") == reason).height == number
    assert facts["counts"]["records"]["dropped"] == {"bad_json": 1}


@pytest.mark.slow
def test_kept_conversations_are_the_rows_and_kept_messages_stand_in_them(
    case: Case,
) -> None:
    ledger = reader.scan_ledger(case.out).filter(pl.col("outcome") == "kept").collect()
    ids = [row["id"] for row in rows_of(case.out)]
    assert sorted(ids) == sorted(ledger.filter(pl.col("unit") == "conversation")["id"])
    assert len(set(ids)) == len(ids)
    messages = ledger.filter(pl.col("unit") == "message")
    assert set(messages["conversation"]) <= set(ids)
    assert messages.height <= sum(len(row["messages"]) for row in rows_of(case.out))


@pytest.mark.slow
def test_messages_and_tokens_are_the_same_rows(case: Case) -> None:
    assert [row["id"] for row in rows_of(case.out)] == [
        row["id"] for row in rows_of(case.out, "tokens")
    ]
    for row in rows_of(case.out, "tokens"):
        trained = [label for label in row["labels"] if label != IGNORE_INDEX]
        assert row["length"] == len(row["input_ids"]) == len(row["attention_mask"])
        assert row["trained"] == len(trained) > 0
        assert set(row["attention_mask"]) == {1}


@pytest.mark.slow
def test_no_group_is_in_both_splits(case: Case) -> None:
    table = reader.scan(case.out, "messages").collect()
    assert set(table["split"]) == {"train", "test"}
    assert table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


@pytest.mark.slow
def test_rows_of_a_split_conversation_stay_in_its_split_and_its_order(tmp_path: Path) -> None:
    splitting = ["render.max_tokens=250", "render.overflow=split", "render.carry_tokens=0"]
    out = make(tmp_path, TALKS, talk_file(tmp_path), "out", *splitting)
    messages = [(row["split"], row["id"]) for row in rows_of(out)]
    tokens = [(row["split"], row_id.conversation_of(row["id"])) for row in rows_of(out, "tokens")]
    assert len(tokens) > len(messages)
    assert list(dict.fromkeys(tokens)) == messages


@pytest.mark.slow
def test_train_once_trains_each_answer_once(tmp_path: Path) -> None:
    whole = ["render.max_tokens=null", "render.overflow=drop", "drop=[deleted]"]
    once = make(tmp_path, TREES, tree_file(tmp_path), "once", *whole, "threads.train_once=true")
    each = make(tmp_path, TREES, tree_file(tmp_path), "each", *whole)
    stop = 260
    answers = {
        id: sum(label == stop for row in rows_of(folder, "tokens") for label in row["labels"])
        for id, folder in (("once", once), ("each", each))
    }
    ledger = reader.scan_ledger(once).filter(pl.col("outcome") == "kept").collect()
    kept = set(ledger.filter(pl.col("unit") == "message")["id"])
    trees = [row for seed in range(40) for row in random_tree(seed)]
    assistants = {row["message_id"] for row in trees if row["role"] == "assistant"}
    assert answers["once"] == len(kept & assistants)
    assert answers["each"] > answers["once"]
    assert [row["id"] for row in rows_of(once)] == [row["id"] for row in rows_of(each)]


@pytest.mark.slow
def test_the_parquet_files_have_the_promised_schema(tmp_path: Path) -> None:
    out = make(tmp_path, TREES, tree_file(tmp_path), "out")
    messages = pq.read_schema(out / "messages" / "train-00000-of-00001.parquet")
    assert (
        str(messages.field("messages").type)
        == "list<element: struct<role: string, content: string, reasoning_content: string, "
        "tool_calls: string, tool_call_id: string, name: string, train: bool>>"
    )
    tokens = pq.read_schema(out / "tokens" / "train-00000-of-00001.parquet")
    assert {name: str(tokens.field(name).type) for name in tokens.names} == {
        "id": "string",
        "input_ids": "list<element: int32 not null>",
        "attention_mask": "list<element: int32 not null>",
        "labels": "list<element: int32 not null>",
        "length": "int32",
        "trained": "int32",
    }


@pytest.mark.slow
def test_no_clock_no_host_no_path_in_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "somewhere-else").mkdir()
    text = TREES.replace("source: {oasst: {}}", "source: {oasst: {files: [trees.jsonl]}}")
    folders = []
    for folder in (tmp_path, tmp_path / "somewhere-else"):
        tree_file(folder)
        (folder / "r.yaml").write_text(text)
        build_dataset(load_recipe(folder / "r.yaml"), folder / "out")
        folders.append(files(folder / "out"))
    assert folders[0] == folders[1]
    assert not any(str(tmp_path).encode() in content for content in folders[0].values())


@pytest.mark.slow
def test_content_hash_is_of_the_rows_alone(tmp_path: Path) -> None:
    def hash_of(*settings: str, shuffle: int | None = None) -> str:
        out = make(tmp_path, TREES, tree_file(tmp_path, shuffle, seeds=20), "hash", *settings)
        return str(json.loads((out / "manifest.json").read_text())["content_hash"])

    assert hash_of() == hash_of(shuffle=5) == hash_of("version=2.0.0", "max_dropped=0.99")
    changes = [
        "render=null",
        "split=null",
        "render.train_on=all",
        "threads.end=any",
        "drop=[deleted]",
    ]
    assert len({hash_of(change) for change in [*changes, "name=t"]}) == len(changes) + 1


@pytest.mark.slow
def test_two_trees_may_use_the_same_message_ids(tmp_path: Path) -> None:
    rows = [
        {"message_id": id, "parent_id": parent, "message_tree_id": tree, "text": f"{tree} {id}"}
        | {"role": "assistant" if parent else "prompter", "lang": "en"}
        for tree in ("s", "t")
        for id, parent in (("u", None), ("a", "u"), ("b", "u"))
    ]
    (tmp_path / "trees.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    once = "threads.train_once=true"
    for settings in (
        ["render.max_tokens=null", "render.overflow=drop"],
        ["render.max_tokens=70"],
        ["render.max_tokens=30"],
    ):
        out = make(tmp_path, TREES, tmp_path / "trees.jsonl", "out", *settings, once)
        assert {row["id"] for row in rows_of(out)} == {
            f"oasst1/{tree}/{id}" for tree in ("s", "t") for id in ("a", "b")
        }


@pytest.mark.slow
def test_one_id_in_two_groups_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"id": "x", "group": group, "messages": [{"role": "user", "content": group}, ANSWER]}
        for group in ("g", "h", "i", "j")
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    text = "name: r\nversion: 1.0.0\nsource: {jsonl: {}}"
    expected = files(make(tmp_path, text, tmp_path / "a.jsonl", "few"))
    monkeypatch.setattr(prepare, "PART_BYTES", 400)
    many = make(tmp_path, text, tmp_path / "a.jsonl", "many")
    assert files(many) == expected
    assert len({row["id"] for row in rows_of(many)}) == 4


@pytest.mark.slow
def test_two_rows_of_one_id_stop_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chatdata.sources._linear.Names.group", lambda self, id, keys, format: keys["group"]
    )
    row = {"id": "x", "messages": [{"role": "user", "content": "a"}, ANSWER]}
    text = "\n".join(json.dumps({**row, "group": group}) for group in "abcdefgh")
    (tmp_path / "a.jsonl").write_text(text)
    monkeypatch.setattr(prepare, "PART_BYTES", 1600)
    recipe = "name: r\nversion: 1.0.0\nsource: {jsonl: {}}"
    with pytest.raises(BuildError, match="conversations have the id 'jsonl/x'"):
        make(tmp_path, recipe, tmp_path / "a.jsonl", "out")


ANSWER = {"role": "assistant", "content": "b"}


# --------------------------------------------------------------------------- what stops a build


@pytest.mark.slow
def test_max_dropped_stops_a_build_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="of the messages would be dropped"):
        make(tmp_path, TREES, tree_file(tmp_path), "out", "max_dropped=0.1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.yaml", "trees.jsonl"]


@pytest.mark.slow
def test_a_ledger_that_does_not_add_up_stops_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ledger.drop_with_messages

    def forgetful(*arguments: Any) -> Any:
        kept, outcomes = honest(*arguments)
        return kept, outcomes.clear()

    monkeypatch.setattr(ledger, "drop_with_messages", forgetful)
    with pytest.raises(BuildError, match="does not add up"):
        make(tmp_path, TALKS, talk_file(tmp_path), "out")


def test_a_certificate_that_fails_on_the_rows_stops_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = tokenizing.render

    def careless(*arguments: Any) -> Any:
        rendered = honest(*arguments)
        ids = rendered.input_ids.copy()
        ids[5] += 1
        return replace(rendered, input_ids=ids)

    monkeypatch.setattr(tokenizing, "render", careless)
    with pytest.raises(RenderError, match="cannot be rendered exactly"):
        make(tmp_path, TALKS, talk_file(tmp_path), "out")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "there is no file"),
        ("empty.jsonl", "", "is empty"),
        ("array.json", "[]", "holds no conversations"),
        ("wrong.jsonl", '{"instruction": "a"}', "is unknown_record"),
        ("bad.jsonl", "{bad}\n{worse", "none of the 1 records"),
        ("bytes.jsonl", "\x00\x00\x01", "is not a text file"),
        ("folder", "/", "holds no .json"),
    ],
)
def test_input_that_cannot_be_used(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    path = tmp_path / name
    if content == "/":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(SourceError, match=words):
        make(tmp_path, TALKS, path, "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_folders_and_patterns_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tree_file(tmp_path / "in")
    by_file = make(tmp_path, TREES, tmp_path / "in" / "trees.jsonl", "a")
    for number, given in enumerate([tmp_path / "in", tmp_path / "in" / "*.jsonl"]):
        assert files(make(tmp_path, TREES, given, f"b{number}")) == files(by_file)


@pytest.mark.slow
def test_inputs_of_several_sources_are_told_apart(tmp_path: Path) -> None:
    talk_file(tmp_path)
    loaded = load_recipe("sample")
    with pytest.raises(SourceError, match=r"say which one --input .* is for"):
        build_dataset(loaded, tmp_path / "out", inputs=[str(tmp_path / "talks.json")])
    talks = f"sharegpt={tmp_path / 'talks.json'}"
    recipe = load_recipe("sample", ["max_dropped=1"])
    facts = build_dataset(recipe, tmp_path / "out", inputs=[talks])
    assert [source["path"] for source in facts["sources"]][-1] == "talks.json"


@pytest.mark.slow
def test_rows_of_tokens_are_in_the_split_of_their_conversation(tmp_path: Path) -> None:
    """Several rows of one conversation are made last, and once stood in the last split."""
    settings = ["max_tokens=200", "overflow=split", "carry_tokens=50"]
    settings = [f"render.{text}" for text in settings]
    build_dataset(load_recipe("sample", [*settings, "max_dropped=1"]), tmp_path / "o")
    splits = {}
    for kind in ("messages", "tokens"):
        rows = reader.scan(tmp_path / "o", kind).select("id", "split").collect()
        splits[kind] = dict.fromkeys(
            (row_id.conversation_of(id), split) for id, split in rows.rows()
        )
    assert list(splits["tokens"]) == list(splits["messages"])
    assert "#" in "".join(reader.scan(tmp_path / "o", "tokens").collect()["id"])


@pytest.mark.slow
def test_a_recipe_may_be_named_by_its_name_or_its_path(sample: Path, tmp_path: Path) -> None:
    manifest = json.loads((sample / "manifest.json").read_text())
    by_name = build_dataset("sample", tmp_path / "out")
    assert by_name["content_hash"] == manifest["content_hash"]
    (tmp_path / "r.yaml").write_text(TALKS)
    data = str(talk_file(tmp_path))
    paths = [tmp_path / "r.yaml", str(tmp_path / "r.yaml")]
    previews = [preview_dataset(path, inputs=[data]) for path in paths]
    assert previews[0] == previews[1] == preview_dataset(load_recipe(paths[0]), inputs=[data])
    assert preview_dataset("sample")["name"] == "sample"
    with pytest.raises(ConfigError, match="there is no recipe 'smaple'"):
        build_dataset("smaple", tmp_path / "none")


def test_public_names_are_listed_before_they_are_imported() -> None:
    code = "import chatdata; print(set(chatdata.__all__) <= set(dir(chatdata)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "True\n"


@pytest.mark.slow
def test_a_build_brings_no_pandas_and_no_parser_of_html(tmp_path: Path) -> None:
    """pyarrow imports pandas for what it makes of NumPy's arrays: 0.3 seconds of each process."""
    recipe = TALKS.replace("duplicate]", "duplicate, near_duplicate]")
    (tmp_path / "r.yaml").write_text(recipe)
    code = """
import sys
from chatdata import build_dataset, render_dataset
from chatdata.steps.clean import CLEANERS
build_dataset(sys.argv[1], "built", inputs=[sys.argv[2]], cache=False)
render_dataset("built", "again", tokenizer="bytes")
assert "pandas" not in sys.modules
assert CLEANERS["html"].function("<T> is a list") == "<T> is a list"
assert "bs4" not in sys.modules
"""
    words = [str(tmp_path / "r.yaml"), str(talk_file(tmp_path))]
    subprocess.run([sys.executable, "-c", code, *words], check=True, cwd=tmp_path)


def test_a_preview_counts_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = talk_file(tmp_path)
    (tmp_path / "r.yaml").write_text(TALKS)
    before = files(tmp_path)
    monkeypatch.setattr(preview, "PREVIEW_GROUPS", 20)
    facts: Manifest = preview_dataset(load_recipe(tmp_path / "r.yaml"), inputs=[str(data)])
    assert files(tmp_path) == before
    assert 0 < facts["counts"]["conversations"]["read"] < 70
    assert facts["render"]["certificate"]["passed"]


def test_the_sample_says_what_it_has(sample: Path) -> None:
    facts = json.loads((sample / "manifest.json").read_text())
    assert facts["counts"]["records"]["dropped"] == {"bad_json": 1}
    expected = {"deleted", "not_reviewed", "synthetic", "unfinished_tree", "wrong_language"}
    expected |= {"rootless", "cycle", "bad_content", "unknown_role", "empty", "duplicate"}
    assert expected <= set(facts["counts"]["messages"]["dropped"])
    assert facts["render"]["certificate"]["passed"]
    assert facts["leakage"] == {"groups_in_both": 0}
    texts = [text["content"] for row in rows_of(sample) for text in row["messages"]]
    assert any("<|end|>" in text and "<|im_start|>" in text for text in texts)
