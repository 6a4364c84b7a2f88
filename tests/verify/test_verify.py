"""Verification: a sound folder passes, and each way to damage one is named by the check for it."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core import config
from chatdata.core.errors import ChatdataError, OutputError, VerifyError
from chatdata.core.hashing import sha256_file, sha256_json
from chatdata.dataset import card, croissant, manifest, pack, report
from chatdata.dataset.shards import PARQUET
from chatdata.render import certificate
from chatdata.render.parity import ParityCounts
from chatdata.render.rows import Rendered
from chatdata.verify import rebuild, recount
from chatdata.verify.dataset_diff import between
from chatdata.verify.verification import unknown_files, verdicts_on, verify_folder
from tests.support.builds import TALKS, TREES, make, talk_file, tree_file
from tests.support.carrying import carry

TRAIN, TEST = "messages/train-00000-of-00001.parquet", "messages/test-00000-of-00001.parquet"
TOKENS = "tokens/train-00000-of-00001.parquet"
LEDGER = "ledger/ledger-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with packs."""
    out = tmp_path_factory.mktemp("verify") / "sample"
    build_dataset(load_recipe("sample", ["pack={max_tokens: 2048}"]), out)
    return out


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(built, tmp_path / "sample"))


def failed(folder: Path, **options: Any) -> dict[str, str]:
    """The checks that fail, and the first problem of each."""
    return {
        verdict.check: verdict.problems[0]
        for verdict in verdicts_on(folder, **options)
        if verdict.outcome == "failed"
    }


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    facts = json.loads((folder / "manifest.json").read_text())
    change(facts)
    (folder / "manifest.json").write_text(json.dumps(facts))


def sign(folder: Path) -> None:
    """Makes the manifest name the files as they are: their hashes, and the rows of shards."""

    def change(facts: dict[str, Any]) -> None:
        for file in [*facts["files"], *facts["extras"], *facts["packs"]]:
            file["sha256"] = sha256_file(folder / file["path"])
        for file in facts["files"]:
            file["rows"] = pq.read_metadata(folder / file["path"]).num_rows

        (folder / "croissant.json").write_text(croissant.text(manifest.parsed(facts)))

    edit(folder, change)


def forge(folder: Path) -> None:
    """Makes the manifest, and the card, agree with all that can be counted and hashed."""
    sign(folder)

    def change(facts: dict[str, Any]) -> None:
        counted = recount.count(folder, manifest.parsed(facts))
        facts["splits"] = counted.splits
        facts["languages"] = dict(counted.languages)
        facts["lengths"] = {name: sizes.as_json() for name, sizes in counted.lengths().items()}
        facts["content_hash"] = counted.content_hash()
        for key in ("token_rows", "tokens", "trained_tokens"):
            facts["render"][key] = sum(split[key] for split in counted.splits.values())
        for name, text in card.pages(manifest.parsed(facts)).items():
            (folder / name).write_text(text)

    edit(folder, change)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(pq.read_table(path))
    pq.write_table(table, path, **PARQUET)


def put(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(
        place, table.schema.field(name), pa.array(values, table.schema.types[place])
    )


# --------------------------------------------------------------------------------- what is sound


@pytest.mark.slow
def test_a_build_is_sound(built: Path) -> None:
    verdicts = verify_folder(built, everything=True)
    assert {verdict.outcome for verdict in verdicts} == {"ok"}
    assert {verdict.check for verdict in verdicts} >= {"hashes", "ledger", "packs", "certificate"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ("talks", ["render.overflow=split", "render.max_tokens=250", "render.carry_tokens=60"]),
        ("trees", ["render.overflow=split", "render.max_tokens=90", "render.template=dialogue"]),
        ("trees", ["render.train_on=last_assistant", "threads.train_once=true"]),
        ("talks", ["render.template=dialogue", "render.train_on=assistant_with_header"]),
        ("talks", ["render.train_on=all", "split=null"]),
        ("trees", ["render=null", "split.test_percent=100"]),
    ],
)
def test_every_kind_of_build_is_sound(tmp_path: Path, source: str, settings: list[str]) -> None:
    text, data = (TREES, tree_file(tmp_path)) if source == "trees" else (TALKS, talk_file(tmp_path))
    assert failed(make(tmp_path, text, data, "out", *settings), everything=True) == {}


@pytest.mark.slow
def test_messages_that_are_not_to_be_learnt_are_taken_from_the_labels(tmp_path: Path) -> None:
    turns = [
        {"role": role, "content": f"{role} {turn}", "train": turn != 1}
        for turn, role in enumerate(["user", "assistant"] * 3)
    ]
    rows = [{"id": f"x{number}", "messages": turns} for number in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    text = TALKS.replace("sharegpt", "jsonl").replace(", duplicate", "")
    assert failed(make(tmp_path, text, tmp_path / "a.jsonl", "out"), everything=True) == {}


@pytest.mark.slow
@pytest.mark.slow
def test_a_question_behind_the_only_answer_is_part_of_its_row(tmp_path: Path) -> None:
    turns = [("user", "What?"), ("assistant", "That."), ("user", "And then?")]
    record = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    text = "name: n\nversion: 1.0.0\nsource: {jsonl: {}}\nrender: {tokenizer: bytes}\n"
    out = make(tmp_path, text, tmp_path / "a.jsonl", "out", "threads.end=any")
    assert failed(out, everything=True) == {}


def test_unknown_files_beside_a_dataset_are_listed_and_pass(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "report.html").write_text("made by chatdata report")
    assert failed(folder) == {}
    assert unknown_files(folder) == ["notes.txt"]


# --------------------------------------------------------------------------------- the manifest


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("languages"),
        lambda facts: facts["files"][0].update(path="../elsewhere"),
        lambda facts: facts["files"][0].update(path="/etc/passwd"),
        lambda facts: facts["extras"][0].update(path="a/../../b"),
        lambda facts: facts["files"][0].update(rows=-1),
        lambda facts: facts["files"][0].update(rows="22"),
        lambda facts: facts["files"][0].update(sha256="short"),
        lambda facts: facts.update(splits=[]),
        lambda facts: facts.update(content_hash=5),
        lambda facts: facts["counts"]["messages"].update(read=1),
        lambda facts: facts["counts"].pop("records"),
        lambda facts: facts["counts"]["conversations"].update(kept=1, read=12),
        lambda facts: facts["render"].update(tokens=1),
        lambda facts: facts["render"].update(certificate={}),
        lambda facts: facts["render"].update(template=None),
        lambda facts: facts["lengths"]["turns"].pop("steps"),
    ],
)
def test_an_incomplete_manifest_fails_the_first_check(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, change)
    verdicts = verdicts_on(folder)
    assert [verdict.check for verdict in verdicts if verdict.outcome == "failed"] == ["manifest"]
    assert {verdict.outcome for verdict in verdicts[1:]} == {"skipped"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"format": 7}'])
def test_a_manifest_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match="build the folder again"):
        verify_folder(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "check"),
    [
        (("content_hash",), "content"),
        (("languages", "en"), "rows"),
        (("splits", "train", "bytes"), "pages"),
        (("splits", "test", "messages"), "rows"),
        (("lengths", "tokens", "p90"), "rows"),
        (("counts", "messages", "dropped", "deleted"), "ledger"),
        (("leakage", "groups_in_both"), "splits"),
        (("render", "certificate", "probes", "compared"), "certificate"),
        (("render", "template", "jinja"), "certificate"),
        (("render", "tokenizer", "sha256"), "certificate"),
        (("packs", 0, "bins"), "columns"),
        (("packs", 0, "tokens"), "packs"),
        (("render", "certificate", "sample", "forged"), "certificate"),
        (("render", "tokenizer", "control_ids", "<|end|>"), "certificate"),
        (("render", "train_on"), "recipe"),
        (("name",), "recipe"),
    ],
)
def test_a_changed_value_of_the_manifest_fails_the_check_for_it(
    folder: Path, key: tuple[Any, ...], check: str
) -> None:
    def change(facts: dict[str, Any]) -> None:
        *parents, last = key
        values = facts
        for parent in parents:
            values = values[parent]
        old = values[last]
        values[last] = (
            old + 1 if isinstance(old, int) else old[:-1] + "0" * (old[-1:] != "0") or "1"
        )
        if key[0] == "counts":
            facts["counts"]["messages"]["read"] += 1

    edit(folder, change)
    assert list(failed(folder)) == [check]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "number"),
    [
        *[(key, 5) for key in ("compared", "rows", "quoting", "answers", "prompts", "of mine")],
        ("compared", 0),
        ("of mine", 2**70),
    ],
)
def test_changed_counts_of_the_sample_are_caught(folder: Path, key: str, number: int) -> None:
    edit(folder, lambda facts: facts["render"]["certificate"]["sample"].update({key: number}))
    problem = failed(folder, everything=True)["certificate"]
    assert problem.startswith(f"the certificate's sample says that {key} is {number}, but rend")


@pytest.mark.slow
def test_counts_are_not_compared_with_a_certificate_of_another_version(folder: Path) -> None:
    """It looked at other things; rows and template are proved anew all the same."""

    def change(facts: dict[str, Any]) -> None:
        facts["versions"]["chatdata"] = "0.0.9"
        for part in ("probes", "sample"):
            facts["render"]["certificate"][part].pop("texts_altered")

    edit(folder, change)
    assert failed(folder, everything=True) == {}


@pytest.mark.slow
def test_the_sample_of_the_certificate_is_drawn_again(tmp_path: Path) -> None:
    """It is of 128 rows or so, and other rows have other counts."""
    turns = [{"role": role, "content": "hi"} for role in ("user", "assistant")]
    rows = [{"id": f"x{number}", "messages": turns * (number % 3 + 1)} for number in range(600)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    text = TALKS.replace("sharegpt", "jsonl").replace(", duplicate", "")
    out = make(tmp_path, text, tmp_path / "a.jsonl", "out")
    sample = manifest.read(out)["render"]["certificate"]["sample"]
    assert 90 < sample["rows"] < 170
    assert failed(out, everything=True) == {}
    edit(out, lambda facts: facts["render"]["certificate"]["sample"].update(answers=1))
    assert (
        f"but rendered again it is {sample['answers']}"
        in failed(out, everything=True)["certificate"]
    )
    assert failed(out) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"name": "magic"}, "library is 'magic', which is not among the manifest's versions"),
        ({"name": "tokenizers 0.0.1"}, "which is not among the manifest's versions"),
        ({"name": "fastokens 0.1.0"}, "which is not among the manifest's versions"),
        ({}, "library is 'None'"),
        ({"name": "magic", "audit": {"differences": 0}}, "'magic', which no build uses"),
        ({"name": "fastokens 1", "audit": {"differences": 1}}, "differs from tokenizers"),
        ({"name": "fastokens 1", "audit": 7}, "differs from tokenizers, or was not audited"),
    ],
)
def test_a_library_that_cannot_have_made_the_ids_is_named(
    folder: Path, engine: dict[str, Any], words: str
) -> None:
    edit(folder, lambda facts: facts["render"]["certificate"].update(engine=engine))
    assert words in failed(folder)["certificate"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the places in a JSON value, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_randomly_edited_manifest_never_ends_in_a_traceback(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    whole = manifest.read(folder).as_json()
    values = [None, -1, 2**70, 1.5, True, "", "../x", "a\nb\u202e", [], [1], {}, {"a": 1}]
    for place in draw.sample(list(places(whole)), 15):
        facts = copy.deepcopy(whole)
        *parents, last = place
        inner = functools.reduce(lambda values, key: values[key], parents, facts)
        inner[last] = draw.choice(values)
        (folder / "manifest.json").write_text(json.dumps(facts))
        for look in (verdicts_on, report.page, lambda folder: between(folder, folder)):
            with contextlib.suppress(ChatdataError):
                look(folder)


# ------------------------------------------------------------------------------------ the bytes


@pytest.mark.slow
def test_one_changed_byte_of_any_file_is_noticed(built: Path, tmp_path: Path) -> None:
    facts = manifest.read(built)
    names = [file["path"] for file in [*facts["files"], *facts["extras"], *facts["packs"]]]
    folder = Path(shutil.copytree(built, tmp_path / "sample"))
    for name in names:
        content = bytearray((built / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        assert failed(folder)["hashes"].startswith(f"{name}: its SHA-256 is"), name
        shutil.copy(built / name, folder / name)
    assert failed(folder) == {}


def test_a_listed_file_that_no_dataset_has_is_a_failure(folder: Path) -> None:
    (folder / "conftest.py").write_text("")
    path = folder / "manifest.json"
    facts = json.loads(path.read_text())
    facts["extras"].append({"path": "conftest.py", "sha256": hashlib.sha256(b"").hexdigest()})
    path.write_text(json.dumps(facts))
    assert failed(folder)["files"] == "conftest.py: is no part of a dataset"


def test_files_that_are_missing_or_too_many(folder: Path) -> None:
    (folder / TRAIN).rename(folder / "messages" / "train-00001-of-00002.parquet")
    (folder / "README.md").unlink()
    verdict = next(verdict for verdict in verdicts_on(folder) if verdict.check == "files")
    assert verdict.problems == [
        f"{TRAIN}: is not there",
        "README.md: is not there",
        "messages/train-00001-of-00002.parquet: is not in the manifest, but would be read as part "
        "of the dataset",
    ]


def test_two_files_that_were_swapped(folder: Path) -> None:
    (folder / TRAIN).rename(folder / "x")
    (folder / TEST).rename(folder / TRAIN)
    (folder / "x").rename(folder / TEST)
    assert TRAIN in failed(folder)["hashes"]
    sign(folder)
    assert "has no row of tokens before row" in failed(folder)["rows"]


def test_a_changed_recipe_is_caught(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_dropped: 0.6", "max_dropped: 0.7"))
    sign(folder)
    assert "is not the recipe of the manifest" in failed(folder)["recipe"]
    edit(folder, lambda facts: facts["recipe"].update(max_dropped=0.7))
    assert "recipe_hash" in failed(folder)["recipe"]


def test_a_changed_croissant_file_is_caught(folder: Path) -> None:
    page = folder / "croissant.json"
    page.write_text(page.read_text().replace('"sha256": "', '"sha256": "0', 1))
    assert failed(folder)["pages"] == "croissant.json: its files are not those of the manifest"
    for text in ("", "{", "[]", '{"distribution": [1]}'):
        page.write_text(text)
        assert "pages" in failed(folder), text


@pytest.mark.slow
def test_a_card_with_changed_metadata_is_caught(folder: Path) -> None:
    page = folder / "README.md"
    text = page.read_text()
    page.write_text(text + "\nMy own words.\n")
    assert failed(folder) == {}
    page.write_text(text.replace("num_examples: 22", "num_examples: 21"))
    assert "dataset_info" in failed(folder)["pages"]
    page.write_text("no yaml at all")
    assert "configs" in failed(folder)["pages"]
    page.write_text("---\n{\n---\n")
    assert "not valid YAML" in failed(folder)["pages"]


# ------------------------------------------------------------------------------------- the rows


def drop_last(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def first_text(table: pa.Table) -> pa.Table:
    rows = table["messages"].to_pylist()
    rows[0][0]["content"] += "!"
    return put(table, "messages", rows)


def no_role(table: pa.Table) -> pa.Table:
    rows = table["messages"].to_pylist()
    rows[0][0]["role"] = "robot"
    return put(table, "messages", rows)


def reverse(table: pa.Table) -> pa.Table:
    return table.take(list(range(table.num_rows))[::-1])


def first_ids(change: Callable[[list[int]], list[int]]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        ids = table["input_ids"].to_pylist()
        ids[0] = change(ids[0])
        return put(table, "input_ids", ids)

    return changed


def labels(change: Callable[[list[int]], list[int]]) -> Callable[[pa.Table], pa.Table]:
    """Changes the labels of the first row, and what counts them."""

    def changed(table: pa.Table) -> pa.Table:
        rows = table["labels"].to_pylist()
        rows[0] = change(rows[0])
        trained = [sum(label != -100 for label in row) for row in rows]
        return put(put(table, "labels", rows), "trained", trained)

    return changed


def half_an_answer(row: list[int]) -> list[int]:
    place = next(i for i, label in enumerate(row) if label != -100)
    return [-100 if i == place else label for i, label in enumerate(row)]


def unseen(table: pa.Table) -> pa.Table:
    """The first token of the first row is not attended to."""
    masks = table["attention_mask"].to_pylist()
    masks[0][0] = 0
    return put(table, "attention_mask", masks)


def ledger_reason(table: pa.Table) -> pa.Table:
    reasons = table["reason"].to_pylist()
    reasons[reasons.index("deleted")] = "synthetic"
    return put(table, "reason", reasons)


def ledger_id(table: pa.Table) -> pa.Table:
    kept = pc.and_(pc.equal(table["unit"], "conversation"), pc.equal(table["outcome"], "kept"))
    place = kept.to_pylist().index(True)
    return put(
        table,
        "id",
        [f"{id}?" if i == place else id for i, id in enumerate(table["id"].to_pylist())],
    )


def ledger_unit(table: pa.Table) -> pa.Table:
    return put(table, "unit", ["robot", *table["unit"].to_pylist()[1:]])


def no_group(table: pa.Table) -> pa.Table:
    return put(table, "group", [None, *table["group"].to_pylist()[1:]])


def no_id(table: pa.Table) -> pa.Table:
    return put(table, "id", [None, *table["id"].to_pylist()[1:]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        (TRAIN, no_group, "rows"),
        (TRAIN, no_id, "rows"),
        (TOKENS, no_id, "rows"),
        (TRAIN, lambda table: table.drop(["lang"]), "columns"),
        (TRAIN, drop_last, "rows"),
        (TOKENS, drop_last, "rows"),
        (TOKENS, reverse, "rows"),
        (TRAIN, no_role, "rows"),
        (TOKENS, first_ids(lambda ids: ids[:-1]), "rows"),
        (TOKENS, first_ids(lambda ids: [*ids[:-1], -1]), "rows"),
        (TOKENS, labels(lambda row: [7] * len(row)), "rows"),
        (TOKENS, labels(lambda row: [-100] * len(row)), "rows"),
        (LEDGER, drop_last, "ledger"),
        (LEDGER, ledger_reason, "ledger"),
        (LEDGER, ledger_id, "ledger"),
        (LEDGER, ledger_unit, "ledger"),
        (TRAIN, first_text, "rows"),
    ],
)
def test_damaged_rows_fail_the_check_for_them(
    folder: Path, name: str, change: Callable[[pa.Table], pa.Table], check: str
) -> None:
    rewrite(folder / name, change)
    assert list(failed(folder)) == ["hashes"]
    sign(folder)
    assert check in failed(folder)


def test_a_token_that_is_not_attended_to_is_caught(folder: Path) -> None:
    rewrite(folder / TOKENS, unseen)
    forge(folder)
    row = pq.read_table(folder / TOKENS)["id"][0].as_py()
    problem = f"row '{row}': a token is not attended to"
    assert failed(folder, everything=True) == {"rows": problem}


def test_a_folder_that_was_emptied_with_care_is_caught(folder: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        for file in (*facts["files"], *facts["packs"]):
            if not file["path"].startswith("ledger"):
                (folder / file["path"]).unlink()
        facts["files"] = [file for file in facts["files"] if file["path"].startswith("ledger")]
        facts["packs"] = []
        for split in facts["splits"].values():
            split |= dict.fromkeys(split, 0)
        facts["render"] |= dict.fromkeys(("token_rows", "tokens", "trained_tokens"), 0)
        count = facts["counts"]["conversations"]
        count["dropped"]["empty"] += count.pop("kept")
        count["kept"] = 0
        for name, text in card.pages(manifest.parsed(facts)).items():
            (folder / name).write_text(text)

    edit(folder, change)
    assert "rows by language" in failed(folder)["rows"]


def test_a_row_that_is_longer_than_it_may_be_is_caught(folder: Path) -> None:
    facts = json.loads((folder / "manifest.json").read_text())
    facts["recipe"]["render"]["max_tokens"] = facts["render"]["max_tokens"] = 600
    facts["recipe_hash"] = sha256_json(facts["recipe"])
    (folder / "recipe.yaml").write_text(config.dump_yaml(facts["recipe"]))
    (folder / "manifest.json").write_text(json.dumps(facts))
    sign(folder)
    assert failed(folder) == {"rows": "a row has 677 tokens, more than max_tokens, which is 600"}


def test_a_changed_text_fails_content_hash_and_certificate(folder: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        rows = table["messages"].to_pylist()
        rows[0][0]["content"] = rows[0][0]["content"].swapcase()
        return put(table, "messages", rows)

    rewrite(folder / TRAIN, change)
    sign(folder)
    assert list(failed(folder, everything=True)) == ["content", "certificate"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (TRAIN, first_text, "its ids are not what the template makes of its messages"),
        (TOKENS, first_ids(lambda ids: [ids[0], ids[1] + 1, *ids[2:]]), "its ids are not what"),
        (TOKENS, labels(half_an_answer), "its labels are not those of whole answers"),
    ],
)
def test_a_forger_who_signs_everything_is_caught_by_the_template(
    folder: Path, name: str, change: Callable[[pa.Table], pa.Table], words: str
) -> None:
    rewrite(folder / name, change)
    forge(folder)
    assert words in failed(folder, everything=True)["certificate"]


@pytest.mark.slow
def test_a_user_turn_that_is_trained_is_caught(folder: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        rows, ids = table["labels"].to_pylist(), table["input_ids"].to_pylist()
        rows[0] = [ids[0][2] if i == 2 else label for i, label in enumerate(rows[0])]
        trained = [sum(label != -100 for label in row) for row in rows]
        return put(put(table, "labels", rows), "trained", trained)

    rewrite(folder / TOKENS, change)
    forge(folder)
    assert (
        "its labels are not those of whole answers"
        in failed(folder, everything=True)["certificate"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 22])
def test_every_row_that_is_wrong_is_named_or_counted(folder: Path, number: int) -> None:
    def other_ids(table: pa.Table) -> pa.Table:
        rows = table["input_ids"].to_pylist()
        wrong = [[row[0], row[1] + 1, *row[2:]] for row in rows[:number]]
        return put(table, "input_ids", wrong + rows[number:])

    rewrite(folder / TOKENS, other_ids)
    forge(folder)
    verdict = next(verdict for verdict in verdicts_on(folder) if verdict.check == "certificate")
    names = pq.read_table(folder / TOKENS)["id"].to_pylist()[: min(number, 20)]
    wrong = "its ids are not what the template makes of its messages"
    more = ["and 2 more"] if number == 22 else []
    assert verdict.problems == [f"row '{name}': {wrong}" for name in names] + more


@pytest.mark.slow
def test_every_row_that_the_template_cannot_write_is_named(folder: Path) -> None:
    """The other rows are looked at all the same."""

    def tools(table: pa.Table) -> pa.Table:
        rows = table["messages"].to_pylist()
        for row in rows[:2]:  # a result of a tool, with a character that hides control tokens
            row[0] |= {"role": "tool", "content": "\U000f0000"}
        rows[2][0]["content"] += "!"
        return put(table, "messages", rows)

    rewrite(folder / TRAIN, tools)
    forge(folder)
    verdict = next(verdict for verdict in verdicts_on(folder) if verdict.check == "certificate")
    names = pq.read_table(folder / TOKENS)["id"].to_pylist()
    refused = "the template cannot write its messages: its content holds characters for private use"
    assert verdict.problems == [
        f"row '{names[0]}': {refused} (U+F0000 ff.)",
        f"row '{names[1]}': {refused} (U+F0000 ff.)",
        f"row '{names[2]}': its ids are not what the template makes of its messages",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("everything", [True, False])
def test_what_the_certificate_finds_in_rows_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    """With `everything` the rows are of the certificate's sample, without they are not."""
    examine = certificate.compare_rows

    def finding(rendered: Rendered, *options: Any) -> ParityCounts:
        findings = examine(rendered, *options)
        is_probe = ":" not in rendered.ids[0]
        findings.first_failure = "" if is_probe or not findings.rows else "content forges <|end|>"
        return findings

    monkeypatch.setattr(certificate, "compare_rows", finding)
    assert failed(folder, everything=everything) == {"certificate": "content forges <|end|>"}


@pytest.mark.slow
def test_context_that_is_trained_again_is_caught(tmp_path: Path) -> None:
    """An answer that a split conversation carries as context, learnt a second time."""
    options = ["render.overflow=split", "render.max_tokens=250", "pack={max_tokens: 250}"]
    options += ["render.carry_tokens=120", "split=null"]
    folder = make(tmp_path, TALKS, talk_file(tmp_path), "out", *options)
    tokens = manifest.read(folder)["render"]["tokenizer"]["control_ids"]
    head, stop = [tokens["<|im_start|>"], *b"assistant\n"], tokens["<|im_end|>"]
    taught: list[str] = []

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            ids = row["input_ids"]
            starts = [i for i in range(len(ids)) if ids[i : i + len(head)] == head]
            start = starts[0] + len(head)
            if not taught and row["labels"][start] == -100:
                end = ids.index(stop, start) + 1
                row["labels"][start:end] = ids[start:end]
                row["trained"] += end - start
                taught.append(row["id"])
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(folder / TOKENS, change)
    assert "#" in taught[0]
    forge(folder)
    problem = f"row '{taught[0]}': its labels are not those of whole answers"
    assert failed(folder, everything=True) == {"certificate": problem}


def test_a_row_that_moved_to_the_other_split_is_caught(folder: Path) -> None:
    for kind in ("messages", "tokens"):
        train, test = (
            folder / kind / f"{name}-00000-of-00001.parquet" for name in ("train", "test")
        )
        moved = pq.read_table(train).slice(0, 1)
        rewrite(train, lambda table: table.slice(1))
        rewrite(test, lambda table, moved=moved: pa.concat_tables([moved, table]))
    forge(folder)
    assert "but its hash is of the other split" in failed(folder)["splits"]


def test_an_index_of_packs_that_is_wrong_is_caught(folder: Path) -> None:
    entry = manifest.read(folder)["packs"][0]
    path = folder / entry["path"]
    bins = pack.read_index(path, entry["max_tokens"])
    for rows, tokens, words in (
        ([0] * len(bins.rows), bins.tokens, "not every row is in it once"),
        (bins.rows, bins.tokens + 1, "the tokens of its bins are not those of their rows"),
    ):
        wrong = pack.Bins(pa.array(rows).to_numpy(), bins.offsets, tokens, bins.max_tokens)
        pq.write_table(pack.index_table(wrong), path, **PARQUET)
        sign(folder)
        assert words in failed(folder)["packs"]
    pq.write_table(pack.index_table(bins), path, **PARQUET)
    sign(folder)
    edit(folder, lambda facts: facts["packs"][0].update(max_tokens=700))
    assert "a bin holds more than 700 tokens" in failed(folder)["packs"]


def test_a_shard_that_another_library_wrote_is_named(folder: Path) -> None:
    pl.read_parquet(folder / TRAIN).write_parquet(folder / TRAIN)  # large strings
    sign(folder)
    assert failed(folder) == {"columns": f"{TRAIN}: does not have the columns of messages"}


def test_a_shard_that_is_no_parquet_is_named(folder: Path) -> None:
    (folder / TRAIN).write_bytes(b"nothing")
    digest = sha256_file(folder / TRAIN)
    edit(folder, lambda facts: facts["files"][0].update(sha256=digest))
    assert TRAIN in failed(folder)["columns"]


def test_another_tokenizer_in_the_folder_is_caught(folder: Path) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(tokenizer))
    sign(folder)
    assert "its ids are not what the template makes" in failed(folder)["certificate"]


# ----------------------------------------------------------------------------- built again


@pytest.mark.slow
def test_a_rebuild_has_the_same_bytes(folder: Path) -> None:
    pack.repack(folder, 900)
    with (folder / "README.md").open("a") as page:
        page.write("\nWords of mine.\n")
    assert rebuild.problems(folder) == []


@pytest.mark.slow
def test_a_rebuild_says_what_differs_and_why(folder: Path) -> None:
    (folder / "plots" / "turns.png").unlink()
    edit(folder, lambda facts: facts["versions"].update(polars="2.0.0"))
    problems = rebuild.problems(folder)
    assert problems[0] == "manifest.json: a new build writes another versions.polars"
    assert problems[1].startswith("version of polars: 2.0.0 → ")
    assert problems[2:] == ["plots/turns.png: the file is missing, and a new build writes it"]


@pytest.mark.slow
def test_a_rebuild_needs_the_local_files_and_compares_them(tmp_path: Path) -> None:
    out = make(tmp_path, TALKS, talk_file(tmp_path), "out")
    assert rebuild.problems(out, inputs=[str(tmp_path / "talks.json")]) == []
    (tmp_path / "talks.json").write_text((tmp_path / "talks.json").read_text() + " ")
    problems = rebuild.problems(out, inputs=[str(tmp_path / "talks.json")])
    assert problems[0] == "manifest.json: a new build writes another sources, files"
    assert problems[1].startswith("source sharegpt/talks.json: ")


def test_a_resolved_recipe_with_a_date_is_a_recipe(tmp_path: Path) -> None:
    text = TALKS.replace("template: chatml", "template: tokenizer, date: 2026-01-31")
    (tmp_path / "r.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "r.yaml")
    (tmp_path / "again.yaml").write_text(json.dumps(recipe.resolved()))
    assert load_recipe(tmp_path / "again.yaml").hash() == recipe.hash()


def test_a_folder_whose_template_was_given_an_end_is_sound(tmp_path: Path) -> None:
    endless = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] }}"
        "{% if not loop.last or m['role'] == 'user' %}{{ '<|im_end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    carried = carry(None, endless, tmp_path / "endless")
    options = f"tokenizer: {carried}, template: tokenizer, add_end: true"
    text = TALKS.replace("tokenizer: bytes, template: chatml", options)
    out = make(tmp_path, text, talk_file(tmp_path), "out")
    assert [verdict for verdict in verdicts_on(out, everything=True) if verdict.problems] == []


# ------------------------------------------------------------------------------- the command


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_the_command_prints_a_line_a_check_and_ends_with_1_after_a_failure(folder: Path) -> None:
    sound = run("verify", folder, "--full", "--rebuild")
    assert sound.exit_code == 0
    lines = sound.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert len(lines) == len(verdicts_on(folder)) + 1
    (folder / TRAIN).write_bytes(b"x")
    damaged = run("verify", folder)
    assert damaged.exit_code == 1
    assert f"failed  hashes      {TRAIN}: its SHA-256 is" in damaged.stdout
    assert "skipped rows" in damaged.stdout
    assert damaged.stderr.startswith(f"Error: '{folder}' fails its verification: {TRAIN}")
    assert damaged.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_rebuild_that_fails_is_a_verdict(tmp_path: Path) -> None:
    out = make(tmp_path, TALKS, talk_file(tmp_path), "out")
    done = run("verify", out, "--rebuild")
    assert done.exit_code == 1
    assert "failed  rebuild     source 'sharegpt' names no files" in done.stdout


def test_options_of_a_rebuild_need_rebuild(folder: Path) -> None:
    done = run("verify", folder, "--input", "x.json")
    assert done.exit_code == 2
    assert "need --rebuild" in done.stderr


def test_the_command_prints_json(folder: Path) -> None:
    (folder / TRAIN).unlink()
    done = run("verify", folder, "--json")
    assert done.exit_code == 1
    verdicts = {verdict["check"]: verdict for verdict in json.loads(done.stdout)}
    assert verdicts["manifest"]["outcome"] == "ok"
    assert verdicts["files"]["problems"] == [f"{TRAIN}: is not there"]
    assert verdicts["rows"]["outcome"] == "skipped"


def test_verify_folder_raises_with_the_file_that_is_missing(folder: Path) -> None:
    (folder / TRAIN).unlink()
    with pytest.raises(VerifyError, match=f"fails its verification: {TRAIN}: is not there"):
        verify_folder(folder)
