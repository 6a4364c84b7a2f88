"""Weights of answers, from records to rows of tokens and their proof."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import add_rendering, load_recipe, read_manifest, render_dataset
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, manifest
from chatdata.verify import recount
from chatdata.verify.dataset_diff import between
from chatdata.verify.verification import verdicts_on, verify_folder
from tests.support.builds import make, rows_of
from tests.support.published import as_input, ids_by_trl, ids_of, loaded, trainer_of_trl

pytestmark = pytest.mark.slow

RECIPE = """
name: scales
version: 1.0.0
source: {jsonl: {license: cc0-1.0}}
split: {test_percent: %d}
render: {tokenizer: bytes, template: chatml}
max_dropped: 1.0
"""
THOUGHT = {"reasoning_content": "I look."}  # such a row is written by Jinja
# The weights of the answers of a conversation; what is beside them in a record.
GIVEN: list[list[dict[str, Any]]] = [
    [{"weight": 0.5}, {}],
    [{"loss_weight": 2}, {"weight": 0}, {"weight": 1.0}],
    [{**THOUGHT, "weight": 3}, {**THOUGHT, "loss_weight": 0.1}],
    [{}],
    [{"weight": 1}, {"train": False, "weight": 0.5}],
    [{"loss": 0.25}],
    [{}, {**THOUGHT}],
]
WEIGHTS = [[0.5, 1], [2, 0, 1], [3, 0.1], [1], [1, 0], [0.25], [1, 1]]


def records(given: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"t/{number}",
            "messages": [
                message
                for turn, flags in enumerate(answers)
                for message in (
                    {"role": "user", "content": f"How heavy is {number}-{turn}?"},
                    {"role": "assistant", "content": f"{turn} tons.", **flags},
                )
            ],
        }
        for number, answers in enumerate(given)
    ]


def build(
    folder: Path, given: list[list[dict[str, Any]]], *settings: str, out: str = "out"
) -> Path:
    (folder / "scales.jsonl").write_text("\n".join(map(json.dumps, records(given))))
    percent = 40 if given is GIVEN else 0
    return make(folder, RECIPE % percent, folder / "scales.jsonl", out, *settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, built."""
    return build(tmp_path_factory.mktemp("scales"), GIVEN)


def by_number(folder: Path, kind: str = "messages") -> list[dict[str, Any]]:
    return sorted(rows_of(folder, kind), key=lambda row: str(row["id"]))


def near(weight: float) -> float:
    """The float of 32 bits that is nearest."""
    return pa.array([weight], pa.float32())[0].as_py()


def spans(row: dict[str, Any]) -> list[tuple[str, float]]:
    """The trained texts of a row of bytes with their weight."""
    pieces: list[tuple[str, float]] = []
    before = 0.0
    for label, weight in zip(row["labels"], row["weights"], strict=True):
        assert (label == IGNORE_INDEX) == (weight == 0)
        text = chr(label) if 0 <= label < 256 else "|" if label >= 0 else ""
        if weight and before:
            pieces[-1] = pieces[-1][0] + text, weight
            assert weight == before
        elif weight:
            pieces.append((text, weight))
        before = weight
    return pieces


def test_tokens_have_the_weight_of_their_answer(folder: Path) -> None:
    """A golden that can be read: each trained text, up to its end token, and what it weighs."""
    rows = by_number(folder, "tokens")
    assert [spans(row) for row in rows] == [
        [("0 tons.|", 0.5), ("1 tons.|", 1)],
        [("0 tons.|", 2), ("2 tons.|", 1)],
        [
            ("<think>\nI look.\n</think>\n\n0 tons.|", 3),
            ("<think>\nI look.\n</think>\n\n1 tons.|", near(0.1)),
        ],
        [("0 tons.|", 1)],
        [("0 tons.|", 1)],
        [("0 tons.|", 0.25)],
        [("0 tons.|", 1), ("<think>\nI look.\n</think>\n\n1 tons.|", 1)],
    ]
    assert read_manifest(folder).weighted_messages == 5
    assert "5 messages have a `weight`" in card.text(read_manifest(folder))
    verify_folder(folder, everything=True)


def test_messages_say_their_weight_where_it_is_not_one(folder: Path) -> None:
    rows = by_number(folder)
    answers = [[m for m in row["messages"] if m["role"] == "assistant"] for row in rows]
    stated = [[m["train"] and (m["weight"] or 1) for m in of_row] for of_row in answers]
    assert stated == WEIGHTS
    nulls = [m["weight"] for of_row in answers for m in of_row if not m["train"]]
    assert set(nulls) == {None}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_datasets_transformers_and_trl_take_the_rows(folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokens = {row["id"]: row["input_ids"] for row in rows_of(folder, "tokens")}
    rows = loaded(folder)
    assert len(rows) == len(GIVEN)
    for row in rows:
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        assert ids == tokens[row["id"]]
    of_tokens = loaded(folder, "tokens-chatml")
    assert of_tokens.features["weights"].feature.dtype == "float32"
    for given in (rows, of_tokens):
        trainer = trainer_of_trl(folder, given, tmp_path / "run")
        assert ids_by_trl(trainer) == ids_of(folder, given)
        assert {"input_ids", "labels"} <= set(next(iter(trainer.get_train_dataloader())))


@pytest.mark.parametrize("way", ["shards", "datasets"])
def test_a_build_over_published_rows_changes_nothing(
    folder: Path, tmp_path: Path, way: str
) -> None:
    again = make(tmp_path, RECIPE % 40, as_input(folder, way, tmp_path), "again")
    difference = between(folder, again)
    assert {key: n for key, n in difference.rows.items() if n} == {"the_same": len(GIVEN)}
    for kind in ("messages", "tokens"):
        assert by_number(again, kind) == by_number(folder, kind)
    assert read_manifest(again).content_hash == read_manifest(folder).content_hash


def test_rendered_again_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    render_dataset(folder, tmp_path / "again", tokenizer="bytes", template="starchat")
    verify_folder(tmp_path / "again", everything=True)
    assert by_number(tmp_path / "again") == by_number(folder)
    weights = [
        [[weight for _, weight in spans(row)] for row in by_number(of, "tokens")]
        for of in (folder, tmp_path / "again")
    ]
    assert weights[0] == weights[1]


def test_a_dataset_whose_answers_weigh_alike_has_no_weights(tmp_path: Path) -> None:
    alike = build(tmp_path, [[{"weight": 1}, {"weight": 0}, {"loss": True}]])
    (shard,) = (alike / "tokens").glob("*.parquet")
    assert "weights" not in pq.read_schema(shard).names
    (messages,) = rows_of(alike)
    assert "weight" not in messages["messages"][0]
    assert "weighted_messages" not in read_manifest(alike).as_json()


def test_what_one_conversation_weighs_is_of_no_matter_for_the_digest_of_another(
    tmp_path: Path,
) -> None:
    digests = [
        dict(recount.digests(folder, read_manifest(folder)))
        for folder in (
            build(tmp_path, [[{}], [{}]], out="alike"),
            build(tmp_path, [[{}], [{"weight": 0.5}]], out="some"),
            build(tmp_path, [[{}], [{"weight": 0.25}]], out="less"),
        )
    ]
    first, second = sorted(digests[0])
    assert len({of_folder[first] for of_folder in digests}) == 1
    assert len({of_folder[second] for of_folder in digests}) == 3
    rows = between(tmp_path / "some", tmp_path / "less").rows
    assert {key: n for key, n in rows.items() if n} == {"relabelled": 1, "the_same": 1}


def test_weights_can_be_dropped(tmp_path: Path) -> None:
    dropped = build(tmp_path, GIVEN, "clean=[drop_weights]")
    assert read_manifest(dropped).weighted_messages is None
    assert read_manifest(dropped)["cleaned"]["drop_weights"]["messages"] == 5


@pytest.mark.parametrize("value", [-1, -0.5, math.inf, math.nan, 1e40, 1e-40, "0.5", [1]])
def test_other_weights_are_faults(tmp_path: Path, value: object) -> None:
    folder = build(tmp_path, [[{}], [{"weight": value}]])
    assert read_manifest(folder).counts.conversations.dropped == {"bad_content": 1}
    ledger = pl.read_parquet(folder / "ledger" / "*.parquet")
    details = ledger.filter(unit="message", reason="bad_content")["detail"]
    assert any(detail.startswith("weight is ") for detail in details)


@pytest.mark.parametrize(
    ("flags", "detail"),
    [
        ({"weight": 2, "loss_weight": 3}, "'weight' and 'loss_weight' say different things"),
        ({"train": 0.5}, "train is 0.5, and a message is learnt from or not (0 or 1)"),
        ({"loss_mask": 0.5}, "loss_mask is 0.5, and a message is learnt from or not (0 or 1)"),
    ],
)
def test_flags_that_are_no_weight(tmp_path: Path, flags: dict[str, Any], detail: str) -> None:
    folder = build(tmp_path, [[{}], [flags]])
    ledger = pl.read_parquet(folder / "ledger" / "*.parquet")
    assert detail in ledger.filter(unit="message", reason="bad_content")["detail"].to_list()


def test_turns_of_two_weights_are_not_merged(tmp_path: Path) -> None:
    def answer(content: str, **flags: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": content, **flags}

    question = {"role": "user", "content": "q"}
    alike = [question, answer("a", weight=2), answer("b", weight=2)]
    unlike = [question, answer("a", weight=2), answer("b")]
    untrained = [question, answer("a", weight=2), answer("b", weight=0)]
    talks = [
        {"id": f"t/{n}", "messages": talk} for n, talk in enumerate((alike, unlike, untrained))
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, talks)))
    recipe = RECIPE % 0 + "threads: {repeated_role: merge}\n"
    folder = make(tmp_path, recipe, tmp_path / "t.jsonl", "out", "render=null")
    stated = [
        [(m["content"], m["train"], m["weight"]) for m in row["messages"][1:]]
        for row in by_number(folder)
    ]
    assert stated == [
        [("a\n\nb", True, 2.0)],
        [("a", True, 2.0), ("b", True, None)],
        [("a\n\nb", False, None)],
    ]


def test_training_on_all_is_refused_beside_weights(tmp_path: Path) -> None:
    folder = build(tmp_path, [[{}], [{"weight": 2}]], "render.train_on=all")
    assert read_manifest(folder).counts.conversations.dropped == {"unrenderable": 1}
    ledger = pl.read_parquet(folder / "ledger" / "*.parquet")
    why = "train_on is all, and an answer has a weight of its own"
    assert why in ledger.filter(reason="unrenderable")["detail"].to_list()


def test_the_rows_of_a_split_conversation_have_its_weights(tmp_path: Path) -> None:
    settings = ("render.max_tokens=70", "render.overflow=split")
    folder = build(tmp_path, [[{"weight": 2}, {}, {"weight": 0.5}]], *settings)
    rows = rows_of(folder, "tokens")
    assert len(rows) > 1
    assert [piece for row in rows for piece in spans(row)] == [
        *[("0 tons.|", 2), ("1 tons.|", 1), ("2 tons.|", 0.5)]
    ]
    verify_folder(folder, everything=True)


# -------------------------------------------------------------------------------------- forgers


def forge(folder: Path, kind: str, change: Callable[[pa.Table], pa.Table]) -> list[str]:
    """The checks that fail once rows were changed and the manifest agrees with all counts."""
    (path,) = (folder / kind).glob("*.parquet")
    pq.write_table(change(pq.read_table(path)), path)
    facts = json.loads((folder / "manifest.json").read_text())
    for file in facts["files"]:
        file["sha256"] = sha256_file(folder / file["path"])
    counted = recount.count(folder, manifest.parsed(facts))
    facts["content_hash"] = counted.content_hash()
    facts["weighted_messages"] = counted.weighted_messages
    (folder / "manifest.json").write_text(json.dumps(facts))
    for name, text in card.pages(manifest.parsed(facts)).items():
        (folder / name).write_text(text)
    return [v.check for v in verdicts_on(folder, everything=True) if v.outcome == "failed"]


def put(table: pa.Table, name: str, change: Callable[[Any], Any]) -> pa.Table:
    place = table.column_names.index(name)
    values = [change(value) for value in table[name].to_pylist()]
    kind = table.schema.field(name).type
    return table.set_column(place, table.schema.field(name), pa.array(values, kind))


def heavier(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**m, "weight": m["weight"] and m["weight"] * 2} for m in messages]


@pytest.mark.parametrize(
    ("kind", "column", "change", "check"),
    [
        ("tokens", "weights", lambda row: [w * 2 for w in row], "certificate"),
        ("tokens", "weights", lambda row: [float(w > 0) for w in row], "certificate"),
        ("messages", "messages", heavier, "certificate"),
        ("tokens", "weights", lambda row: [w or 1.0 for w in row], "rows"),
        ("tokens", "weights", lambda row: [-w for w in row], "rows"),
        ("tokens", "weights", lambda row: [w * math.inf if w else w for w in row], "rows"),
        ("tokens", "weights", lambda row: [0.0 for _ in row], "rows"),
        ("tokens", "weights", lambda row: row[:-1], "rows"),
        ("tokens", "weights", lambda row: row, ""),
    ],
)
def test_a_forger_of_weights_is_caught(
    tmp_path: Path, kind: str, column: str, change: Callable[[Any], Any], check: str
) -> None:
    folder = build(tmp_path, [[{"weight": 0.5}, {}], [{}]])
    failed = forge(folder, kind, lambda table: put(table, column, change))
    assert failed == ([check] if check else [])


def test_a_recipe_that_drops_weights_is_read() -> None:
    assert load_recipe("sample", ["clean=[drop_weights]"]).steps()[0].cleaner.name == "drop_weights"


def test_an_added_rendering_has_the_weights(tmp_path: Path) -> None:
    given = [*GIVEN[:3], [{}]]
    folder = build(tmp_path, given)
    weights = [[weight for _, weight in spans(row)] for row in by_number(folder, "tokens")]
    add_rendering(folder, name="more", tokenizer="bytes", template="starchat")
    (shard,) = (folder / "tokens-more").glob("*.parquet")
    rows = sorted(pq.read_table(shard).to_pylist(), key=lambda row: str(row["id"]))
    assert [[weight for _, weight in spans(row)] for row in rows] == weights
    verify_folder(folder, everything=True)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_weights_come_out_of_the_description_for_machines(folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    rows = {row["id"]: row["weights"] for row in rows_of(folder, "tokens")}
    records = list(described.records("tokens-chatml"))
    assert len(records) == len(rows)
    for row in records:
        given = [float(weight) for weight in row["tokens-chatml/weights"]]
        assert given == pytest.approx(rows[row["tokens-chatml/id"].decode()])
    stated = [
        turn["messages/messages/weight"]
        for row in described.records("messages")
        for turn in row["messages/messages"]
    ]
    assert sorted(weight for weight in stated if weight == weight and weight) == [
        *[0.1, 0.25, 0.5, 2, 3]
    ]
