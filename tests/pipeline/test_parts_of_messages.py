"""Parts of answers that are learnt (`train_parts`), from records to rows of tokens and proof."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import add_rendering, load_recipe, read_manifest, render_dataset
from chatdata.cli import main
from chatdata.dataset import card, manifest
from chatdata.verify.verification import verdicts_on, verify_folder
from tests.support.builds import make, rows_of
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

CALL = {"type": "function", "function": {"name": "tide", "arguments": {}}}
THINKS = {"reasoning_content": "Hm."}


def only(*parts: str, **more: Any) -> Flags:
    return {"train_parts": list(parts), **more}


# What is beside the words of the answers of a conversation.
GIVEN: list[list[Flags]] = [
    [only("answer"), {}],
    [only("end", "answer", **THINKS), only("reasoning", **THINKS)],
    [only("tool_calls", "end", tool_calls=[CALL])],
    [only("reasoning", "answer", "tool_calls", "end", **THINKS)],
    [{"train": False, **only("answer")}, {}],
    [only("reasoning"), only("answer", weight=0.5)],
    [{"train_parts": None}],
]


def tides(given: Given) -> list[dict[str, Any]]:
    return records(given, "High water of {}?", "At {}.")


def build(folder: Path, given: Given, *settings: str, out: str = "out") -> Path:
    recipe = SPLIT if given is GIVEN else WHOLE
    return built(folder, tides(given), *settings, recipe=recipe, out=out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, built."""
    return build(tmp_path_factory.mktemp("tides"), GIVEN)


def spans(row: Mapping[str, Any]) -> list[str]:
    """The trained texts of a row of bytes, a control token as |."""
    texts = [""]
    for label in row["labels"]:
        texts[-1] += "" if label < 0 else chr(label) if label < 256 else "|"
        texts += [""] if label < 0 and texts[-1] else []
    return [text for text in texts if text]


LEARNT = [
    ["At 0.", "At 1.|"],
    ["At 0.|", "<think>\nHm.\n</think>\n\n"],
    ['\n<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>|'],
    ["<think>\nHm.\n</think>\n\nAt 0.|"],
    ["At 1.|"],
    ["At 1."],
    ["At 0.|"],
]


def test_tokens_are_learnt_in_the_parts_of_their_message(folder: Path) -> None:
    """A golden that can be read: each trained text of each conversation, | for the end."""
    assert [spans(row) for row in by_number(folder, "tokens")] == LEARNT
    described = read_manifest(folder)
    assert described.messages_in_parts == 6
    assert "6 messages have `train_parts`" in card.text(described)
    verify_folder(folder, everything=True)


def test_messages_name_their_parts_where_these_are_not_all(folder: Path) -> None:
    rows = by_number(folder)
    stated = [
        [m["train_parts"] for m in row["messages"] if m["role"] == "assistant"] for row in rows
    ]
    assert stated == [
        [["answer"], None],
        [["answer", "end"], ["reasoning"]],
        [["tool_calls", "end"]],
        [None],
        [None, None],
        [["reasoning"], ["answer"]],
        [None],
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_datasets_transformers_and_trl_take_the_rows(folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokens = {row["id"]: row["input_ids"] for row in rows_of(folder, "tokens")}
    stated = {row["id"]: [m["train_parts"] for m in row["messages"]] for row in rows_of(folder)}
    rows = loaded(folder)
    assert len(rows) == len(GIVEN)
    for row in rows:
        assert [m["train_parts"] for m in row["messages"]] == stated[row["id"]]
        given = [{k: v for k, v in m.items() if v is not None} for m in row["messages"]]
        assert tokenizer.apply_chat_template(given, return_dict=False) == tokens[row["id"]]
    trainer = trainer_of_trl(folder, rows, tmp_path / "run")
    assert ids_by_trl(trainer) == ids_of(folder, rows)


def test_other_readers_take_the_names_as_lists(folder: Path) -> None:
    shards = str(folder / "messages" / "*.parquet")
    expected = sorted(
        [m["train_parts"] for row in rows_of(folder) for m in row["messages"] if m["train_parts"]]
    )
    of_polars = pl.read_parquet(shards).explode("messages").unnest("messages")["train_parts"]
    assert sorted(of_polars.drop_nulls().to_list()) == expected
    duckdb = pytest.importorskip("duckdb")
    query = f"select unnest(messages).train_parts as parts from '{shards}'"
    of_duckdb = [parts for (parts,) in duckdb.sql(query).fetchall() if parts is not None]
    assert sorted(of_duckdb) == expected


def test_pandas_takes_the_names_as_lists(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frames = [pandas.read_parquet(path) for path in sorted((folder / "messages").glob("*.parquet"))]
    given = [m["train_parts"] for frame in frames for row in frame["messages"] for m in row]
    stated = [m["train_parts"] for row in rows_of(folder) for m in row["messages"]]
    assert sorted(list(parts) for parts in given if parts is not None) == sorted(
        parts for parts in stated if parts is not None
    )


@pytest.mark.parametrize("way", ["shards", "datasets"])
def test_a_build_over_published_rows_changes_nothing(
    folder: Path, tmp_path: Path, way: str
) -> None:
    check_built_again(folder, way, tmp_path)


def test_rendered_again_with_the_same_parts(folder: Path, tmp_path: Path) -> None:
    render_dataset(folder, tmp_path / "again", tokenizer="bytes", template="starchat")
    verify_folder(tmp_path / "again", everything=True)
    assert by_number(tmp_path / "again") == by_number(folder)
    assert [spans(row) for row in by_number(tmp_path / "again", "tokens")] == LEARNT


def test_an_added_rendering_has_the_parts(tmp_path: Path) -> None:
    folder = build(tmp_path, GIVEN[:3])
    add_rendering(folder, name="more", tokenizer="bytes", template="starchat")
    assert [spans(row) for row in rows_of_rendering(folder, "more")] == LEARNT[:3]
    verify_folder(folder, everything=True)


def test_the_recipe_narrows_further(tmp_path: Path) -> None:
    folder = build(tmp_path, GIVEN[:4], "render.train_on={reasoning: false}")
    assert [spans(row) for row in by_number(folder, "tokens")] == [
        ["At 0.", "At 1.|"],
        ["At 0.|"],
        LEARNT[2],
        ["At 0.|"],
    ]
    verify_folder(folder, everything=True)


def test_the_rows_of_a_split_conversation_have_its_parts(tmp_path: Path) -> None:
    settings = ("render.max_tokens=90", "render.overflow=split")
    folder = build(tmp_path, [[only("answer"), {}, only("answer")]], *settings)
    rows = rows_of(folder, "tokens")
    assert len(rows) > 1
    assert [text for row in rows for text in spans(row)] == ["At 0.", "At 1.|", "At 2."]
    verify_folder(folder, everything=True)


# ------------------------------------------------------------------------ where nobody names parts


def test_all_parts_are_as_none(tmp_path: Path) -> None:
    every = only("end", "tool_calls", "answer", "reasoning")
    folders = [
        build(tmp_path, [[given], [given, {}]], out=out)
        for given, out in (({}, "none"), (every, "all"))
    ]
    shards = [
        {path.name: path.read_bytes() for path in sorted(folder.glob("*/*.parquet"))}
        for folder in folders
    ]
    assert shards[0] == shards[1]
    assert "train_parts" not in rows_of(folders[1])[0]["messages"][0]
    assert "messages_in_parts" not in read_manifest(folders[1]).as_json()


def test_an_answer_of_which_nothing_is_left_is_not_trained(tmp_path: Path) -> None:
    nothing = only("reasoning")
    folder = build(tmp_path, [[nothing], [nothing, {}]])
    assert read_manifest(folder).counts.conversations.dropped == {"no_trained_tokens": 1}
    assert [spans(row) for row in rows_of(folder, "tokens")] == [["At 1.|"]]


def test_the_parts_of_another_conversation_are_of_no_matter_for_a_digest(tmp_path: Path) -> None:
    given = {"alike": {}, "some": only("answer"), "more": only("answer", "end")}
    folders = [build(tmp_path, [[{}], [flags]], out=out) for out, flags in given.items()]
    check_second_alone_differs(folders)
    assert changed(*folders[:2]) == {"relabelled": 1, "the_same": 1}


def test_a_diff_sees_parts_where_nothing_is_rendered(tmp_path: Path) -> None:
    for out, given in (("alike", {}), ("some", only("answer"))):
        build(tmp_path, [[{}], [given]], "render=null", out=out)
    rows = changed(tmp_path / "alike", tmp_path / "some")
    assert rows == {"relabelled": 1, "the_same": 1}


def test_parts_can_be_dropped(tmp_path: Path) -> None:
    dropped = build(tmp_path, GIVEN, "clean=[drop_train_parts]")
    assert read_manifest(dropped).messages_in_parts is None
    assert read_manifest(dropped)["cleaned"]["drop_train_parts"]["messages"] == 6
    recipe = load_recipe("sample", ["clean=[drop_train_parts]"])
    assert recipe.steps()[0].cleaner.name == "drop_train_parts"


# ------------------------------------------------------------------------------- what is no parts


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("answer", "'answer' is not a list of some of reasoning, answer, tool_calls, end"),
        ({"answer": True}, "a dict is not a list of some of"),
        (True, "True is not a list of some of"),
        ([], "the list is empty; write train: false"),
        (["answr"], "'answr' is no part of an answer, which are reasoning, answer,"),
        (["empty_thought"], "'empty_thought' is no part of an answer"),
        ([None], "None is no part of an answer"),
        ([["answer"]], "a list is no part of an answer"),
        (["answer", "end", "answer"], "answer stands there twice"),
        (["end"], "no part is learnt but the end; learn the answer"),
        (["reasoning", "tool_calls"], "the answer is left out between reasoning and tool_calls"),
    ],
)
def test_other_values_are_faults(tmp_path: Path, value: object, detail: str) -> None:
    folder = build(tmp_path, [[{}], [{"train_parts": value}]])
    assert read_manifest(folder).counts.conversations.dropped == {"bad_content": 1}
    ledger = pl.read_parquet(folder / "ledger" / "*.parquet")
    (stated,) = ledger.filter(unit="message", reason="bad_content")["detail"]
    assert stated.startswith(f"train_parts: {detail}")


def test_a_question_has_no_parts(tmp_path: Path) -> None:
    question = {"role": "user", "content": "q", "train_parts": ["answer"]}
    talk = {"messages": [question, {"role": "assistant", "content": "a"}]}
    (tmp_path / "t.jsonl").write_text(json.dumps(talk))
    folder = make(tmp_path, WHOLE, tmp_path / "t.jsonl", "out")
    assert read_manifest(folder).messages_in_parts is None
    assert [spans(row) for row in rows_of(folder, "tokens")] == [["a|"]]


@pytest.mark.parametrize("train_on", ["all", "assistant_with_header"])
def test_training_on_more_than_answers_is_refused_beside_parts(
    tmp_path: Path, train_on: str
) -> None:
    folder = build(tmp_path, [[{}], [only("answer")]], f"render.train_on={train_on}")
    assert read_manifest(folder).counts.conversations.dropped == {"unrenderable": 1}
    ledger = pl.read_parquet(folder / "ledger" / "*.parquet")
    why = f"train_on is {train_on}, and an answer has train_parts"
    assert why in ledger.filter(reason="unrenderable")["detail"].to_list()


def test_turns_of_different_parts_are_not_merged(tmp_path: Path) -> None:
    part, rest = only("answer"), {"train": False}
    assert merged(tmp_path, "train_parts", (part, part), (part, {}), (part, rest)) == [
        [("a\n\nb", True, ["answer"])],
        [("a", True, ["answer"]), ("b", True, None)],
        [("a\n\nb", False, None)],
    ]


def test_records_without_ids_are_named_for_what_is_said_alone(tmp_path: Path) -> None:
    names = []
    for number, flags in enumerate(({}, only("answer"))):
        talk = tides([[{**THINKS, **flags}]])[0]["messages"]
        (tmp_path / "t.jsonl").write_text(json.dumps({"messages": talk}))
        built = make(tmp_path, WHOLE, tmp_path / "t.jsonl", str(number))
        names += [row["id"] for row in rows_of(built)]
    assert names[0] == names[1]


# ------------------------------------------------------------------------------------ what is shown


def test_show_prints_what_is_beside_the_words(tmp_path: Path) -> None:
    given = tides([[only("answer", weight=0.5), {}]])[0]
    given["chat_template_kwargs"] = {"mood": "calm"}
    (tmp_path / "t.jsonl").write_text(json.dumps(given))
    folder = make(tmp_path, WHOLE, tmp_path / "t.jsonl", "out", "render=null")
    lines = CliRunner().invoke(main, ["show", str(folder)]).output.splitlines()
    assert lines[1:3] == [
        'variables: {"mood": "calm"}',
        "message 1: weight 0.5; train_parts answer",
    ]
    assert lines[3].startswith("user: ")


def test_show_prints_parts_of_the_messages_that_a_row_teaches(tmp_path: Path) -> None:
    settings = ("render.max_tokens=90", "render.overflow=split")
    folder = build(tmp_path, [[only("answer"), {}, only("answer")]], *settings)
    output = CliRunner().invoke(main, ["show", str(folder)]).output
    assert output.count("message 1: train_parts answer") == 1
    assert output.count("message 5: train_parts answer") == 1


def test_build_says_which_ends_are_left_out(tmp_path: Path) -> None:
    folder = build(tmp_path, [[only("answer"), {}]])
    arguments = ["build", str(tmp_path / "r.yaml"), "--input", str(tmp_path / "talks.jsonl")]
    (tmp_path / "r.yaml").write_text(WHOLE)
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "again")])
    assert "✓ 1 of 1 answers end with a trained <|im_end|>, 1 leave it out" in done.output
    assert "✓ 1 of 1 answers are trained from end to end, and 1 in their train_parts" in done.output
    assert "✗" not in done.output
    lines = {words: numbers for words, *numbers in card.certificate(read_manifest(folder))}
    counted, wrong = lines["answers whose end token is trained"]
    assert (counted, wrong) == (read_manifest(folder).rendering.certificate.total.answers - 1, 0)


# ---------------------------------------------------------------------------------------- forgers


def with_parts(messages: list[Flags], parts: list[str] | None) -> list[Flags]:
    return [{**m, "train_parts": parts if m["train_parts"] else None} for m in messages]


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda messages: with_parts(messages, None), ["certificate"]),
        (lambda messages: with_parts(messages, ["answer", "end"]), ["certificate"]),
        (lambda messages: with_parts(messages, ["reasoning"]), ["certificate"]),
        (lambda messages: messages, []),
    ],
)
def test_a_forger_of_parts_is_caught(
    tmp_path: Path, change: Callable[[list[Flags]], list[Flags]], failed: list[str]
) -> None:
    folder = build(tmp_path, [[only("answer"), {}], [{}]])
    assert forge(folder, "messages", "messages", change) == failed


def test_a_manifest_that_counts_other_parts_is_caught(tmp_path: Path) -> None:
    folder = build(tmp_path, [[only("answer"), {}], [{}]])
    facts = json.loads((folder / "manifest.json").read_text())
    facts["messages_in_parts"] = 2
    (folder / "manifest.json").write_text(json.dumps(facts))
    for name, text in card.pages(manifest.parsed(facts)).items():
        (folder / name).write_text(text)
    found_by = {v.check: v for v in verdicts_on(folder) if v.outcome == "failed"}
    assert "messages with train_parts" in str(found_by["rows"])


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_the_description_for_machines_is_one_that_is_read(folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    stated = [
        turn["messages/messages/train_parts"]
        for row in described.records("messages")
        for turn in row["messages/messages"]
    ]
    given = [m["train_parts"] for row in rows_of(folder) for m in row["messages"]]
    assert sorted([name.decode() for name in names] for names in stated if names) == sorted(
        names for names in given if names
    )
    records = json.loads((folder / "croissant.json").read_text())["recordSet"]
    (of_messages,) = [r for r in records if r["@id"] == "messages"]
    keys = [key for field in of_messages["field"] for key in field.get("subField", ())]
    (of_parts,) = [key for key in keys if key["name"] == "train_parts"]
    assert (of_parts["dataType"], of_parts["isArray"]) == ("sc:Text", True)
