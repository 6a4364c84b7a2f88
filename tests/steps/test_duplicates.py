"""Repeats in whole builds: equal ones, beginnings, alike ones; a cluster is in one split."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.dataset import manifest, reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import prepare
from chatdata.steps import corpus_filters, duplicates
from chatdata.steps.filtering import Drop, add_columns
from chatdata.steps.filters import FILTERS
from chatdata.steps.split import split_of
from tests.support.conversations import table

TURNS = st.lists(st.sampled_from(["a", "b", "a  b", "ab"]), min_size=1, max_size=4)


def begun(talks: dict[str, list[str]], trees: dict[str, str]) -> dict[str, str]:
    """The conversations that another one begins with, and that one."""
    rows = table({id: [("user", text) for text in texts] for id, texts in talks.items()})
    rows = rows.sample(fraction=1, shuffle=True, seed=len(talks)).sort("position")
    prefix = FILTERS["prefix_of_another"]
    rows, _ = add_columns(rows, [Drop(prefix, {}, "drop")], Path())
    keyed = duplicates.with_prefixes(rows, prefix.expression(), True)
    keyed = keyed.with_columns(origin=pl.col("conversation").replace_strict(trees))
    prefixes = keyed.select("conversation", digest="prefixes").explode("digest")
    repeated = duplicates.begun(keyed, prefixes.drop_nulls())
    return dict(repeated.select("conversation", "of").iter_rows())


@settings(max_examples=60, derandomize=True)
@given(st.lists(TURNS, min_size=1, max_size=9), st.integers(1, 9))
def test_beginnings_are_those_of_all_pairs(texts: list[list[str]], trees: int) -> None:
    talks = {f"c{number}": each for number, each in enumerate(texts)}
    tree = {id: f"t{int(id[1:]) % trees}" for id in talks}
    folded = {id: [" ".join(text.split()) for text in each] for id, each in talks.items()}
    expected = {}
    for id, each in folded.items():
        longer = [
            (-len(more), of)
            for of, more in folded.items()
            if len(more) > len(each) and more[: len(each)] == each and tree[of] != tree[id]
        ]
        if longer:
            expected[id] = min(longer)[1]
    assert begun(talks, tree) == expected


def test_turns_are_not_run_together() -> None:
    trees = {"c1": "t1", "c2": "t2"}
    assert begun({"c1": ["a", "b"], "c2": ["ab", "c", "d"]}, trees) == {}
    assert begun({"c1": ["a", "b"], "c2": ["a\tb", "b", "d"]}, trees) == {}
    assert begun({"c1": ["a", "b"], "c2": ["a", " b\n", "d"]}, trees) == {"c1": "c2"}


@settings(max_examples=40, derandomize=True)
@given(st.text(st.sampled_from("a \n\t\r\u00a0\u2028b"), max_size=12))
def test_white_space_is_folded(text: str) -> None:
    folded = pl.select(corpus_filters._folded(pl.lit(text))).item()
    assert folded == " ".join(text.split())


def test_groups_that_clusters_connect_share_a_home() -> None:
    first = pl.DataFrame({"group": ["a", "b", "c", "d"], "cluster": [1, 1, 2, 2]})
    second = pl.DataFrame({"group": ["b", "c", "e", "f"], "cluster": [1, 1, 7, 7]})
    left = pl.DataFrame({"group": list("bcdefz")})
    assert duplicates.homes([first, second], left).rows() == [("c", "b"), ("d", "b"), ("f", "e")]
    assert duplicates.homes([], left).is_empty()


def test_a_cluster_of_half_of_the_groups_is_trained() -> None:
    """Shown to fail where such a cluster goes where its smallest group goes."""
    for draw in range(20):
        groups = [f"{draw}-{number:03d}" for number in range(40)]
        left = pl.DataFrame({"group": groups})
        cluster = pl.DataFrame({"group": groups[:20], "cluster": [1] * 20})
        (home,) = duplicates.homes([cluster], left)["home"].unique()
        assert home in groups[:20]
        assert split_of(pl.Series([home]), 50).item() == "train"


# -------------------------------------------------------------------------------- whole builds

RECIPE = """
name: n
version: 1.0.0
source: {jsonl: {}}
drop: [duplicate, {near_duplicate: {threshold: 0.6, ngram: 2}}, duplicate_prompt]
split: {test_percent: 50}
max_dropped: 1.0
"""


def talk(id: str, question: str, answer: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": id, "messages": messages, **more}


def talks() -> list[dict[str, Any]]:
    """Equal ones, near ones, and ones that only begin alike."""
    draw = random.Random(0)
    rows = []
    for number in range(60):
        question = f"How does {number} go with {draw.choice('abc')} and {draw.choice('defg')}?"
        answer = " ".join(draw.choices("abcdefghijklmnop", k=25))
        rows.append(talk(f"t{number:02d}", question, answer, group=f"g{number % 40}"))
        if number % 5 == 0:
            rows.append(talk(f"e{number:02d}", f"  {question}\n", answer))
        if number % 4 == 0:
            rows.append(talk(f"n{number:02d}", question, f"{answer[:-1]} and more"))
        if number % 3 == 0:
            rows.append(talk(f"p{number:02d}", question, answer[::-1]))
    return rows


def make(
    folder: Path, rows: list[dict[str, Any]], name: str, *settings: str, **options: Any
) -> Path:
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "r.yaml").write_text(RECIPE)
    recipe = load_recipe(folder / "r.yaml", settings)
    options = {"inputs": [str(folder / "in.jsonl")], "force": True, **options}
    build_dataset(recipe, folder / name, **options)
    return folder / name


def facts_of(folder: Path) -> Manifest:
    return manifest.read(folder)


def reasons(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """For each conversation its reason and detail."""
    ledger = reader.scan_ledger(folder).filter(pl.col("unit") == "conversation").collect()
    return {row["id"]: (row["reason"], row["detail"]) for row in ledger.to_dicts()}


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, "several"])
def test_filters_run_in_the_order_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: object
) -> None:
    monkeypatch.setattr(prepare, "PART_BYTES", 10**9 if parts == 1 else 20_000)
    facts = facts_of(make(tmp_path, talks(), "out"))
    dropped = facts["counts"]["conversations"]["dropped"]
    assert dropped == {"duplicate_prompt": 20, "near_duplicate": 15, "duplicate": 12}
    near = facts["near_duplicates"]["near_duplicate"]
    assert near == {
        "threshold": 0.6,
        "permutations": 128,
        "clusters": 15,
        "largest": 2,
        "dropped": 15,
    }
    reordered = facts_of(make(tmp_path, talks(), "out", "drop=[duplicate_prompt, near_duplicate]"))
    assert reordered["counts"]["conversations"]["dropped"]["duplicate_prompt"] == 47


@pytest.mark.slow
def test_the_beginning_of_another_goes_and_the_ledger_names_that(tmp_path: Path) -> None:
    """By hand, one may be kept; both are then in one split."""
    rows = [talk(f"s{i}", f"Question {i}?", f"Answer {i}.", group=f"g{i}") for i in range(12)]
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "That is all."}]
    rows += [{**row, "id": f"l{row['id']}", "group": row["id"]} for row in rows]
    for row in rows[12:]:
        row["messages"] = [*row["messages"], *more]
    out = make(
        tmp_path, rows, "out", "drop=[prefix_of_another]", "keep=[jsonl/s3]", "max_dropped=0"
    )
    expected: dict[str, Any] = {
        f"jsonl/s{i}": ("prefix_of_another", f"is the beginning of jsonl/ls{i}") for i in range(12)
    }
    outcomes = reasons(out)
    kept_by_hand = outcomes.pop("jsonl/s3")
    assert kept_by_hand[0] is None
    assert "not dropped as prefix_of_another" in str(kept_by_hand[1])
    assert {id: why for id, why in outcomes.items() if why[0]} == {
        id: why for id, why in expected.items() if id != "jsonl/s3"
    }
    splits = dict(reader.scan(out, "messages").select("id", "split").collect().iter_rows())
    assert splits["jsonl/s3"] == splits["jsonl/ls3"]


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "workers"), [("longest", 2), ("all", 1)])
def test_nothing_but_the_input_and_the_recipe_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, workers: int
) -> None:
    near = f"{{near_duplicate: {{threshold: 0.6, ngram: 2, keep: {keep}}}}}"
    rule = f"drop=[duplicate, prefix_of_another, {near}]"
    expected = make(tmp_path, talks(), "one", rule)
    shuffled = random.Random(5).sample(talks(), len(talks()))
    monkeypatch.setattr(prepare, "PART_BYTES", 20_000)
    shuffled_out = make(tmp_path, shuffled, "two", rule, workers=workers)
    assert reasons(expected) == reasons(shuffled_out)
    assert facts_of(expected)["content_hash"] == facts_of(shuffled_out)["content_hash"]
    for split in ("train", "test"):
        (shard,), (again,) = (
            sorted(f.glob(f"messages/{split}-*")) for f in (expected, shuffled_out)
        )
        assert shard.read_bytes() == again.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "longest"])
def test_a_cluster_is_in_one_split(tmp_path: Path, keep: str) -> None:
    rows = [
        talk(f"{letter}{i}", f"Question {i} of {i * 7}, about {i}?", "a b c d e f " + letter * i)
        for i in range(1, 30)
        for letter in "xy"
    ]
    rows += [talk(f"z{i}", f"Other {i} {i * i}", str(i), group=f"jsonl/y{i}") for i in range(1, 30)]
    rule = f"drop=[{{near_duplicate: {{threshold: 0.6, ngram: 2, keep: {keep}}}}}]"
    out = make(tmp_path, rows, "out", rule)
    table = reader.scan(out, "messages").collect()
    splits = dict(zip(table["id"], table["split"], strict=True))
    group = dict(zip(table["id"], table["group"], strict=True))
    for i in range(1, 30):
        kept = [f"jsonl/{letter}{i}" for letter in "xyz" if f"jsonl/{letter}{i}" in splits]
        assert len(kept) == (3 if keep == "all" else 2)
        assert len({splits[id] for id in kept}) == len({group[id] for id in kept}) == 1
    assert set(splits.values()) == {"train", "test"}
    plain = make(tmp_path, rows, "plain", "drop=[]")
    apart = dict(reader.scan(plain, "messages").select("id", "split").collect().iter_rows())
    assert any(apart[f"jsonl/x{i}"] != apart[f"jsonl/y{i}"] for i in range(1, 30))


@pytest.mark.slow
def test_the_rows_of_a_dataset_keep_their_split_when_they_are_read_again(tmp_path: Path) -> None:
    rule = "drop=[{near_duplicate: {threshold: 0.6, ngram: 2, keep: all}}]"
    out = make(tmp_path, talks(), "out", rule)
    once = reader.scan(out, "messages").collect()
    again = make(tmp_path, once.drop("split").to_dicts(), "again", "drop=[]")
    keys = ["id", "group", "split"]
    both = [reader.scan(f, "messages").select(keys).sort("id").collect() for f in (out, again)]
    assert both[0].equals(both[1])


@pytest.mark.slow
def test_short_prompts_are_compared_on_request(tmp_path: Path) -> None:
    rows = [talk(f"c{i}", "Continue, please.", f"answer {i}") for i in range(5)]
    rows += [talk(f"d{i}", "How do I sort a list in Python?", f"answer {i}") for i in range(5)]
    for rule, kept in (
        ("duplicate_prompt", 2),
        ("{duplicate_prompt: {min_words: 3}}", 6),
        ("near_duplicate_prompt", 6),
        ("{near_duplicate_prompt: {min_words: 1}}", 2),
    ):
        out = make(tmp_path, rows, "out", f"drop=[{rule}]")
        assert facts_of(out)["counts"]["conversations"]["kept"] == kept, rule


@pytest.mark.slow
def test_trees_repeat_trees_and_not_themselves(tmp_path: Path) -> None:
    def message(tree: str, id: str, parent: str | None, text: str) -> dict[str, Any]:
        role = "assistant" if parent else "prompter"
        ids = {"message_id": f"{tree}{id}", "parent_id": parent and f"{tree}{parent}"}
        return {**ids, "message_tree_id": f"{tree}u", "role": role, "text": text, "lang": "en"}

    rows = [
        message(tree, id, parent, text)
        for tree in "st"
        for id, parent, text in (
            ("u", None, "What is the height of the tower in Paris?"),
            ("a", "u", f"About three hundred metres, says {tree}."),
            ("b", "u", f"Some three hundred and thirty metres, by {tree}."),
        )
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "r.yaml").write_text(RECIPE.replace("jsonl", "oasst"))
    for rule in ("duplicate_prompt", "near_duplicate_prompt"):
        recipe = load_recipe(tmp_path / "r.yaml", [f"drop=[{rule}]"])
        build_dataset(recipe, tmp_path / "out", inputs=[str(tmp_path / "t.jsonl")], force=True)
        kept = {id for id, (reason, _) in reasons(tmp_path / "out").items() if reason is None}
        assert kept in ({"oasst1/su/sa", "oasst1/su/sb"}, {"oasst1/tu/ta", "oasst1/tu/tb"})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{near_duplicate: {threshold: 0}}", "near_duplicate: 'threshold' is 0"),
        ("{near_duplicate: {threshold: 1.5}}", "near_duplicate: 'threshold' is 1.5"),
        ("{near_duplicate: {permutations: 1}}", "near_duplicate: 'permutations' is 1"),
        ("{near_duplicate: {keep: first}}", "near_duplicate: 'keep' is 'first'"),
        ("{near_duplicate: {ngrams: 3}}", "unknown key 'ngrams'; did you mean 'ngram'?"),
        ("{near_duplicate: {on_removed: cut}}", "unknown key 'on_removed'"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, rule: str, words: str) -> None:
    with pytest.raises(Exception, match=words.replace("?", r"\?")):
        make(tmp_path, talks(), "out", f"drop=[{rule}]")


# ------------------------------------------------------------------------------------ real data


def test_near_duplicates_of_real_conversations(real_data: Path, tmp_path: Path) -> None:
    """The same threads, read with a word changed in some: those go, and no others."""
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    plain = load_recipe("oasst1-en", ["drop=[deleted]", "threads=best_rank"])
    build_dataset(plain, tmp_path / "o", inputs=[str(path)])
    rows = reader.scan(tmp_path / "o", "messages").collect().drop("split").to_dicts()
    long = [row for row in rows if sum(len(m["content"]) for m in row["messages"]) > 1500][:25]
    for row in long:
        copy = json.loads(json.dumps(row))
        last = copy["messages"][-1]
        last["content"] = last["content"].replace(" the ", " this ", 1) + " Indeed so."
        rows.append({**copy, "id": f"copy/{row['id']}", "group": f"copy/{row['group']}"})
    out = make(tmp_path, rows, "out", "drop=[near_duplicate]")
    repeats = {id: detail for id, (reason, detail) in reasons(out).items() if reason}
    assert {id.removeprefix("jsonl/") for id in repeats} == {row["id"] for row in long}
    near = facts_of(out)["near_duplicates"]["near_duplicate"]
    assert (near["clusters"], near["largest"], near["dropped"]) == (25, 2, 25)
