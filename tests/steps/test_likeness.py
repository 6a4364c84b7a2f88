"""Conversations that are alike: the clusters that all pairs give, whatever the order; what goes is
like one that stays; what two questions quote makes nothing alike."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.steps import duplicates, likeness, minhash
from chatdata.steps.filters import FILTERS
from chatdata.steps.likeness import Alike
from chatdata.steps.minhash import Numbers
from tests.support.conversations import table

quick = settings(max_examples=60, derandomize=True)
ALIKE = Alike(threshold=0.6, permutations=128, ngram=2, seed=1)
NEAR = FILTERS["near_duplicate"]


def fetch(keyed: pl.DataFrame) -> tuple[list[Numbers], list[Numbers]]:
    shingles, words = ([row.to_numpy() for row in keyed[name]] for name in likeness.FETCHED)
    return shingles, words


def keys_of(talks: dict[str, list[tuple[str, str]]], alike: Alike = ALIKE) -> pl.DataFrame:
    keyed = duplicates.keys(table(talks), NEAR.expression().first(), True, NEAR.against)
    return likeness.with_sets(keyed, alike)


def near(texts: list[str], alike: Alike = ALIKE, origins: list[int] | None = None) -> pl.DataFrame:
    """The keys of conversations of one answer each, with their clusters."""
    keyed = keys_of({f"c{i:03d}": [("assistant", text)] for i, text in enumerate(texts)}, alike)
    if origins is not None:
        keyed = keyed.with_columns(origin=pl.Series(origins).cast(pl.String))
    return keyed.with_columns(cluster=likeness.clusters(keyed, alike, fetch))


def asked(talks: list[tuple[str, str]], alike: Alike = ALIKE) -> pl.DataFrame:
    """The keys of conversations of one question and one answer each, with their clusters."""
    keyed = keys_of(
        {f"c{i:03d}": [("user", q), ("assistant", a)] for i, (q, a) in enumerate(talks)}, alike
    )
    return keyed.with_columns(cluster=likeness.clusters(keyed, alike, fetch))


def clusters(keyed: pl.DataFrame) -> set[frozenset[str]]:
    """The clusters as sets of texts' ids."""
    clustered = duplicates.members(keyed, keyed["cluster"])
    parts = clustered.partition_by("cluster")
    return {frozenset(part["conversation"]) for part in parts}


def score(left: tuple[set[int], set[int]], right: tuple[set[int], set[int]]) -> float:
    """How alike two conversations are, as the module says it."""
    against = len(left[1] ^ right[1])
    return len(left[0] & right[0]) / (len(left[0] | right[0]) + against)


def by_hand(keyed: pl.DataFrame, alike: Alike) -> set[frozenset[str]]:
    """Connected components, from the likeness of every pair that agrees in a band."""
    bands, width = alike.bands()
    columns = ("conversation", "origin", "shingles", "words", "signature")
    rows = keyed.select(columns).rows()
    component = {id: {id} for id, *_ in rows}
    for (left, tree, a, v, s), (right, tree_of, b, w, t) in itertools.combinations(rows, 2):
        are_alike = score((set(a), set(v)), (set(b), set(w))) >= alike.threshold
        starts = range(0, bands * width, width)
        candidate = any(s[i : i + width] == t[i : i + width] for i in starts)
        if are_alike and candidate and tree != tree_of:
            merged = component[left] | component[right]
            component.update(dict.fromkeys(merged, merged))
    return {frozenset(ids) for ids in component.values() if len(ids) > 1}


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=14).map(" ".join)


@st.composite
def families(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Questions and answers of which some are others with a word or two changed."""
    talks = [[draw(WORDS), draw(WORDS)] for _ in range(draw(st.integers(1, 5)))]
    for _ in range(draw(st.integers(0, 8))):
        talk = list(draw(st.sampled_from(talks)))
        place = draw(st.integers(0, 1))
        words = talk[place].split()
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from("abcxyz"))
        talk[place] = " ".join(words)
        talks.append(talk)
    return [(question, answer) for question, answer in talks]


@pytest.mark.slow
@quick
@given(families(), st.sampled_from([0.3, 0.6, 0.9, 1.0]), st.booleans(), st.booleans())
def test_clusters_are_the_connected_components_of_pairs(
    talks: list[tuple[str, str]], threshold: float, one_tree_of_two: bool, in_a_crowd: bool
) -> None:
    """A crowd is cut by what the questions differ in, and nothing is lost by that."""
    alike = Alike(threshold, permutations=64, ngram=2, seed=1)
    keyed = asked(talks, alike)
    if one_tree_of_two:
        origins = pl.Series([i // 2 for i in range(keyed.height)]).cast(pl.String)
        keyed = keyed.with_columns(origin=origins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "_CROWD", 1 if in_a_crowd else 10**6)
        keyed = keyed.with_columns(cluster=likeness.clusters(keyed, alike, fetch))
    assert clusters(keyed) == by_hand(keyed, alike)


@pytest.mark.slow
@quick
@given(families(), st.sampled_from([0.3, 0.6, 0.9]), st.sampled_from(["longest", "smallest_id"]))
def test_what_goes_is_like_one_that_stays_and_what_stays_is_like_no_other(
    talks: list[tuple[str, str]], threshold: float, keep: str
) -> None:
    alike = Alike(threshold, permutations=64, ngram=2, seed=1)
    keyed = asked(talks, alike)
    sets = {
        id: (set(shingles), set(words))
        for id, shingles, words in keyed.select("conversation", "shingles", "words").rows()
    }
    cluster = dict(keyed.select("conversation", "cluster").rows())
    members = duplicates.members(keyed, keyed["cluster"])
    repeats = likeness.repeats(members, keep, alike, fetch)
    for id, of, detail in repeats.select("conversation", "of", "detail").rows():
        assert score(sets[id], sets[of]) >= threshold
        assert detail == f"{np.floor(score(sets[id], sets[of]) * 100) / 100:.2f} like {of}"
    stay = [id for id in cluster if id not in set(repeats["conversation"])]
    assert set(repeats["of"]) <= set(stay)
    for left, right in itertools.combinations(stay, 2):
        if cluster[left] == cluster[right]:
            assert score(sets[left], sets[right]) < threshold


def test_what_is_not_verified_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b c d e f", "a b c x y z", "a b c d e g"]
    keyed = near(texts)
    assert clusters(keyed) == by_hand(keyed, ALIKE) == {frozenset({"c000", "c002"})}
    monkeypatch.setattr(likeness.Sets, "scores", lambda sets, row, rows: np.ones(len(rows)))
    assert clusters(near(texts)) != by_hand(keyed, ALIKE)


@pytest.mark.slow
@quick
@given(families(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_show(
    talks: list[tuple[str, str]], draw: random.Random
) -> None:
    keyed = asked(talks).drop("cluster")
    shuffled = keyed.sample(fraction=1, shuffle=True, seed=draw.randint(0, 99))
    repeats = [
        likeness.repeats(
            duplicates.members(rows, likeness.clusters(rows, ALIKE, fetch)), "longest", ALIKE, fetch
        ).select("conversation", "of", "detail")
        for rows in (keyed, shuffled)
    ]
    assert repeats[0].equals(repeats[1])


# ---------------------------------------------------------------- questions about one document

DOCUMENT = " ".join(f"word{i * i % 307}" for i in range(300))
QUESTIONS = ("Who wrote it?", "When was it written?", "What is left out?", "Is it long?", "Why?")


def test_questions_about_one_document_are_not_alike() -> None:
    """Case S3: five questions about one pasted document; and where the answers are all short."""
    answers = [" ".join(f"{word}{i}" for i in range(30)) for word in "abcde"]
    prompts = [f"{DOCUMENT}\n\n{question}" for question in QUESTIONS]
    assert clusters(asked(list(zip(prompts, answers, strict=True)))) == set()
    assert clusters(asked([(prompt, "Yes, it does.") for prompt in prompts])) == set()
    prompt = FILTERS["near_duplicate_prompt"].expression().first()
    talks = {f"c{i}": [("user", text)] for i, text in enumerate(prompts)}
    keyed = likeness.with_sets(duplicates.keys(table(talks), prompt, True), ALIKE)
    assert len(clusters(keyed.with_columns(cluster=likeness.clusters(keyed, ALIKE, fetch)))) == 1


def test_the_same_conversation_with_a_word_changed_is_alike() -> None:
    answer = " ".join(f"answer{i}" for i in range(40))
    talks = [
        (f"{DOCUMENT} Who wrote it?", answer),
        (f"{DOCUMENT} Who wrote this?", answer),
        (f"{DOCUMENT} Who wrote it?", answer.replace("answer7 ", "or ")),
        (f"{DOCUMENT} Who wrote it?", answer[::-1]),
    ]
    assert clusters(asked(talks)) == {frozenset({"c000", "c001", "c002"})}


def planted(draw: random.Random, change: str) -> list[tuple[str, str]]:
    """Fifty conversations, and each of them again with something changed."""
    talks = []
    for number in range(50):
        words = [f"w{draw.randint(0, 999)}" for _ in range(220)]
        talks.append((f"{number} " + " ".join(words[:20]), " ".join(words[20:])))
    return talks + [_changed(talk, draw, change) for talk in talks]


def _changed(talk: tuple[str, str], draw: random.Random, change: str) -> tuple[str, str]:
    question, answer = talk
    if change == "markup":
        return f"**{question.upper()}**", answer.replace(" ", "\n- ", 9)
    if change == "a closing":
        return f"{question}\nThank you!", f"{answer}\nYou are welcome, and good luck with it."
    words = answer.split()
    for place in draw.sample(range(len(words)), 4):
        words[place] = "changed"
    return question.replace("w", "v", 1), " ".join(words)


@pytest.mark.parametrize("change", ["markup", "a closing", "a word in fifty"])
def test_planted_repeats_are_taken_out(change: str) -> None:
    keyed = asked(planted(random.Random(4), change), Alike(0.8, 128, 3, 1))
    pairs = {frozenset({f"c{i:03d}", f"c{i + 50:03d}"}) for i in range(50)}
    assert clusters(keyed) == pairs


def test_a_long_system_message_does_not_make_conversations_alike() -> None:
    system = ("system", " ".join(map(str, range(500))))
    talks = {name: [system, ("assistant", text)] for name, text in (("a", "b c d"), ("f", "g h i"))}
    keyed = keys_of(talks)
    assert not set(keyed["shingles"][0]) & set(keyed["shingles"][1])
    assert keyed["words"].list.len().to_list() == [0, 0]


# ------------------------------------------------------------------------------------ signatures


def test_candidates_agree_in_a_band() -> None:
    draw = random.Random(3)
    texts = [" ".join(draw.choices("abcdefghij", k=20)) for _ in range(150)]
    texts += [text[: draw.randint(5, 39)] for text in texts]
    signatures = near(texts)["signature"].to_numpy()
    bands, width = ALIKE.bands()
    parts = signatures[:, : bands * width].reshape(len(signatures), bands, width)
    agree = (parts[:, None] == parts[None]).all(axis=3).any(axis=2)
    expected = {(int(i), int(j)) for i, j in np.argwhere(agree) if i < j}
    buckets = minhash.buckets(signatures, bands, width)
    assert expected
    assert expected == {
        pair for rows in buckets for pair in itertools.combinations(sorted(rows.tolist()), 2)
    }


@pytest.mark.parametrize("size", [4, 60, 1000])
def test_a_signature_estimates_the_similarity_of_sets_of_any_size(size: int) -> None:
    """Shown to fail where the permutations of two signatures differ."""
    draw = np.random.default_rng(size)
    shares, others = [], []
    for _ in range(60):
        both = draw.integers(0, 2**32, 5 * size, dtype=np.uint32)
        left, right = np.unique(both[: 4 * size]), np.unique(both[size:])
        first, second = _signed([left, right])
        shares.append(np.mean(first == second))
        others.append(np.mean(_signed([left * np.uint32(3)])[0] == second))
    assert np.mean(shares) == pytest.approx(0.6, abs=0.04)
    assert np.mean(others) < 0.05


def _signed(sets: list[Numbers]) -> Numbers:
    sets = [np.sort(each) for each in sets]
    offsets = np.cumsum([0, *map(len, sets)])
    return minhash.signatures(np.concatenate(sets), offsets, 128)


def test_signatures_are_the_same_for_ever() -> None:
    """They decide what is published: a golden, and nothing but the set shows in a signature."""
    sets = [np.arange(1, 9, dtype=np.uint32) << np.uint32(29), np.array([5], np.uint32)]
    made = minhash.signatures(np.concatenate([sets[0][:7], sets[1]]), np.array([0, 7, 8, 8]), 16)
    assert (made[0] >> np.uint32(29)).tolist() == GOLDEN
    assert made[1].tolist() == [5] * 16
    assert made[2].tolist() == [0] * 16


GOLDEN = [5, 7, 1, 6, 2, 4, 3, 6, 4, 4, 5, 4, 6, 1, 7, 1]  # place 2n holds n where n is in the set


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("permutations", [16, 64, 128, 256])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float, permutations: int) -> None:
    bands, width = Alike(threshold, permutations, 5, 1).bands()
    assert bands * width <= permutations
    assert 1 - (1 - threshold**width) ** bands >= 0.99 or width == 1


# ----------------------------------------------------------------------------------- what stays

CHAIN = [" ".join(f"w{i + shift}" for i in range(20)) for shift in (0, 3, 6)]


def test_of_a_chain_goes_what_is_like_one_that_stays() -> None:
    keyed = near(CHAIN)
    assert clusters(keyed) == {frozenset({"c000", "c001", "c002"})}
    members = duplicates.members(keyed, keyed["cluster"])
    repeats = likeness.repeats(members, "smallest_id", ALIKE, fetch)
    assert repeats.select("conversation", "detail").rows() == [("c001", "0.72 like c000")]


@pytest.mark.parametrize(
    ("keep", "repeated"),
    [("longest", ["c000", "c002"]), ("smallest_id", ["c001"]), ("all", [])],
)
def test_which_one_stays(keep: str, repeated: list[str]) -> None:
    keyed = near([CHAIN[0], CHAIN[1] + "!!!!!!", CHAIN[2]])
    members = duplicates.members(keyed, keyed["cluster"])
    repeats = likeness.repeats(members, keep, ALIKE, fetch)
    assert repeats["conversation"].to_list() == repeated


def test_paths_of_one_tree_stay_together() -> None:
    texts = ["a b c d e f g h", "a b c d e f g h i", "a b c d e f g h", "x y"]
    same_tree = near(texts, origins=[0, 0, 0, 1])
    assert clusters(same_tree) == set()
    two_trees = near(texts, origins=[0, 0, 1, 2])
    assert clusters(two_trees) == {frozenset({"c000", "c001", "c002"})}
    members = duplicates.members(two_trees, two_trees["cluster"])
    repeats = likeness.repeats(members, "longest", ALIKE, fetch)
    assert repeats.select("conversation", "of").rows() == [("c002", "c000")]


def test_texts_without_words_are_never_alike() -> None:
    keyed = near(["", "?!", "👍", "👍", "ok", "OK!"])
    assert keyed["conversation"].to_list() == ["c004", "c005"]
    assert clusters(keyed) == {frozenset({"c004", "c005"})}
    nothing = near([])
    assert nothing.is_empty()
    assert clusters(nothing) == set()


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_equal_rows_are_those_of_which_there_are_several(rows: list[tuple[int, int]]) -> None:
    table = np.array(rows, np.uint64).reshape(-1, 2)
    places = defaultdict[tuple[int, int], list[int]](list)
    for number, row in enumerate(rows):
        places[row].append(number)
    equal = sorted(bucket.tolist() for bucket in minhash.equal_rows(table))
    assert equal == sorted(numbers for numbers in places.values() if len(numbers) > 1)
