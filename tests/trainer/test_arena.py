"""What people say of answers: kept click by click, summed up, and made into the next dataset."""

from __future__ import annotations

import itertools
import json
import random
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ConfigError, OutputError
from chatdata.dataset import reader
from chatdata.verify.verification import verdicts_on
from tests.support.contests import best_first, by_length, by_place, contest, judge, saved, write
from tests.support.later import need
from trainer.evaluation.__main__ import main
from trainer.evaluation.arena import book as books
from trainer.evaluation.arena import contest as contests
from trainer.evaluation.arena import exports, summary
from trainer.evaluation.arena.book import Book, Judgement
from trainer.evaluation.arena.contest import Contest, Item

need("nltk")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "arena.md").read_text()
TABLES = ("messages", "pairs")
CODE = "Use a tab:\n```python\n\tdef f():\n\t\treturn 1  \n```\n"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def opened(contest: Contest, out: Path) -> Book:
    out.mkdir(exist_ok=True)
    contests.settle(contest, out)
    return Book(contest, out)


# -------------------------------------------------------------------------------- who sees what


def test_each_annotator_has_an_order_for_each_prompt_and_always_the_same(tmp_path: Path) -> None:
    made = contest(tmp_path, number=300, models=3)
    orders = [made.order("ann", item) for item in made.items]
    assert orders == [made.order("ann", item) for item in made.items]
    assert orders != [made.order("bob", item) for item in made.items]
    counts = Counter(orders)
    assert len(counts) == 6
    assert min(counts.values()) > 25  # of 50 that are expected


def test_files_have_to_go_together(tmp_path: Path) -> None:
    first, second = write(tmp_path, a=["x", "y"], b=["x"])
    made = contests.of_files([first, second], 0)
    assert ([item.id for item in made.items], made.settings["left_out"]) == (["q0"], 1)
    with pytest.raises(ConfigError, match="1 files of answers are named; name two to four"):
        contests.of_files([first], 0)
    second.write_text('{"id": "q0", "prompt": "Another", "answer": "a"}\n')
    with pytest.raises(ConfigError, match="the id 'q0' has 2 different prompts"):
        contests.of_files([first, second], 0)
    second.write_text('{"id": "z", "prompt": "Another", "answer": "a"}\n')
    with pytest.raises(ConfigError, match="no id in common"):
        contests.of_files([first, second], 0)


def test_a_folder_holds_one_contest_and_needs_its_files_no_more(tmp_path: Path) -> None:
    made, out = contest(tmp_path, number=3), tmp_path / "out"
    out.mkdir()
    contests.settle(made, out)
    contests.settle(made, out)
    (tmp_path / "good.jsonl").unlink()
    assert contests.load(out) == made
    with pytest.raises(OutputError, match="another contest: answers, seed differ"):
        contests.settle(contests.of_files(write(tmp_path, c=["x"], d=["y"]), 1), out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        contests.settle(made, tmp_path / "mine")
    with pytest.raises(ConfigError, match="holds no contest"):
        contests.load(tmp_path / "mine")


# ---------------------------------------------------------------------------------- click by click


def test_the_last_click_counts_and_all_are_kept(tmp_path: Path) -> None:
    made, out = contest(tmp_path, number=2), tmp_path / "out"
    book = opened(made, out)
    for ranks in ([1, None], [1, 2], [1, 2], [2, 1]):
        book.save("ann", 0, {"ranks": ranks})
    book.save("bob", 0, {"ranks": [1, 1], "correction": CODE, "is_kept": True})
    assert len(lines(out / books.CLICKS)) == 4  # a click that says what was known is none
    book.close()
    with (out / books.CLICKS).open("ab") as file:
        file.write(b'{"annotator": "ann", "id": "q0", "ra')  # a run that was killed in a write
    again = Book(made, out)
    assert again.judgement("ann", 0).ranks == (2, 1)
    assert again.judgement("bob", 0).correction == CODE
    assert again.statuses("ann") == ["judged", "open"]
    again.save("ann", 1, {"ranks": [None, None], "is_skipped": True})
    assert again.statuses("ann") == ["judged", "skipped"]
    with pytest.raises(OutputError, match="a run is writing"):
        Book(made, out)
    again.close()
    assert [j.status for j in books.judgements(out)] == ["judged", "judged", "skipped"]


def test_who_has_seen_the_results_is_blind_no_more(tmp_path: Path) -> None:
    made, out = contest(tmp_path, number=1), tmp_path / "out"
    book = opened(made, out)
    book.save("ann", 0, {"ranks": [1, 2]})
    book.reveal("ann")
    book.close()
    book = Book(made, out)
    book.save("ann", 0, {"ranks": [1, 2]})  # nothing new, so still of the time before
    assert book.judgement("ann", 0).is_blind
    book.save("ann", 0, {"ranks": [2, 1]})
    book.save("bob", 0, {"ranks": [2, 1]})
    book.close()
    assert [j.is_blind for j in books.judgements(out)] == [False, True]
    assert summary.summary(made, books.judgements(out))["not_blind"] == 1


@pytest.mark.parametrize(
    "ranks", [None, [1], [1, 2, 3], [0, 1], [1, 3], [True, 1], ["1", 2], [1.0, 2], "12"]
)
def test_what_is_no_ranking_is_refused(tmp_path: Path, ranks: object) -> None:
    book = opened(contest(tmp_path, number=1), tmp_path / "out")
    with pytest.raises(ConfigError, match="ranks are a list of 2 numbers from 1 to 2, or null"):
        book.save("ann", 0, {"ranks": ranks})
    book.close()


def test_a_name_is_words_in_small_letters() -> None:
    assert books.name("  Ann \t Lee ") == "ann lee"
    for bad in ("", " ", "x" * 41, "a\u0000b", None, 3, "a\u202eb"):
        with pytest.raises(ConfigError, match="name"):
            books.name(bad)


# -------------------------------------------------------------------------------- planted truths


def test_people_who_prefer_a_model_make_it_win(tmp_path: Path) -> None:
    made = contest(tmp_path, models=3)
    numbers = summary.summary(made, judge(made, "ann", best_first("A BC")))
    wins = {of["first"] + of["second"]: of for of in numbers["pairs"]}
    assert {two: of["win_rate"] for two, of in wins.items()} == {"AB": 1.0, "AC": 1.0, "BC": 0.5}
    low, high = wins["AB"]["win_rate_interval"]
    assert 0.9 < low < high == pytest.approx(1.0)
    assert [wins["BC"][key] for key in ("wins", "losses", "ties")] == [0, 0, 40]
    assert [of["mean_rank"] for of in numbers["ranks"].values()] == [1.0, 2.5, 2.5]
    assert numbers["models"] == {"A": "good", "B": "fair", "C": "poor"}
    assert numbers["annotators"]["ann"]["judged"] == numbers["n"] == 40


def test_people_who_prefer_a_place_show_as_position_bias(tmp_path: Path) -> None:
    made = contest(tmp_path, number=200)
    numbers = summary.summary(made, judge(made, "ann", by_place))
    assert numbers["position_bias"]["first_by_place"] == [1.0, 0.0]
    assert numbers["position_bias"]["without_bias"] == 0.5
    low, high = numbers["pairs"][0]["win_rate_interval"]
    assert low < 0.5 < high


def test_people_who_prefer_length_show_as_length_bias(tmp_path: Path) -> None:
    made = contest(tmp_path)
    numbers = summary.summary(made, judge(made, "ann", by_length))
    assert numbers["length_bias"] == numbers["pairs"][0]["length_bias"] == 1.0
    assert numbers["pairs"][0]["win_rate"] == 0.5
    assert numbers["pairs"][0]["length_controlled_win_rate"] == pytest.approx(0.5, abs=0.01)


def test_annotators_who_say_the_same_agree_and_those_who_guess_do_not(tmp_path: Path) -> None:
    made, draw = contest(tmp_path, number=300), random.Random(0)

    def guess(item: Item, order: str) -> dict[str, int]:
        return dict(zip(order, draw.sample((1, 2), 2), strict=True))

    same = judge(made, "ann", by_length) + judge(made, "bob", by_length)
    (both,) = summary.summary(made, same)["agreement"]["pairs_of_annotators"]
    assert both == {"annotators": ["ann", "bob"], "pairs": 300, "equal": 1.0, "kappa": 1.0}
    numbers = summary.summary(made, same + judge(made, "cy", guess))
    kappas = [of["kappa"] for of in numbers["agreement"]["pairs_of_annotators"]]
    assert (kappas[0], max(map(abs, kappas[1:])) < 0.12) == (1.0, True)
    assert summary.summary(made, judge(made, "ann", guess))["agreement"] is None


def alpha(outcomes: dict[str, dict[str, str]]) -> float:
    """Krippendorff's alpha by its definition, for outcomes without an order."""
    by_item: dict[str, list[str]] = {}
    for of in outcomes.values():
        for item, outcome in of.items():
            by_item.setdefault(item, []).append(outcome)
    units = [values for values in by_item.values() if len(values) > 1]
    total = Counter(itertools.chain(*units))
    number = sum(total.values())
    observed = sum(
        sum(a != b for a, b in itertools.permutations(values, 2)) / (len(values) - 1)
        for values in units
    )
    expected = sum(total[a] * total[b] for a, b in itertools.permutations(total, 2))
    return 1 - (number - 1) * observed / expected


def test_alpha_is_krippendorffs_where_not_all_judge_all(tmp_path: Path) -> None:
    made, draw = contest(tmp_path, number=60), random.Random(1)

    def mostly(item: Item, order: str) -> dict[str, int]:
        return {"A": 1, "B": draw.choice((1, 2, 2, 2))}

    people = [j for name in ("ann", "bob", "cy") for j in judge(made, name, mostly)]
    some = [j for j in people if draw.random() < 0.7]
    numbers = summary.summary(made, some)["agreement"]
    outcomes: dict[str, dict[str, str]] = {}
    for j in some:
        outcomes.setdefault(j.annotator, {})[j.id] = "A" if j.rank_of()["B"] == 2 else "tie"
    assert numbers["alpha"] == pytest.approx(alpha(outcomes))


@given(st.data())
@settings(max_examples=25)
def test_sums_are_right_and_letters_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The numbers of models in another order are the same numbers of other letters."""
    models = data.draw(st.integers(2, 4))
    made = contest(tmp_path_factory.getbasetemp(), number=5, models=models)
    rank = st.integers(1, models)
    drawn = {item.id: {letter: data.draw(rank) for letter in made.letters} for item in made.items}
    numbers = summary.summary(made, judge(made, "ann", lambda item, order: drawn[item.id]))
    of_models = numbers["ranks"].values()
    assert sum(of["mean_rank"] for of in of_models) == pytest.approx(models * (models + 1) / 2)
    assert sum(of["first"] for of in of_models) == pytest.approx(1)
    assert sum(numbers["position_bias"]["first_by_place"]) == pytest.approx(1)
    for of in numbers["pairs"]:
        assert of["win_rate"] == (of["wins"] + of["ties"] / 2) / of["n"]
        low, high = of["win_rate_interval"]
        assert low - 1e-9 <= of["win_rate"] <= high + 1e-9
    turned = dict(zip(made.letters, reversed(made.letters), strict=True))
    mirrored = judge(
        made,
        "ann",
        lambda item, order: {turned[letter]: r for letter, r in drawn[item.id].items()},
    )
    ranks = summary.summary(made, mirrored)["ranks"]
    assert [ranks[turned[letter]]["mean_rank"] for letter in made.letters] == pytest.approx(
        [of["mean_rank"] for of in of_models]
    )


def test_nobody_has_judged(tmp_path: Path) -> None:
    made = contest(tmp_path, number=2)
    numbers = summary.summary(made, [])
    assert (numbers["n"], numbers["pairs"][0]["win_rate"], numbers["agreement"]) == (0, None, None)
    assert numbers["ranks"]["A"]["mean_rank"] is None


# --------------------------------------------------------------------------------- and with judges


def verdicts(folder: Path, outcomes: list[str], files: tuple[str, str] | None) -> Path:
    folder.mkdir()
    path = folder / "verdicts.jsonl"
    rows = [{"id": f"q{i}", "judge": "m", "outcome": of} for i, of in enumerate(outcomes)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if files:
        hashes = dict(zip("AB", files, strict=True))
        (folder / "settings.json").write_text(json.dumps({"answers": hashes}))
    return path


def test_judges_are_compared_with_people_whatever_they_call_the_models(tmp_path: Path) -> None:
    made = contest(tmp_path, number=8, models=3)
    people = judge(made, "ann", best_first("B A C")) + judge(made, "bob", best_first("B A C"))
    people += judge(made, "cy", best_first("A B C"))
    hashes = made.settings["answers"]
    swapped = ["A"] * 5 + ["inconsistent", "B", "unparsed"]  # a judge whose A is our B
    path = verdicts(tmp_path / "swapped", swapped, (hashes["B"], hashes["A"]))
    judged = summary.summary(made, people, [path])["judges"]["m"]
    assert (judged["with_people"]["pairs"], judged["with_people"]["equal"]) == (7, 5 / 7)
    assert judged["with_annotators"]["cy"]["equal"] == 1 / 7
    low, high = judged["with_people"]["equal_interval"]
    assert low < 5 / 7 < high
    plain = verdicts(tmp_path / "plain", ["B"] * 8, None)
    judged = summary.summary(made, people, [plain])["judges"]["m"]
    assert judged["with_annotators"]["bob"]["equal"] == 1.0
    foreign = verdicts(tmp_path / "foreign", ["B"], ("sha256:1", hashes["A"]))
    with pytest.raises(ConfigError, match="are on other answers than those of this contest"):
        summary.summary(made, people, [foreign])


# ------------------------------------------------------------------------------------ the exports


def of_item(*texts: str, **more: Any) -> summary.Judged:
    letters = "ABCD"[: len(texts)]
    item = Item("q", "Which?", dict(zip(letters, texts, strict=True)))
    ranks = more.pop("ranks")
    return summary.Judged(item, Judgement(more.pop("by", "ann"), "q", letters, ranks, **more))


def test_ranks_are_means_and_an_edited_answer_is_better_than_all() -> None:
    judged = [
        of_item("x", "y", "z", ranks=(1, 2, 2)),
        of_item("x", "y", "z", ranks=(2, 1, 3), by="bob", correction="w", is_kept=True),
    ]
    (line,) = exports.rankings(judged)
    assert line == {
        "id": "q",
        "prompt": "Which?",
        "answers": [
            {"answer": "w", "rank": 0.0},
            {"answer": "x", "rank": 1.5},
            {"answer": "y", "rank": 1.75},
            {"answer": "z", "rank": 2.75},
        ],
    }


def test_answers_that_say_the_same_are_no_pair() -> None:
    (line,) = exports.rankings([of_item("x", "x", "z", ranks=(1, 2, 3))])
    assert line["answers"] == [{"answer": "x", "rank": 1.5}, {"answer": "z", "rank": 3.0}]
    assert exports.rankings([of_item("x", "x", ranks=(1, 2))]) == []
    assert exports.rankings([of_item("x", "y", ranks=(1, 1))]) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"is_kept": True}, "y"),
        ({"correction": CODE, "is_kept": True}, CODE),
        ({"correction": CODE}, None),
        ({"correction": " \n", "is_kept": True}, None),
    ],
)
def test_only_what_somebody_calls_right_is_a_correction(
    more: dict[str, Any], expected: str | None
) -> None:
    assert exports.corrected(of_item("x", "y", ranks=(2, 1), **more)) == expected


def test_what_people_said_is_built_into_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe of the page: the loop of the article, closed."""
    monkeypatch.chdir(tmp_path)
    made, out = contest(tmp_path, number=12), Path("out/arena")
    out.parent.mkdir()
    said_by = judge(made, "ann", best_first("A B")) + judge(made, "dee", best_first("A B"))
    said_by[0] = said_by[0]._replace(correction=CODE, is_kept=True)
    of_bob = [j._replace(is_kept=True) for j in judge(made, "bob", best_first("B A"))[:6]]
    of_bob[1] = of_bob[1]._replace(correction="Bob's\twords\n")
    said_by += of_bob
    saved(made, out, said_by)
    exports.export(contests.load(out), books.judgements(out), out)
    Path("corrected.yaml").write_text(PAGE.split("```yaml\n")[1].split("\n```")[0])
    loaded = load_recipe("corrected.yaml", ["split.test_percent=50"])
    build_dataset(loaded, "out/corrected", workers=1)
    assert [v.problems for v in verdicts_on(Path("out/corrected")) if v.outcome == "failed"] == []
    check({name: reader.scan(Path("out/corrected"), name).collect() for name in TABLES}, made)


def prompt_of(row: dict[str, Any]) -> str:
    return str((row.get("prompt") or row["messages"])[0]["content"])


def check(tables: dict[str, Any], made: Contest) -> None:
    """Both tables have what people said, and a prompt is in a single split in both."""
    rows = [(name, row) for name in TABLES for row in tables[name].to_dicts()]
    split_of = {(prompt_of(row), row["split"]) for _, row in rows}
    assert len(split_of) == len({prompt for prompt, _ in split_of}) == len(made.items)
    assert len({split for _, split in split_of}) == 2
    by_prompt: dict[str, set[str]] = {}
    for turns in tables["messages"]["messages"].to_list():
        by_prompt.setdefault(turns[0]["content"], set()).add(turns[1]["content"])
    first, second, third, *_, last = made.items
    assert by_prompt[first.prompt] == {CODE, first.answers["B"]}  # bob calls the answer of B right
    assert by_prompt[second.prompt] == {"Bob's\twords\n"}
    assert by_prompt[third.prompt] == {third.answers["A"], third.answers["B"]}
    assert by_prompt[last.prompt] == {last.answers["A"]}
    pairs = {
        (row["prompt"][0]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in tables["pairs"].to_dicts()
    }
    assert (first.prompt, CODE, first.answers["A"]) in pairs
    assert (second.prompt, "Bob's\twords\n", second.answers["A"]) in pairs
    assert (third.prompt, third.answers["A"], third.answers["B"]) in pairs
    assert len(pairs) == len(made.items) + 2 * 2


# ----------------------------------------------------------------------------------- the command


def test_the_page_of_the_docs_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second command runs behind its first, and it names every number."""
    monkeypatch.chdir(tmp_path)
    made = contest(tmp_path, number=4)
    Path("out").mkdir()
    saved(made, Path("out/arena"), judge(made, "ann", best_first("A B")))
    hashes = made.settings["answers"]
    verdicts(tmp_path / "out" / "judged", ["A"] * 4, (hashes["A"], hashes["B"]))
    line = PAGE.split("```sh\n")[2].split("\n")[0]
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "trainer.evaluation", "arena"]
    done = CliRunner().invoke(main, words[3:])
    assert done.exit_code == 0, done.output
    assert "good wins 100.0% against fair" in done.output
    assert "m agrees with people on 100.0% of 4 pairs" in done.output
    numbers = json.loads(Path("out/arena/summary.json").read_text())
    unnamed = {"settings", "versions"}
    assert [key for key in numbers if f"`{key}`" not in PAGE and key not in unnamed] == []
    first = Path("out/arena/summary.json").read_bytes()
    as_json = CliRunner().invoke(main, [*words[3:], "--json"])
    assert json.loads(as_json.output) == numbers
    assert Path("out/arena/summary.json").read_bytes() == first
    assert np.isfinite(numbers["length_bias"])


def test_verdicts_on_other_answers_are_refused_before_people_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=["x"], b=["y"])
    verdicts(tmp_path / "judged", ["A"], ("sha256:1", "sha256:2"))
    words = ["arena", "a.jsonl", "b.jsonl", "--out", "out", "--verdicts", "judged/verdicts.jsonl"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "are on other answers" in done.output) == (1, True), done.output


@pytest.mark.parametrize(
    "words", [[], ["a.jsonl", "b.jsonl"], ["a.jsonl", "--summary", "."], ["--out", "x"]]
)
def test_a_command_that_is_neither_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=["x"], b=["y"])
    done = CliRunner().invoke(main, ["arena", *words])
    assert done.exit_code == 2
    assert "name the files of answers and --out, or --summary" in done.output
