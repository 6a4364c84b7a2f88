"""The difference of two folders is what comparing their rows by hand says, and what it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.cli.browse.queries import Browser, Query
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest_diff, reader, report
from chatdata.verify import comparison, verification
from chatdata.verify.comparison import Comparison
from chatdata.verify.dataset_diff import between, word_changes
from chatdata.verify.row_changes import ABSENT

RECIPE = """
name: d
version: 1.0.0
source: {jsonl: {}}
drop: [empty, duplicate]
split: {test_percent: 40}
render: {tokenizer: bytes, template: chatml}
max_dropped: 1.0
"""


def talk(id: str, question: str = "a question", answer: str = "an answer") -> dict[str, Any]:
    turns = [("user", question), ("assistant", answer)]
    return {
        "id": id,
        "source": "x",
        "messages": [{"role": role, "content": text} for role, text in turns],
    }


def make(folder: Path, name: str, talks: list[dict[str, Any]], *settings: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "d.yaml").write_text(RECIPE)
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, talks)))
    recipe = load_recipe(folder / "d.yaml", settings)
    build_dataset(recipe, folder / name, inputs=[str(folder / "a.jsonl")])
    return folder / name


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions of one dataset, between which everything happens."""
    folder = tmp_path_factory.mktemp("diff")
    same = [talk(f"same-{i}", f"same question {i}", "yes") for i in range(6)]
    old = [
        *same,
        *(talk(f"goes-{i}", f"it goes {i}") for i in range(2)),
        talk("emptied", "what is left of this?", "nothing"),
        talk("changed", "how long is a mile?", "A mile is 1,600 metres long, more or less."),
        {**talk("shorter"), "messages": talk("shorter")["messages"] * 2},
    ]
    new = [
        *same,
        *(talk(f"comes-{i}", f"it comes {i}") for i in range(3)),
        {**talk("emptied"), "messages": [{"role": "user", "content": " "}]},
        talk("changed", "how long is a mile?", "A mile is 1,609 metres long, more or less."),
        talk("shorter"),
    ]
    options = ["version=1.1.0", "split.test_percent=60", "render.max_tokens=900", "threads.end=any"]
    return make(folder, "old", old), make(folder, "new", new, *options)


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in reader.scan(folder, "messages").collect().to_dicts()}


def test_the_difference_is_that_of_the_rows(pair: tuple[Path, Path]) -> None:
    difference = between(*pair)
    old, new = rows(pair[0]), rows(pair[1])
    both = old.keys() & new.keys()
    changed = {id for id in both if old[id]["messages"] != new[id]["messages"]}
    assert difference.rows["added"] == len(new.keys() - old.keys()) == 3
    assert difference.rows["removed"] == len(old.keys() - new.keys()) == 3
    assert difference.rows["changed"] == len(changed) == 2
    assert difference.rows["the_same"] == len(both - changed)
    moved = [(old[id]["split"], new[id]["split"]) for id in both]
    expected = sum(before != after for before, after in moved)
    assert sum(difference.moved.values()) == expected > 0
    assert set(difference.moved) == {"train → test"}
    (source,) = difference.sources
    assert source["before"] == len(old)
    assert source["after"] == len(new)


def test_the_other_ledger_says_why_rows_came_and_went(pair: tuple[Path, Path]) -> None:
    difference = between(*pair)
    assert difference.removed_because == {ABSENT: 2, "empty": 1}
    assert difference.added_because == {ABSENT: 3}


def test_the_difference_is_symmetric(pair: tuple[Path, Path]) -> None:
    forward, backward = between(*pair), between(*pair[::-1])
    assert forward.rows["added"] == backward.rows["removed"]
    assert forward.rows["changed"] == backward.rows["changed"]
    assert set(backward.moved) == {"test → train"}
    assert [(c.key, c.before, c.after) for c in forward.changes.recipe] == [
        (c.key, c.after, c.before) for c in sorted(backward.changes.recipe, key=_order(forward))
    ]


def _order(difference: Any) -> Any:
    keys = [change.key for change in difference.changes.recipe]
    return lambda change: keys.index(change.key)


def test_recipes_are_compared_key_by_key(pair: tuple[Path, Path]) -> None:
    values = {change.key: (change.before, change.after) for change in between(*pair).changes.recipe}
    assert values == {
        "threads.end": ("assistant", "any"),
        "split.test_percent": (40.0, 60.0),
        "render.max_tokens": (None, 900),
    }


def test_examples_show_the_words_that_changed(pair: tuple[Path, Path]) -> None:
    examples = {example.id: example for example in between(*pair).changed}
    mile = examples["jsonl/changed"]
    assert (mile.turn, mile.role) == (1, "assistant")
    signs = [(word.sign, word.text) for word in mile.words]
    assert ("-", "600") in signs
    assert ("+", "609") in signs
    assert examples["jsonl/shorter"].turn == 2
    assert examples["jsonl/shorter"].words[0].sign == "-"


def test_a_folder_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    difference = between(pair[0], pair[0])
    assert {key for key, number in difference.rows.items() if number} == {"the_same"}
    assert not any(difference.changes.as_json().values())
    assert not difference.moved
    assert not difference.changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["render.template=starchat"], "retokenised"),
        (["render.train_on=all"], "relabelled"),
        (["source={jsonl: {name: other}}"], "added"),
    ],
)
def test_changed_tokens_labels_and_ids_are_counted_apart(
    tmp_path: Path, options: list[str], key: str
) -> None:
    talks = [talk(f"same-{i}", f"same question {i}") for i in range(4)]
    difference = between(make(tmp_path, "a", talks), make(tmp_path, "b", talks, *options))
    assert difference.rows[key] == 4
    assert difference.rows["the_same"] == 0
    if key != "added":
        both = Comparison(tmp_path / "a", tmp_path / "b").pair("jsonl/same-0")["tokens"]
        texts = ["".join(s["text"] for s in both[side] if s["is_trained"]) for side in both]
        assert [text.count("same question") for text in texts] == [0, key == "relabelled"]
    if key == "retokenised":
        keys = {change.key for change in difference.changes.render}
        assert keys >= {"template.name", "template.stop"}


@pytest.mark.slow
def test_a_dataset_that_lost_its_tokens(tmp_path: Path) -> None:
    talks = [talk("one"), talk("two", "another")]
    difference = between(make(tmp_path, "a", talks), make(tmp_path, "b", talks, "render=null"))
    assert difference.rows["the_same"] == 2
    assert difference.before["tokens"] > 0
    assert difference.after["tokens"] is None


# --------------------------------------------------------------------------------------- words


@settings(max_examples=50)
@given(st.text(max_size=100), st.text(max_size=100))
def test_words_give_both_texts_from_a_little_before_their_first_difference(
    before: str, after: str
) -> None:
    words = word_changes(before, after)
    old = "".join(word.text for word in words if word.sign != "+")
    new = "".join(word.text for word in words if word.sign != "-")
    assert before.endswith(old)
    assert after.endswith(new)
    assert before[: len(before) - len(old)] == after[: len(after) - len(new)]


def test_words_of_long_texts_are_few_and_found_at_once() -> None:
    same = "word " * 200_000
    words = word_changes(f"{same}a {same}", f"{same}b {same}")
    assert sum(len(word.text) for word in words) < 3000
    assert [word.text for word in words if word.sign != "="] == ["a", "b"]


# ------------------------------------------------------------------------------- side by side


@pytest.fixture(scope="module")
def compared(pair: tuple[Path, Path]) -> Comparison:
    return Comparison(*pair)


def words(turn: dict[str, Any] | None) -> str:
    return "".join(word.text for word in turn["words"]) if turn else ""


def test_what_is_shown_side_by_side_is_what_the_difference_counts(
    pair: tuple[Path, Path], compared: Comparison
) -> None:
    difference = between(*pair)
    counted = {kind: difference.rows.get(kind, 0) for kind in comparison.ABOUT}
    counted["moved"] = sum(difference.moved.values())
    listed = {kind: compared.listed(kind).height for kind in comparison.ABOUT}
    assert listed == counted
    assert set(compared.numbers) == {"changed", "added", "removed", "moved"}
    (why,) = compared.listed("removed").filter(reason="empty").to_dicts()
    assert why["id"] == "jsonl/emptied"


def test_a_changed_conversation_is_shown_with_both_texts(
    pair: tuple[Path, Path], compared: Comparison
) -> None:
    old, new = rows(pair[0])["jsonl/changed"], rows(pair[1])["jsonl/changed"]
    shown = compared.pair("jsonl/changed")
    first, second = shown["turns"]
    assert (first["is_same"], words(first)) == (True, old["messages"][0]["content"])
    assert words(second["before"]) == old["messages"][1]["content"]
    assert words(second["after"]) == new["messages"][1]["content"]
    assert ("-", "600") in second["before"]["words"]
    assert ("+", "609") in second["after"]["words"]
    *_, question, answer = compared.pair("jsonl/shorter")["turns"]
    assert (question["after"], words(answer["before"])) == (None, "an answer")
    removed = compared.pair("jsonl/goes-0")
    assert removed["places"]["after"] is None
    assert [turn["is_same"] for turn in removed["turns"]] == [False, False]


def test_the_middle_of_what_is_the_same_is_left_out() -> None:
    same = "word " * 400
    turns = [{"role": "user", "content": f"{same}{end} {same}"} for end in ("a ", "b")]
    (turn,) = comparison._turns(turns[:1], turns[1:])
    for side in ("before", "after"):
        signs = [sign for sign, _ in turn[side]["words"]]
        assert (signs[0], signs[-1]) == ("…", "…")
        assert len(words(turn[side])) < 1000


def test_a_page_has_both_and_is_a_function_of_the_folders(pair: tuple[Path, Path]) -> None:
    page = comparison.page(*pair)
    assert page == comparison.page(*pair)
    assert str(pair[0].parent) not in page
    for text in ("<del>600</del>", "<ins>609</ins>", "it goes 1", "it comes 2", "jsonl/emptied"):
        assert text in page, text
    assert "split.test_percent: 40.0 → 60.0" in page
    assert "script" not in page
    assert "Recipe, sources, rendering and versions are the same." in comparison.page(*pair[:1] * 2)


def test_texts_of_data_stay_texts(tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)></pre><script>alert(1)</script>"
    old = make(tmp_path, "old", [talk("a", attack, "x"), talk(attack, "b")])
    new = make(tmp_path, "new", [talk("a", attack, f"y {attack}"), talk("c", attack, attack)])
    page = comparison.page(old, new)
    assert "&lt;img src=x" in page
    assert "<img" not in page
    assert "<script" not in page


def test_the_served_page_lists_what_changed(pair: tuple[Path, Path], compared: Comparison) -> None:
    browser = Browser(pair[1], pair[0])
    told = browser.facts()["compared"]
    assert {kind["name"]: kind["number"] for kind in told["kinds"]} == compared.numbers
    for kind, number in compared.numbers.items():
        answer = browser.changes(Query(kind=kind))
        assert [row["id"] for row in answer["rows"]] == compared.listed(kind)["id"].to_list()
        assert len(answer["rows"]) == number
        assert all(row["begins"] for row in answer["rows"])
    assert browser.change("jsonl/changed") == compared.pair("jsonl/changed")
    with pytest.raises(OutputError, match="nothing is 'lost'; known: changed, added"):
        browser.changes(Query(kind="lost"))
    with pytest.raises(OutputError, match="no conversation has the id 'x'"):
        browser.change("x")
    assert Browser(pair[1]).facts()["compared"] is None


# ----------------------------------------------------------------------------------- the command


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_is_readable(pair: tuple[Path, Path]) -> None:
    shown = run("diff", *pair).stdout
    for words in (
        "d 1.0.0 → d 1.1.0",
        "conversations 11 → 11 (+0): 3 added, 3 removed, 2 changed, ",
        "moved, train → test",
        "removed, by the reason in the second ledger: not among its conversations 2, empty 1",
        "split.test_percent: 40.0 → 60.0",
        "changed jsonl/changed, turn 1 (assistant)",
        "[-600-]{+609+}",
        "messages.empty: none → 1",
    ):
        assert words in shown, words


def test_the_page_of_both_is_written_where_it_is_asked_for(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = run("report", pair[1], "--against", pair[0], "--page", page)
    assert (done.output, page.read_text()) == (f"{page}\n", comparison.page(*pair))
    assert run("report", pair[1], "--against", pair[0]).output == f"{pair[1] / report.COMPARISON}\n"
    assert report.COMPARISON not in verification.unknown_files(pair[1])
    assert run("report", pair[1], "--page", page).output == f"{page}\n"
    assert page.read_text() == report.page(pair[1])
    assert run("report", pair[1], "--page", page, "--serve").exit_code == 2


def test_the_command_prints_json(pair: tuple[Path, Path]) -> None:
    difference = json.loads(run("diff", *pair, "--json", "-n", "1").stdout)
    assert difference["rows"]["added"] == 3
    assert len(difference["changed"]) == len(difference["added"]) == 1
    assert difference["changes"]["recipe"][0].keys() == {"key", "before", "after"}


def test_a_folder_that_is_not_a_build_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("diff", pair[0], tmp_path)
    assert done.exit_code == 1
    assert "is not a finished build" in done.stderr


def test_texts_are_not_held(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is joined is ids and digests; texts are read for the examples alone."""
    from chatdata.verify import row_changes

    joined: list[pl.DataFrame] = []
    honest = row_changes._index
    monkeypatch.setattr(
        row_changes, "_index", lambda *arguments: joined.append(honest(*arguments)) or joined[-1]
    )
    between(*pair)
    assert {name for table in joined for name in table.columns} == set(row_changes.INDEX)
    width = max(len(value) for table in joined for value in table["messages"])
    assert width == 16


def test_a_template_that_changed_is_named_on_a_line() -> None:
    change = manifest_diff.Change("template.source", "{% if a %}\n<b>\u2028{% endif %}", "x\r\ny")
    assert str(change) == r"template.source: {% if a %}\n<b>" + "\u2028{% endif %} → x\\r\\ny"
