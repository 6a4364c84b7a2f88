"""Weights of answers, from records to rows of tokens and their proof."""

from __future__ import annotations

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
from chatdata.dataset import card
from chatdata.verify.verification import verify_folder
from tests.support.builds import rows_of
from tests.support.flagged import (
    SPLIT,
    WHOLE,
    Flags,
    Given,
    built,
    by_number,
    changed,
    check_built_again,
    check_second_alone_differs,
    forge,
    merged,
    records,
    rows_of_rendering,
)
from tests.support.published import ids_by_trl, ids_of, loaded, trainer_of_trl

pytestmark = pytest.mark.slow

THOUGHT = {"reasoning_content": "I look."}  # such a row is written by Jinja
# The weights of the answers of a conversation; what is beside them in a record.
GIVEN: list[list[Flags]] = [
    [{"weight": 0.5}, {}],
    [{"loss_weight": 2}, {"weight": 0}, {"weight": 1.0}],
    [{**THOUGHT, "weight": 3}, {**THOUGHT, "loss_weight": 0.1}],
    [{}],
    [{"weight": 1}, {"train": False, "weight": 0.5}],
    [{"loss": 0.25}],
    [{}, {**THOUGHT}],
]
WEIGHTS = [[0.5, 1], [2, 0, 1], [3, 0.1], [1], [1, 0], [0.25], [1, 1]]


def build(folder: Path, given: Given, *settings: str, out: str = "out") -> Path:
    talks = records(given, "How heavy is {}?", "{} tons.")
    recipe = SPLIT if given is GIVEN else WHOLE
    return built(folder, talks, *settings, recipe=recipe, out=out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, built."""
    return build(tmp_path_factory.mktemp("scales"), GIVEN)


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
    check_built_again(folder, way, tmp_path)


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
    given: dict[str, Flags] = {"alike": {}, "some": {"weight": 0.5}, "less": {"weight": 0.25}}
    folders = [build(tmp_path, [[{}], [flags]], out=out) for out, flags in given.items()]
    check_second_alone_differs(folders)
    assert changed(*folders[1:]) == {"relabelled": 1, "the_same": 1}


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
    two: Flags = {"weight": 2}
    assert merged(tmp_path, "weight", (two, two), (two, {}), (two, {"weight": 0})) == [
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
    failed = forge(folder, kind, column, change)
    assert failed == ([check] if check else [])


def test_a_recipe_that_drops_weights_is_read() -> None:
    assert load_recipe("sample", ["clean=[drop_weights]"]).steps()[0].cleaner.name == "drop_weights"


def test_an_added_rendering_has_the_weights(tmp_path: Path) -> None:
    given = [*GIVEN[:3], [{}]]
    folder = build(tmp_path, given)
    weights = [[weight for _, weight in spans(row)] for row in by_number(folder, "tokens")]
    add_rendering(folder, name="more", tokenizer="bytes", template="starchat")
    rows = rows_of_rendering(folder, "more")
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
