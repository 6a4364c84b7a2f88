"""Evaluation sets in the data: a planted question is found, a common phrase is not."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ConfigError, SourceError
from chatdata.core.hashing import sha256_file
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import prepare
from chatdata.sources import File
from chatdata.steps import contamination, evaluation_sets
from chatdata.steps.contamination import Index, Rule
from tests.support.conversations import table
from tests.support.evaluation import LONG, RULE, index

SHORT = "Which river runs through the capital of Hungary?"
TINY = "What is the capital of Peru?"


def overlaps(indexed: Index, *texts: str | None) -> list[str | None]:
    messages = table({str(i): [("user", text)] for i, text in enumerate(texts)})
    return contamination.label(messages, indexed)[0]["overlap"].to_list()


def test_a_planted_question_is_found_however_it_is_set() -> None:
    indexed = index(LONG, SHORT)
    planted = LONG.upper().replace(",", "\n\n>").replace(" the ", "  **the** ")
    for text in (LONG, f"Please answer: {planted}", f"{LONG[:90]} and so on", SHORT, f"Q: {SHORT}"):
        assert overlaps(indexed, text)[0] is not None, text


def test_what_is_said_of_it() -> None:
    (detail,) = overlaps(index("x", SHORT), f"A quiz!\n\n1) {SHORT.lower()} Tell me.")
    assert detail == (
        "s, item 1: 8 words from character 12: which river runs through the capital of hungary"
    )
    two = overlaps(index(LONG, f"{LONG} Show your work."), LONG)[0]
    assert two is not None
    assert two.startswith("s, item 0, and 1 more: 33 words from character 0: A cyclist leaves")
    assert two.endswith("…")


@pytest.mark.parametrize(
    "text",
    [
        " ".join(LONG.split()[:12]),  # a word too few
        SHORT.replace("capital", "main town"),
        TINY,  # shorter than any item may be
        "which river runs through the capital of",
        "",
        None,
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "for i in range(n):\n    for j in range(i + 1, n):\n        if a[i] == a[j]:",
    ],
)
def test_a_common_phrase_is_not_found(text: str | None) -> None:
    indexed = index(
        *(LONG, SHORT, TINY, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
        "for i in range(n): for j in range(i + 1, n): if a[i] == a[j]: return True",
    )
    assert overlaps(indexed, text) == [None]


def test_the_frame_of_a_set_does_not_count() -> None:
    frame = "Read the following passage with care, and then answer all questions about it in turn."
    texts = [f"{frame} {word} {word}s?" for word in ("Cat", "Dog", "Cow", "Elk")]
    assert overlaps(index(*texts[:3]), frame)[0] is not None
    assert overlaps(index(*texts), frame) == [None]
    assert overlaps(index(*texts, LONG), LONG)[0] is not None
    repeated = index(*[LONG] * 9)  # one question, with nine answers elsewhere
    assert overlaps(repeated, LONG)[0] is not None


@pytest.mark.parametrize(("rule", "hit"), [(Rule(20, 8, 3), False), (Rule(5, 8, 3), True)])
def test_the_length_of_a_run_is_an_option(rule: Rule, hit: bool) -> None:
    text = "and rides north at eighteen kilometres an hour, while"
    assert (overlaps(index(LONG, rule=rule), text)[0] is not None) == hit


WORD = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "7", "Ü", "漢字"])
TEXT = st.lists(WORD, max_size=25).map(" ".join)


@pytest.mark.slow
@settings(max_examples=40, derandomize=True)
@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT | st.text(), max_size=5))
def test_what_is_found_is_what_a_search_finds(items: list[str], texts: list[str]) -> None:
    """By hand: each run of words of an item that counts, looked for in each text."""
    rule = Rule(ngram=4, min_words=3, common=2)
    indexed = index(*items, rule=rule)
    labelled = overlaps(indexed, *texts)

    def words(text: str) -> list[str]:
        (spelt,) = pl.Series([text]).str.extract_all(contamination.ngrams.WORD)
        return list(contamination.ngrams.folded(spelt))

    def runs(text: str, n: int) -> set[tuple[str, ...]]:
        spelt = words(text)
        return {tuple(spelt[i : i + n]) for i in range(len(spelt) - n + 1)}

    def counts(run: tuple[str, ...], item: str) -> bool:
        different = len({word for word in run if any(c.isalpha() for c in word)})
        is_whole = len(run) == len(words(item))
        return different >= len(run) * (1 / 2 if is_whole else 2 / 3)

    having = Counter(
        run
        for item in set(items)
        for run in runs(item, 4) | (runs(item, 3) if len(words(item)) == 3 else set())
        if counts(run, item)
    )
    wanted = {run for run, times in having.items() if times <= rule.common}
    for text, detail in zip(texts, labelled, strict=True):
        hit = bool(wanted & (runs(text, 4) | runs(text, 3)))
        assert (detail is not None) == hit


# ------------------------------------------------------------------------------------ the files


def write(path: Path, text: str) -> File:
    packed = gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
    path.write_bytes(packed)
    return File(path, path.name)


ROWS = [{"id": "a", "q": "one", "deep": {"x": ["two", 3]}}, {"q": "four", "u": "http://five"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("s.jsonl.gz", "\n".join(map(json.dumps, ROWS))),
        ("s.json", json.dumps(ROWS)),
        ("s.csv", "id,q,deep,u\na,one,two,\n,four,,http://five\n"),
        ("s.tsv", "id\tq\tdeep\na\tone\ttwo\n\tfour\t\n"),
        ("s.txt", "one two\nfour\n"),
        ("s.md.gz", "one two\nfour\n"),
    ],
)
def test_files_of_many_kinds_are_read(tmp_path: Path, name: str, text: str) -> None:
    texts = evaluation_sets.texts(write(tmp_path / name, text), [])
    words = " ".join(texts["text"].to_list()).split()
    assert [word for word in words if word != "a"] == ["one", "two", "four"]
    assert texts["item"].n_unique() == 2
    assert set(texts["set"]) == {name}


def test_parquet_and_chosen_fields(tmp_path: Path) -> None:
    pl.DataFrame({"q": ["one", "two"], "a": ["x", "y"]}).write_parquet(tmp_path / "s.parquet")
    file = File(tmp_path / "s.parquet", "s.parquet")
    assert evaluation_sets.texts(file, [])["text"].to_list() == ["one", "x", "two", "y"]
    assert evaluation_sets.texts(file, ["q", "other"])["text"].to_list() == ["one", "two"]
    with pytest.raises(SourceError, match="has no texts in question; name a file"):
        evaluation_sets.texts(file, ["question"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.jsonl", '{"q": "one"}\n{bad', "cannot be read to its end (s.jsonl:2"),
        ("s.json", '[{"q": "one"}, {"q": "tw', "cannot be read to its end"),
        ("s.jsonl", "", "is empty"),
        ("s.csv", "a,b\n1,2,3,4\n", "is not a readable evaluation set"),
        ("s.txt", "\n", "has no texts"),
        ("s.zip", "x", "is not an evaluation set; chatdata reads .json"),
        ("s.jsonl", "[1, 2]\n", "has no texts"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(SourceError) as caught:
        evaluation_sets.texts(write(tmp_path / name, text), [])
    assert words in str(caught.value)
    assert str(caught.value).count(". ") <= 1


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "s.txt.gz").write_bytes(b"\x1f\x8b\x08cut off")
    for name in ("s.txt", "s.txt.gz"):
        with pytest.raises(SourceError, match="is not a readable evaluation set"):
            evaluation_sets.texts(File(tmp_path / name, name), [])


# -------------------------------------------------------------------------------- whole builds

RECIPE = """
name: c
version: 1.0.0
source: {{jsonl: {{files: [in.jsonl]}}}}
drop: [{{contaminated: {{against: [{against}]}}}}]
max_dropped: 1.0
"""


def make(
    folder: Path, *settings: str, against: str = "a/q.jsonl, b/q.csv", **options: Any
) -> Manifest:
    (folder / "a").mkdir(exist_ok=True)
    (folder / "b").mkdir(exist_ok=True)
    (folder / "a" / "q.jsonl").write_text(
        "\n".join(
            json.dumps({"task_id": f"T/{i}", "turns": [t]}) for i, t in enumerate([LONG, TINY])
        )
    )
    (folder / "b" / "q.csv").write_text(f'Question,Answer\n"{SHORT}",the Danube\n')
    filler = " ".join(f"word{i}" for i in range(30))
    rows = [
        {
            "id": f"t{number:02d}",
            "messages": [
                {"role": role, "content": f"{number} {filler if turn % 2 else 'and then?'}"}
                for turn, role in enumerate(["user", "assistant"] * 3)
            ],
        }
        for number in range(30)
    ]
    rows[3]["messages"][0]["content"] = f"Solve it: {LONG}"
    rows[7]["messages"][5]["content"] = SHORT
    rows[9]["messages"][2]["content"] = f"{SHORT} {LONG}"
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "r.yaml").write_text(RECIPE.format(against=against))
    options = {"force": True, **options}
    return build_dataset(load_recipe(folder / "r.yaml", settings), folder / "out", **options)


def outcomes(folder: Path, unit: str) -> dict[str, tuple[str, str]]:
    ledger = reader.scan_ledger(folder / "out").filter(pl.col("unit") == unit).collect()
    return {row["id"]: (row["reason"], row["detail"]) for row in ledger.to_dicts() if row["reason"]}


def test_a_hit_in_any_turn_removes_the_conversation(tmp_path: Path) -> None:
    facts = make(tmp_path)
    conversations = outcomes(tmp_path, "conversation")
    assert conversations == {
        f"jsonl/t0{n}": ("contaminated", f"because of jsonl/t0{n}#{turn}")
        for n, turn in ((3, 0), (7, 5), (9, 2))
    }
    messages = outcomes(tmp_path, "message")
    assert messages["jsonl/t07#5"][1].startswith("b/q.csv, item 1: 8 words from character 0: Which")
    assert messages["jsonl/t09#2"][1].startswith("a/q.jsonl, item T/0, and 1 more: 33 words from")
    assert messages["jsonl/t07#0"] == ("contaminated", "goes with jsonl/t07#5")
    numbers = ("set", "items", "too_short", "items_found", "conversations")
    assert [tuple(entry[n] for n in numbers) for entry in facts["contamination"]] == [
        ("a/q.jsonl", 2, 1, 1, 2),
        ("b/q.csv", 1, 0, 1, 2),
    ]
    sha256 = sha256_file(tmp_path / "b" / "q.csv")
    assert facts["contamination"][1]["sha256"] == sha256


def test_the_turns_before_may_be_kept(tmp_path: Path) -> None:
    make(tmp_path, "drop=[{contaminated: {against: [a/q.jsonl, b/q.csv], on_removed: cut}}]")
    lengths = reader.scan(tmp_path / "out", "messages").select("id", pl.col("messages").list.len())
    kept = dict(lengths.collect().iter_rows())
    assert (kept.get("jsonl/t03"), kept["jsonl/t07"], kept["jsonl/t09"]) == (None, 4, 2)


@pytest.mark.slow
def test_nothing_but_names_and_content_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for name, parts in (("x", 10**9), ("elsewhere/y", 4000)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        monkeypatch.setattr(prepare, "PART_BYTES", parts)
        make(folder)
        files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
        assert not any(str(tmp_path).encode() in path.read_bytes() for path in files)
        facts = json.loads((folder / "out" / "manifest.json").read_text())
        written.append((facts["content_hash"], facts["contamination"], facts["recipe"]))
    assert written[0] == written[1]
    assert written[0][2]["drop"][0]["contaminated"]["against"] == ["a/q.jsonl", "b/q.csv"]


@pytest.mark.slow
def test_patterns_and_files_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(make(tmp_path, against='"*/q.*"')["contamination"]) == 2
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.txt").write_text(SHORT)
    monkeypatch.chdir(tmp_path / "here")
    facts = make(tmp_path, against="own.txt")
    assert [entry["set"] for entry in facts["contamination"]] == ["own.txt"]


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ("drop=[contaminated]", ConfigError, "contaminated needs `against`; write contaminated: {"),
        ("drop=[{contaminated: {against: []}}]", ConfigError, "against: nothing stands there"),
        ("drop=[{contaminated: {against: q.csv}}]", ConfigError, "'against' is 'q.csv'"),
        ("drop=[{contaminated: {against: [no.csv]}}]", SourceError, "there is no file"),
        ("drop=[{contaminated: {against: [a]}}]", SourceError, "is a folder; name its files"),
        ("drop=[{contaminated: {against: [r.yaml]}}]", SourceError, "is not an evaluation set"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, setting: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        make(tmp_path, setting)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------ real data

SETS = {  # and the field that holds the question
    "mt_bench/question.jsonl": "turns",
    "vicuna_bench/question.jsonl": "turns",
    "humaneval/HumanEval.jsonl.gz": "prompt",
    "truthfulqa/TruthfulQA.csv": "Question",
    "arc/arc_easy.jsonl": "query",
    "arc/arc_challenge_pairs.jsonl": "question",
    "hellaswag/hellaswag_1000.jsonl": "ctx",
    "mmlu/zero_shot_mmlu_val.jsonl": "input",
}


@pytest.fixture(scope="module")
def real_index(real_data: Path) -> Index:
    texts = [evaluation_sets.texts(File(real_data / "eval" / name, name), []) for name in SETS]
    return contamination.index(pl.concat(texts), RULE)


@pytest.mark.parametrize("name", SETS)
def test_real_questions_are_found_in_other_dress(
    real_index: Index, real_data: Path, name: str
) -> None:
    questions = evaluation_sets.texts(File(real_data / "eval" / name, name), [SETS[name]])[
        "text"
    ].unique()
    long = questions.filter(questions.str.count_matches(r"\w+") >= 8).sort()
    some = random.Random(1).sample(long.to_list(), min(300, len(long)))
    planted = ["So I was asked:\n\n**" + " ".join(text.upper().split()) + "**\n!" for text in some]
    details = overlaps(real_index, *planted)
    missed = [text for text, detail in zip(some, details, strict=True) if detail is None]
    assert len(missed) <= len(some) / 50, missed


def test_real_conversations_hold_few_real_items(real_index: Index, real_data: Path) -> None:
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    details = [detail for detail in overlaps(real_index, *texts) if detail]
    assert len(details) <= 5, details
