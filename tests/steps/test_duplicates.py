"""Repeats: the clusters that all pairs give, whatever the order; one stays; one split."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.dataset import manifest, reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import prepare
from chatdata.steps import duplicates
from chatdata.steps.duplicates import Alike, Shingles
from chatdata.steps.filters import FILTERS
from tests.support.conversations import table

quick = settings(max_examples=60, deadline=None, derandomize=True)
ALIKE = Alike(threshold=0.6, permutations=128, ngram=2, seed=1)
SPOKEN = FILTERS["near_duplicate"].expression().first()


def fetch(keyed: pl.DataFrame) -> list[Shingles]:
    return [shingles.to_numpy() for shingles in keyed["shingles"]]


def near(texts: list[str], alike: Alike = ALIKE, origins: list[int] | None = None) -> pl.DataFrame:
    """The keys of conversations of one text each, with their clusters."""
    conversations = {f"c{i:03d}": [("user", text)] for i, text in enumerate(texts)}
    keyed = duplicates.keys(table(conversations), SPOKEN, by_tree=True)
    if origins is not None:
        keyed = keyed.with_columns(origin=pl.Series(origins).cast(pl.String))
    keyed = duplicates.with_shingles(keyed, alike)
    return keyed.with_columns(cluster=duplicates.alike(keyed, alike, fetch))


def clusters(keyed: pl.DataFrame) -> set[frozenset[str]]:
    """The clusters as sets of texts' ids."""
    clustered = duplicates.members(keyed, keyed["cluster"])
    parts = clustered.partition_by("cluster")
    return {frozenset(part["conversation"]) for part in parts}


def by_hand(keyed: pl.DataFrame, alike: Alike) -> set[frozenset[str]]:
    """Connected components, from the similarity of every pair that agrees in a band."""
    bands, length = alike.bands()
    rows = keyed.select("conversation", "origin", "shingles", "signature").rows()
    component = {id: {id} for id, *_ in rows}
    for (left, left_origin, a, s), (right, right_origin, b, t) in itertools.combinations(rows, 2):
        are_alike = len(set(a) & set(b)) / len(set(a) | set(b)) >= alike.threshold
        starts = range(0, bands * length, length)
        candidate = any(s[i : i + length] == t[i : i + length] for i in starts)
        if are_alike and candidate and left_origin != right_origin:
            merged = component[left] | component[right]
            component.update(dict.fromkeys(merged, merged))
    return {frozenset(keyed) for keyed in component.values() if len(keyed) > 1}


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=14).map(" ".join)


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Texts of which some are others with a word or two changed."""
    texts = draw(st.lists(WORDS, min_size=1, max_size=5))
    for _ in range(draw(st.integers(0, 8))):
        words = draw(st.sampled_from(texts)).split()
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from("abcxyz"))
        texts.append(" ".join(words))
    return texts


@pytest.mark.slow
@quick
@given(families(), st.sampled_from([0.3, 0.6, 0.9, 1.0]), st.booleans())
def test_clusters_are_the_connected_components_of_pairs(
    texts: list[str], threshold: float, one_tree_of_two: bool
) -> None:
    alike = Alike(threshold, permutations=64, ngram=2, seed=1)
    origins = [i // 2 for i in range(len(texts))] if one_tree_of_two else None
    keyed = near(texts, alike, origins)
    assert clusters(keyed) == by_hand(keyed, alike)


def test_what_is_not_verified_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b c d e f", "a b c x y z", "a b c d e g"]
    keyed = near(texts)
    assert clusters(keyed) == by_hand(keyed, ALIKE) == {frozenset({"c000", "c002"})}
    monkeypatch.setattr(duplicates, "jaccard", lambda shingles, sets: np.ones(len(sets)))
    assert clusters(near(texts)) != by_hand(keyed, ALIKE)


@pytest.mark.slow
@quick
@given(families(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_show(texts: list[str], draw: random.Random) -> None:
    keyed = near(texts).drop("cluster")
    shuffled = keyed.sample(fraction=1, shuffle=True, seed=draw.randint(0, 99))
    repeats = [
        duplicates.repeats(
            duplicates.members(rows, duplicates.alike(rows, ALIKE, fetch)), "longest"
        ).select("conversation", "of")
        for rows in (keyed, shuffled)
    ]
    assert repeats[0].equals(repeats[1])


def test_candidates_are_those_of_the_library_with_the_same_bands() -> None:
    from datasketch import MinHash, MinHashLSH

    draw = random.Random(3)
    texts = [" ".join(draw.choices("abcdefghij", k=20)) for _ in range(150)]
    texts += [text[: draw.randint(5, 39)] for text in texts]
    keyed = near(texts)
    signatures = keyed["signature"].to_numpy()
    index = MinHashLSH(num_perm=128, params=ALIKE.bands())
    for row, values in enumerate(signatures):
        index.insert(row, MinHash(hashvalues=values, scheme="affine32", seed=1))
    theirs = {
        (row, candidate)
        for row, values in enumerate(signatures)
        for candidate in index.query(MinHash(hashvalues=values, scheme="affine32", seed=1))
        if row < candidate
    }
    buckets = duplicates._buckets(signatures, ALIKE)
    ours = {pair for rows in buckets for pair in itertools.combinations(sorted(rows.tolist()), 2)}
    assert ours == theirs
    assert ours


def test_a_signature_estimates_the_similarity() -> None:
    """Shown to fail where the permutations of two signatures differ."""
    texts = [" ".join(map(str, range(200))), " ".join(map(str, range(50, 200)))]
    keyed = near(texts, Alike(0.6, 512, 2, seed=1))
    left, right = keyed["signature"].to_numpy()
    (exact,) = duplicates.jaccard(*[fetch(keyed)[0], [fetch(keyed)[1]]])
    assert np.mean(left == right) == pytest.approx(exact, abs=0.06)
    different = near(texts, Alike(0.6, 512, 2, seed=2))["signature"].to_numpy()
    assert np.mean(left == different[1]) < 0.05


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("permutations", [16, 64, 128, 256])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float, permutations: int) -> None:
    bands, rows = Alike(threshold, permutations, 5, 1).bands()
    assert bands * rows <= permutations
    assert 1 - (1 - threshold**rows) ** bands >= 0.99 or rows == 1


CHAIN = [" ".join(f"w{i + shift}" for i in range(20)) for shift in (0, 3, 6)]


def test_a_chain_is_one_cluster_and_the_ledger_says_so() -> None:
    keyed = near(CHAIN)
    first, second, third = fetch(keyed)
    assert duplicates.jaccard(first, [second, third]).tolist() == [16 / 22, 13 / 25]
    assert clusters(keyed) == {frozenset({"c000", "c001", "c002"})}
    repeats = duplicates.repeats(duplicates.members(keyed, keyed["cluster"]), "smallest_id")
    assert repeats["conversation"].to_list() == ["c001", "c002"]
    assert duplicates.likeness(repeats, keyed, ALIKE, fetch).to_list() == [
        "0.72 like c000",
        "0.52 like c000, by way of others",
    ]


@pytest.mark.parametrize(
    ("keep", "repeated"),
    [("longest", ["c000", "c002"]), ("smallest_id", ["c001", "c002"]), ("all", [])],
)
def test_which_one_stays(keep: str, repeated: list[str]) -> None:
    keyed = near([CHAIN[0], CHAIN[1] + "!!!!!!", CHAIN[2]])
    repeats = duplicates.repeats(duplicates.members(keyed, keyed["cluster"]), keep)
    assert repeats["conversation"].to_list() == repeated


def test_paths_of_one_tree_stay_together() -> None:
    texts = ["a b c d e f g h", "a b c d e f g h i", "a b c d e f g h", "x y"]
    same_tree = near(texts, origins=[0, 0, 0, 1])
    assert clusters(same_tree) == set()
    two_trees = near(texts, origins=[0, 0, 1, 2])
    assert clusters(two_trees) == {frozenset({"c000", "c001", "c002"})}
    repeats = duplicates.repeats(duplicates.members(two_trees, two_trees["cluster"]), "longest")
    assert repeats.select("conversation", "of").rows() == [("c002", "c001")]


def test_texts_without_words_are_never_alike() -> None:
    keyed = near(["", "?!", "👍", "👍", "ok", "OK!"])
    assert keyed["conversation"].to_list() == ["c004", "c005"]
    assert clusters(keyed) == {frozenset({"c004", "c005"})}
    nothing = near([])
    assert nothing.is_empty()
    assert clusters(nothing) == set()


def test_a_long_system_message_does_not_make_conversations_alike() -> None:
    system = ("system", " ".join(map(str, range(500))))
    conversations = {
        name: [system, ("user", text)] for name, text in (("a", "b c d e"), ("f", "g h i j"))
    }
    keyed = duplicates.with_shingles(
        duplicates.keys(table(conversations), SPOKEN, by_tree=True), ALIKE
    )
    assert not set(keyed["shingles"][0]) & set(keyed["shingles"][1])


def test_groups_that_clusters_connect_share_a_home() -> None:
    first = pl.DataFrame({"group": ["a", "b", "c", "d"], "cluster": [1, 1, 2, 2]})
    second = pl.DataFrame({"group": ["b", "c", "e", "f"], "cluster": [1, 1, 7, 7]})
    left = pl.DataFrame({"group": list("bcdefz")})
    assert duplicates.homes([first, second], left).rows() == [("c", "b"), ("d", "b"), ("f", "e")]
    assert duplicates.homes([], left).is_empty()


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
@pytest.mark.parametrize("parts", [1, 7])
def test_filters_run_in_the_order_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr(prepare, "PART_BYTES", 10**9 if parts == 1 else 1500)
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
@pytest.mark.parametrize(("keep", "workers"), [("longest", 2), ("all", 1)])
def test_nothing_but_the_input_and_the_recipe_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, workers: int
) -> None:
    rule = f"drop=[duplicate, {{near_duplicate: {{threshold: 0.6, ngram: 2, keep: {keep}}}}}]"
    expected = make(tmp_path, talks(), "one", rule)
    shuffled = random.Random(5).sample(talks(), len(talks()))
    monkeypatch.setattr(prepare, "PART_BYTES", 900)
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
