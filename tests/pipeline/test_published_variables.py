"""Variables of conversations, from records to published rows and the libraries that read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatdata import add_rendering, load_recipe, read_manifest, render_dataset
from chatdata.core.errors import ConfigError, VerifyError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import card, manifest
from chatdata.verify import recount
from chatdata.verify.dataset_diff import between
from chatdata.verify.verification import verdicts_on, verify_folder
from tests.support.builds import make, rows_of
from tests.support.carrying import carry
from tests.support.published import as_input, ids_by_trl, ids_of, loaded, trainer_of_trl

pytestmark = pytest.mark.slow

KEY = "chat_template_kwargs"
TEMPLATE = """{{ '<|effort|>' + (effort | default('some')) }}
{% for m in messages %}<|turn_{{ m.role }}|>{{ m.content }}<|stop|>
{% endfor %}{% if add_generation_prompt %}<|turn_assistant|>{% endif %}"""
RECIPE = """
name: moods
version: 1.0.0
source: {{jsonl: {{license: cc0-1.0{options}}}}}
split: {{test_percent: {percent}}}
render: {{tokenizer: {tokenizer}, template: tokenizer, variables: {{effort: low}}}}
max_dropped: 1.0
"""
VARIABLES: list[dict[str, Any]] = [
    *[{KEY: {"effort": "high"}}, {KEY: '{"effort": "some"}'}, {}, {KEY: None}, {KEY: {}}],
    *[{"strength": "full"}, {KEY: {"effort": "é"}, "strength": None}, {}],
]
EXPECTED = ["high", "some", None, None, None, "full", "é", None]


def talk(number: int) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": f"How high is buoy {number}?"},
        {"role": "assistant", "content": f"{number} metres."},
    ]


def build(
    folder: Path, records: list[dict[str, Any]], *settings: str, out: str = "out", **options: str
) -> Path:
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, records)))
    tokenizer = folder / "carrying"
    if not tokenizer.exists():
        carry(None, TEMPLATE, tokenizer)
    percent = 40 if len(records) > 4 else 0
    named = {
        "percent": percent,
        "options": ", variables: {effort: strength}",
        "tokenizer": tokenizer,
        **options,
    }
    return make(folder, RECIPE.format(**named), folder / "talks.jsonl", out, *settings)


def records(*variables: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": f"t/{n}", "messages": talk(n), **v} for n, v in enumerate(variables)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, built."""
    return build(tmp_path_factory.mktemp("moods"), records(*VARIABLES))


def by_number(folder: Path, kind: str = "messages") -> list[dict[str, Any]]:
    return sorted(rows_of(folder, kind), key=lambda row: str(row["id"]))


def test_rows_say_their_variables_and_are_written_with_them(folder: Path) -> None:
    rows = by_number(folder)
    given = [json.loads(row[KEY]) for row in rows]
    assert given == [{"effort": effort} if effort else {} for effort in EXPECTED]
    described = read_manifest(folder)
    assert described.variables == {"effort": 4}
    assert "in `chat_template_kwargs`: `effort` 4." in card.text(described)
    tokens = by_number(folder, "tokens")
    texts = [bytes(id for id in row["input_ids"] if id < 256).decode() for row in tokens]
    assert [text.partition("\n")[0] for text in texts] == [effort or "low" for effort in EXPECTED]
    verify_folder(folder, everything=True)


def test_transformers_writes_the_rows(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokens = {row["id"]: row["input_ids"] for row in rows_of(folder, "tokens")}
    rows = loaded(folder)
    assert len(rows) == len(EXPECTED)
    for row in rows:
        messages = [{k: v for k, v in m.items() if v is not None} for m in row["messages"]]
        variables = {"effort": "low", **row[KEY]}
        ids = tokenizer.apply_chat_template(messages, return_dict=False, **variables)
        assert ids == tokens[row["id"]]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_trl_takes_the_rows_as_they_are(tmp_path: Path) -> None:
    """TRL merges the variables of a row into its options, where a null or a text is an error."""
    folder = build(tmp_path, records(*VARIABLES), "render.variables={}")
    rows = loaded(folder)
    trainer = trainer_of_trl(folder, rows, tmp_path / "run")
    assert ids_by_trl(trainer) == ids_of(folder, rows)


@pytest.mark.parametrize("way", ["shards", "datasets"])
def test_a_build_over_published_rows_changes_nothing(
    folder: Path, tmp_path: Path, way: str
) -> None:
    recipe = RECIPE.format(percent=40, options="", tokenizer=folder.parent / "carrying")
    again = make(tmp_path, recipe, as_input(folder, way, tmp_path), "again")
    difference = between(folder, again)
    assert {key: n for key, n in difference.rows.items() if n} == {"the_same": len(EXPECTED)}
    assert by_number(again) == by_number(folder)
    assert read_manifest(again).content_hash == read_manifest(folder).content_hash


def test_a_dataset_without_variables_has_no_column_of_them(tmp_path: Path) -> None:
    without = build(tmp_path, records({}, {}, {KEY: {}}), options="")
    (shard,) = (without / "messages").glob("*.parquet")
    names = ["id", "group", "source", "lang", "messages", "tools"]
    assert pq.read_schema(shard).names == names
    assert "variables" not in read_manifest(without).as_json()
    verify_folder(without, everything=True)


def test_what_a_conversation_gives_is_of_no_matter_for_the_digest_of_another(
    tmp_path: Path,
) -> None:
    """A column of empty objects has the content hash of no column; a variable changes the hash."""
    variables = [{}, {KEY: {"effort": "low", "speed": 1}}]  # of the last, which is refused
    column = build(tmp_path, records(*variables), options="")
    assert read_manifest(column).variables == {}
    verify_folder(column, everything=True)
    without = build(tmp_path, records({}), out="without", options="")
    varied = build(tmp_path, records({KEY: {"effort": "low"}}), out="other", options="")
    hashes = [read_manifest(folder).content_hash for folder in (column, without, varied)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert between(without, varied).rows["changed"] == 1
    assert rows_of(varied, "tokens") == rows_of(without, "tokens")


def forge(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Changes the variables of rows, and makes the manifest agree with all that can be counted."""
    (path,) = (folder / "messages").glob("*.parquet")
    rows = pq.read_table(path)
    column = rows.column_names.index(KEY)
    texts = [json.dumps(change(json.loads(text))) for text in rows[KEY].to_pylist()]
    pq.write_table(rows.set_column(column, rows.schema.field(column), pa.array(texts)), path)
    facts = json.loads((folder / "manifest.json").read_text())
    for file in facts["files"]:
        file["sha256"] = sha256_file(folder / file["path"])
    counted = recount.count(folder, manifest.parsed(facts))
    facts |= {"content_hash": counted.content_hash(), "variables": dict(counted.variables)}
    (folder / "manifest.json").write_text(json.dumps(facts))
    for name, text in card.pages(manifest.parsed(facts)).items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda given: {"effort": "huge"} if given else {}, "certificate"),
        (lambda given: {}, "certificate"),
        (lambda given: given, ""),
    ],
)
def test_a_forger_of_variables_is_caught_by_the_template(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], check: str
) -> None:
    folder = build(tmp_path, records({KEY: {"effort": "high"}}, {}), options="")
    forge(folder, change)
    failed = [v.check for v in verdicts_on(folder, everything=True) if v.outcome == "failed"]
    assert failed == ([check] if check else [])


def test_variables_that_the_manifest_miscounts_are_found(tmp_path: Path) -> None:
    folder = build(tmp_path, records({KEY: {"effort": "high"}}, {}), options="")
    facts = json.loads((folder / "manifest.json").read_text())
    facts["variables"] = {"effort": 2}
    (folder / "manifest.json").write_text(json.dumps(facts))
    (folder / "README.md").write_text(card.text(manifest.parsed(facts)))
    with pytest.raises(VerifyError, match=r"rows by variable: the manifest says {'effort': 2}"):
        verify_folder(folder)


def test_rendered_again_with_the_same_variables(folder: Path, tmp_path: Path) -> None:
    louder = TEMPLATE.replace("'<|effort|>' +", "'<|effort|>!' +")
    carried = carry(None, louder, tmp_path / "louder")
    render_dataset(folder, tmp_path / "again", tokenizer=str(carried))
    verify_folder(tmp_path / "again", everything=True)
    assert by_number(tmp_path / "again") == by_number(folder)
    assert read_manifest(tmp_path / "again").variables == {"effort": 4}
    tokens = by_number(tmp_path / "again", "tokens")
    texts = [bytes(id for id in row["input_ids"] if id < 256).decode() for row in tokens]
    assert [t.partition("\n")[0] for t in texts] == [f"!{effort or 'low'}" for effort in EXPECTED]


def test_a_built_in_template_drops_them_by_name_or_a_cleaner_does(tmp_path: Path) -> None:
    built_in = ("render={tokenizer: bytes, template: chatml}",)
    refused = build(tmp_path, records(*VARIABLES), *built_in)
    assert read_manifest(refused).counts.conversations.dropped == {"unrenderable": 4}
    cleaned = build(tmp_path, records(*VARIABLES), *built_in, "clean=[drop_variables]", out="c")
    described = read_manifest(cleaned)
    assert (described.variables, described.counts.conversations.kept) == (None, len(EXPECTED))
    assert described["cleaned"]["drop_variables"]["messages"] == 2 * 4


def test_variables_of_a_name_are_dropped(tmp_path: Path) -> None:
    given = {KEY: {"effort": "high", "speed": 1}}
    clean = "clean=[{drop_variables: {names: [speed]}}]"
    folder = build(tmp_path, records(given, {KEY: {"speed": 2}}), clean, options="")
    assert [row[KEY] for row in by_number(folder)] == ['{"effort": "high"}', "{}"]


def test_secrets_in_variables_are_redacted(tmp_path: Path) -> None:
    given = {KEY: {"effort": "of ann.lee@acme.io"}}
    folder = build(tmp_path, records(given), "redact={kinds: [email]}", options="")
    assert [row[KEY] for row in rows_of(folder)] == ['{"effort": "of <EMAIL_1>"}']
    assert read_manifest(folder)["secrets"]["email"]["found"] == 1


def test_conversations_with_other_variables_are_no_duplicates(tmp_path: Path) -> None:
    same = [{"id": f"t/{n}", "messages": talk(0)} for n in range(4)]
    given: list[Any] = [None, {"effort": "high"}, {"effort": "high"}, {}]
    varied = [{**record, KEY: of} for record, of in zip(same, given, strict=True)]
    folder = build(tmp_path, varied, "drop=[duplicate]", options="")
    assert sorted(row[KEY] for row in rows_of(folder)) == ['{"effort": "high"}', "{}"]


def test_an_id_with_two_sets_of_variables_is_two_conversations(tmp_path: Path) -> None:
    varied = [{"id": "t", "messages": talk(0), KEY: {"effort": e}} for e in ("a", "b", "a")]
    folder = build(tmp_path, varied, options="")
    rows = rows_of(folder)
    assert sorted(row[KEY] for row in rows) == ['{"effort": "a"}', '{"effort": "b"}']
    assert len({row["id"] for row in rows}) == 2
    assert read_manifest(folder).counts.conversations.dropped == {"duplicate_id": 1}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("{oasst: {variables: {a: b}}}", "records of 'oasst' bring none along"),
        ("{jsonl: {variables: {tools: b}}}", "'tools' is not for variables"),
        ("{jsonl: {variables: [a]}}", "variables"),
    ],
)
def test_variables_in_a_recipe_that_cannot_be(tmp_path: Path, source: str, fault: str) -> None:
    text = RECIPE.format(percent=0, options="", tokenizer="bytes").splitlines()
    lines = [f"source: {source}" if line.startswith("source") else line for line in text]
    (tmp_path / "r.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=fault):
        load_recipe(tmp_path / "r.yaml")


def test_the_shards_hold_text_that_others_parse(folder: Path) -> None:
    table = pl.read_parquet(folder / "messages" / "*.parquet")
    assert table.schema[KEY] == pl.String
    assert table[KEY].null_count() == 0


def test_an_added_rendering_is_written_with_the_variables(tmp_path: Path) -> None:
    folder = build(tmp_path, records({KEY: {"effort": "high"}}, {}), options="")
    louder = TEMPLATE.replace("'<|effort|>' +", "'<|effort|>!' +")
    carried = carry(None, louder, tmp_path / "louder")
    add_rendering(folder, name="loud", tokenizer=str(carried))
    (shard,) = (folder / "tokens-loud").glob("*.parquet")
    rows = sorted(pq.read_table(shard).to_pylist(), key=lambda row: str(row["id"]))
    texts = [bytes(id for id in row["input_ids"] if id < 256).decode() for row in rows]
    assert [text.partition("\n")[0] for text in texts] == ["!high", "!low"]
    verify_folder(folder, everything=True)
