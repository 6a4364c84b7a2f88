"""What `forget` of a recipe names is taken out of rows, tokens and pairs, and of the words of what
was dropped; the ledger and `diff` say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import render_dataset
from chatdata.cli import main
from chatdata.core.errors import BuildError, OutputError, SourceError
from chatdata.dataset import dropped, manifest, manifest_diff, published, reader
from chatdata.pipeline import forget_again, shared_turns
from chatdata.steps import forgetting, ways
from chatdata.verify import dataset_diff
from chatdata.verify.verification import verdicts_on
from tests.support.builds import files, make, rows_of

LISTS = """
name: l
version: 1.0.0
source: {sharegpt: {}}
forget: ids.txt
threads: {join: pieces}
max_dropped: 1
"""
TREES = """
name: t
version: 1.0.0
source: {oasst: {}}
forget: [ids.txt]
render: {tokenizer: bytes}
max_dropped: 1
"""
PAIRS = "threads={policy: all_leaves, pairs: best_worst}"


def piece(id: str, first: int, turns: int) -> dict[str, Any]:
    speakers, name = ("human", "gpt"), id.partition("_")[0]
    places = range(first, first + turns)
    turns_of_file = [{"from": speakers[n % 2], "value": f"{name} says {n}"} for n in places]
    return {"id": id, "conversations": turns_of_file}


PIECES = [piece("a_0", 0, 4), piece("a_4", 4, 2), piece("a_5", 5, 3), piece("b_0", 0, 2)]


def lists(folder: Path, ids: str, name: str, *settings: str, text: str = LISTS) -> Path:
    (folder / "ids.txt").write_text(ids)
    (folder / "talks.json").write_text(json.dumps(PIECES))
    return make(folder, text, folder / "talks.json", name, *settings)


def tree() -> list[dict[str, Any]]:
    """A question with two ranked answers, the first asked on; the last turn is a user's."""
    rows = [("q", None), ("good", "q"), ("bad", "q"), ("more", "good"), ("end", "more")]
    rows += [("oh", "end"), ("p", None), ("hello", "p")]
    return [
        {
            "message_id": id,
            "parent_id": parent,
            "message_tree_id": "p" if id in ("p", "hello") else "q",
            "text": f"text of {id}",
            "role": "prompter" if id in ("q", "more", "oh", "p") else "assistant",
            "lang": "en",
            "rank": {"good": 0, "bad": 1}.get(id),
        }
        for id, parent in rows
    ]


def trees(folder: Path, ids: str, name: str, *settings: str) -> Path:
    (folder / "ids.txt").write_text(ids)
    (folder / "trees.jsonl").write_text("\n".join(map(json.dumps, tree())))
    return make(folder, TREES, folder / "trees.jsonl", name, *settings)


def is_sound(folder: Path) -> bool:
    return not [verdict for verdict in verdicts_on(folder) if verdict.outcome == "failed"]


def ids_of(folder: Path) -> list[str]:
    return sorted(row["id"] for row in rows_of(folder))


@pytest.fixture(scope="module")
def all_lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that forgets nothing that was read."""
    return lists(tmp_path_factory.mktemp("lists"), "none", "all", "render={tokenizer: bytes}")


@pytest.fixture(scope="module")
def all_trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees(tmp_path_factory.mktemp("trees"), "none", "all", PAIRS)


# ------------------------------------------------------------------------------------- of a build


def test_any_name_of_a_joined_conversation_takes_all_of_it_out(
    tmp_path: Path, all_lists: Path
) -> None:
    out = lists(tmp_path, "# asked for in May\n\nsharegpt/a_5\n", "out", 'keep=["sharegpt/a_0"]')
    assert ids_of(out) == ["sharegpt/b_0"]
    outcomes = reader.scan_ledger(out).filter(id="sharegpt/a_0", unit="conversation").collect()
    assert outcomes["reason"].to_list() == ["forgotten"]  # and `keep` does not help
    assert is_sound(out)
    assert dataset_diff.between(all_lists, out).removed_because == {"forgotten": 1}
    assert not [text for text in dropped.scan(out).collect()["content"] if text]
    assert not [name for name, data in files(out).items() if b"a says" in data]


def test_of_a_tree_goes_what_holds_the_message(tmp_path: Path, all_trees: Path) -> None:
    """Also the path that its last turn, a question, had made longer before it was trimmed."""
    out = trees(tmp_path, "oasst1/q/end", "out")
    assert ids_of(out) == ["oasst1/p/hello", "oasst1/q/bad"]
    assert is_sound(out)
    assert dataset_diff.between(all_trees, out).removed_because == {"forgotten": 1}


def test_what_names_nothing_is_counted_and_told_and_in_no_file(tmp_path: Path) -> None:
    lists(tmp_path, "sharegpt/a_0\nsharegpt/zzz\na_0\nb_0\n", "out")
    command = ["build", str(tmp_path / "r.yaml"), "--input", str(tmp_path / "talks.json")]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out"), "--force"])
    assert "4 ids to forget, of which 3 name nothing that was read: sharegpt/zzz" in done.output
    assert done.output.count("which is no whole id") == 1
    assert "forget names 'b_0', which is no whole id, so 'sharegpt/b_0' is not" in done.output
    out = tmp_path / "out"
    assert not [name for name, data in files(out).items() if b"sharegpt/zzz" in data]
    entry = manifest.read(out).forgotten
    assert entry is not None
    assert entry.unknown == 3
    assert entry.files[0].path == "ids.txt"


def test_what_is_forgotten_is_in_no_pair(tmp_path: Path, all_trees: Path) -> None:
    (row,) = rows_of(all_trees, "pairs")
    assert row["chosen"][0]["content"] == "text of good"
    with pytest.raises(BuildError, match="no pair is left"):
        trees(tmp_path, "good", "out", PAIRS)


def test_a_file_of_ids_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# nothing\n")
    with pytest.raises(SourceError, match="holds no id"):
        forgetting.read([(tmp_path / "ids.txt", "ids.txt")])
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="is no text"):
        forgetting.read([(tmp_path / "ids.txt", "ids.txt")])
    with pytest.raises(SourceError, match="there is no file"):
        lists(tmp_path, "", "out", text=LISTS.replace("ids.txt", "no.txt"))


def test_keep_knows_every_id_of_a_joined_piece(tmp_path: Path) -> None:
    text = LISTS.replace("forget: ids.txt\n", "")
    drop = "drop=[{too_many_turns: {above: 4}}]"
    out = lists(tmp_path, "", "out", drop, 'keep=["sharegpt/a_5"]', text=text)
    assert ids_of(out) == ["sharegpt/a_0", "sharegpt/b_0"]
    assert manifest.read(out).kept_by_hand == {"conversations": {"too_many_turns": 1}}


# ------------------------------------------------------------------------- of what is published

OF_TREES = {
    "end": ["oasst1/p/hello", "oasst1/q/bad"],
    "oasst1/q/end": ["oasst1/p/hello", "oasst1/q/bad"],
    "good": ["oasst1/p/hello", "oasst1/q/bad"],
    "bad": ["oasst1/p/hello", "oasst1/q/end"],
    "oasst1/q": ["oasst1/p/hello"],
    "q": ["oasst1/p/hello"],
    "oh": ["oasst1/p/hello", "oasst1/q/bad", "oasst1/q/end"],  # trimmed: no row holds it
}
OF_LISTS = ["sharegpt/a_0", "sharegpt/a_4", "sharegpt/a_5", "sharegpt/a_5#0", "sharegpt/a"]


def left(folder: Path, id: str) -> list[str]:
    """The conversations that are left where a rendering takes out an id, which names something."""
    names, known = forget_again.resolve(folder, [id, "nothing"])
    assert known == {id}
    rows = reader.scan(folder, "messages").drop("split").collect()
    turns = shared_turns.new_turns(reader.scan_ledger(folder))
    messages = shared_turns.named(published.messages(rows), turns)
    no_repeats = pl.DataFrame(schema={"conversation": pl.String, "of": pl.String})
    kept, _ = forget_again.take_out(messages, names, no_repeats)
    return kept["conversation"].unique().sort().to_list()


def test_names_mean_in_a_folder_what_they_mean_in_a_build(all_trees: Path, all_lists: Path) -> None:
    assert {id: left(all_trees, id) for id in OF_TREES} == OF_TREES
    assert {id: left(all_lists, id) for id in OF_LISTS} == {id: ["sharegpt/b_0"] for id in OF_LISTS}


@pytest.mark.slow
def test_a_rendering_forgets_what_a_build_forgets(tmp_path: Path) -> None:
    before = trees(tmp_path, "none", "before")
    built, out = trees(tmp_path, "good", "built"), tmp_path / "again"
    render_dataset(before, out, tokenizer="bytes", forget=[str(tmp_path / "ids.txt")])
    assert ids_of(out) == ids_of(built)
    assert rows_of(out, "tokens") == rows_of(built, "tokens")
    assert dataset_diff.between(before, out).removed_because == {"forgotten": 1}
    assert is_sound(out)
    entry = manifest.read(out).forgotten
    assert entry is not None
    assert (entry.ids, entry.unknown, len(entry.files)) == (2, 1, 2)


@pytest.mark.slow
def test_the_ledger_of_a_list_is_that_of_a_build(tmp_path: Path) -> None:
    text = LISTS.replace(
        "forget: ids.txt\nthreads: {join: pieces}\n", "render: {tokenizer: bytes}\n"
    )
    before, out = lists(tmp_path, "sharegpt/b_0", "before", text=text), tmp_path / "again"
    built = lists(tmp_path, "sharegpt/b_0", "built", text=f"{text}forget: ids.txt\n")
    render_dataset(before, out, tokenizer="bytes", forget=[str(tmp_path / "ids.txt")])
    entries = reader.scan_ledger(built).collect()
    assert reader.scan_ledger(out).collect().equals(entries)
    forgotten_rows = entries.filter(reason="forgotten").to_dicts()
    assert {ways.to_keep(row, {}) for row in forgotten_rows} == {
        "to keep it: take its id out of the file that `forget` names"
    }
    changes = manifest_diff.between(manifest.read(before), manifest.read(built)).dropped
    assert [str(change) for change in changes] == [
        "messages.forgotten: none → 2",
        "conversations.forgotten: none → 1",
    ]


def test_a_rendering_refuses_to_copy_pairs_of_what_goes(tmp_path: Path, all_trees: Path) -> None:
    (tmp_path / "ids.txt").write_text("end")
    ids = [str(tmp_path / "ids.txt")]
    with pytest.raises(OutputError, match="build again from the sources"):
        render_dataset(all_trees, tmp_path / "o", tokenizer="bytes", forget=ids)


def test_pairs_are_refused_also_of_answers_that_are_in_no_conversation(tmp_path: Path) -> None:
    only_best = "threads={policy: best_rank, pairs: best_worst}"
    out = trees(tmp_path, "none", "out", only_best)
    described = manifest.read(out)
    assert ids_of(out) == ["oasst1/p/hello", "oasst1/q/end"]
    for id in ("bad", "oasst1/q/bad", "oasst1/q", "q"):
        with pytest.raises(OutputError, match="has pairs of ranked answers of 'oasst1/q'"):
            forget_again.refuse_pairs(out, described, [id])
    forget_again.refuse_pairs(out, described, ["hello", "oasst1/p", "nothing"])


def test_a_build_over_published_rows_forgets_by_their_ids(tmp_path: Path, all_lists: Path) -> None:
    (tmp_path / "ids.txt").write_text("sharegpt/a_0")
    text = LISTS.replace("sharegpt: {}", "jsonl: {}").replace("threads: {join: pieces}\n", "")
    (shard,) = (all_lists / "messages").glob("train-*")
    assert ids_of(make(tmp_path, text, shard, "again")) == ["sharegpt/b_0"]
