"""What `keep` of a recipe names stays, whatever filters say; nothing else changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import load_recipe, render_dataset
from chatdata.cli import main
from chatdata.core.errors import ConfigError
from chatdata.core.ledger import REASONS
from chatdata.dataset import manifest, reader
from chatdata.steps.filters import FILTERS
from chatdata.verify.verification import verdicts_on
from tests.support.builds import TALKS, TREES, make, rows_of, talk_file, tree_file

TEXTS = {"trees": TREES, "talks": TALKS}
DATA = {"trees": tree_file, "talks": talk_file}
INDIRECT = r"^(?:because of|goes with|below) "


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Builds of trees and of conversations without `keep`."""
    folders = {name: tmp_path_factory.mktemp(name) for name in TEXTS}
    return {name: make(to, TEXTS[name], DATA[name](to), "plain") for name, to in folders.items()}


def again(plain: Path, kind: str, name: str, *settings: str, **options: Any) -> Path:
    """The same build with settings."""
    (data,) = plain.parent.glob(f"{kind}.json*")
    return make(plain.parent, TEXTS[kind], data, name, *settings, **options)


def said(folder: Path) -> dict[str, Any]:
    """What each conversation says. Groups and splits follow duplicates that were found."""
    return {row["id"]: row["messages"] for row in rows_of(folder)}


def dropped(folder: Path) -> pl.DataFrame:
    return reader.scan_ledger(folder).filter(outcome="dropped").collect()


def by_filters(folder: Path) -> pl.DataFrame:
    """The messages that filters of messages drop by themselves, and the conversations that filters
    of conversations drop."""
    rows = dropped(folder).filter(pl.col("detail").fill_null("").str.contains(INDIRECT).not_())
    of_messages = [name for name, filter_ in FILTERS.items() if filter_.unit == "message"]
    is_of_message = pl.col("reason").is_in(of_messages)
    is_direct = (pl.col("unit") == "message") == is_of_message
    by_name = [name for name in FILTERS if name not in REASONS]  # those that no step has too
    return rows.filter(pl.col("reason").is_in(by_name), is_direct)


def keep(ids: list[str]) -> str:
    return f"keep={json.dumps(ids)}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS)
def test_to_name_everything_is_to_have_no_filters(plain: Mapping[str, Path], kind: str) -> None:
    out = plain[kind]
    without = again(out, kind, "without", "drop=[]")
    names = [row["id"] for row in rows_of(without)]
    names += dropped(out).filter(unit="message")["id"].unique().sort().to_list()
    kept = again(out, kind, "kept", keep(sorted(set(names))))
    assert len(rows_of(kept)) > len(rows_of(out))
    assert said(kept) == said(without)
    assert manifest.read(kept).kept_by_hand
    assert not [verdict for verdict in verdicts_on(kept) if verdict.outcome == "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS)
def test_what_is_named_is_spared_and_nothing_else(plain: Mapping[str, Path], kind: str) -> None:
    """What is dropped in both builds is dropped for the same reason, or goes with less."""
    out = plain[kind]
    names = by_filters(out)["id"].unique().sort().gather_every(3).to_list()
    kept = again(out, kind, "some", keep(names))
    assert len(names) > 5
    assert set(by_filters(kept)["id"]).isdisjoint(names)
    noted = reader.scan_ledger(kept).filter(pl.col("detail").str.contains("by hand")).collect()
    assert {id for id in noted["id"] if id.rpartition("#")[0] not in names} <= set(names)
    assert noted.height == sum(
        number for of in (manifest.read(kept).kept_by_hand or {}).values() for number in of.values()
    )


# --------------------------------------------------------------------------------- small and plain

RECIPE = """
name: k
version: 1.0.0
source: {jsonl: {files: [talks.jsonl]}}
drop: [wrong_language: {allow: [en]}, error_answer, too_many_turns: {above: 4}, duplicate]
max_dropped: 1
"""


def talk(id: str, *texts: object, **more: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(texts)
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {"id": id, "messages": turns, "lang": "en", **more}


TALKS_IN_SMALL = [
    talk("plain", "Hi", "Hello"),
    talk("again", "Hi", "Hello"),
    talk("french", "Bonjour", "Salut", lang="fr"),
    talk("long", *"abcdef"),
    talk("error", "Hi there", "Too many requests in 1 hour. Try again later.", "Oh", "Now, yes"),
    talk("odd", 3, "What?"),
    talk("twice", "One", "1"),
    talk("twice", "Deux", "2", lang="fr"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "talks.jsonl").write_text("\n".join([*map(json.dumps, TALKS_IN_SMALL), "{broken"]))
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def build(folder: Path, *ids: str) -> tuple[Path, str]:
    """A folder that keeps these ids, and what its build says on stderr."""
    out = folder / "out"
    command = ["build", str(folder / "r.yaml"), "--out", str(out), "--force"]
    done = CliRunner().invoke(main, [*command, "--set", keep(list(ids))])
    assert done.exit_code == 0, done.output
    return out, done.stderr


def kept(out: Path) -> dict[str, str]:
    rows = reader.scan_ledger(out).filter(outcome="kept").select("id", "detail").collect()
    return {id: detail for id, detail in rows.iter_rows() if "by hand" in detail}


def test_the_ledger_says_what_was_kept_by_hand(folder: Path) -> None:
    (twice,) = reader.explain(build(folder)[0], "twice").filter(
        reason="wrong_language", unit="conversation"
    )["id"]
    out, _ = build(folder, "jsonl/plain", "jsonl/french", "jsonl/long", f"{twice}#0", f"{twice}#1")
    assert kept(out) == {
        "jsonl/plain": "in train; kept by hand, not dropped as duplicate (says the same as "
        "jsonl/again)",
        "jsonl/french#0": "turn 0; kept by hand, not dropped as wrong_language (fr)",
        "jsonl/french#1": "turn 1; kept by hand, not dropped as wrong_language (fr)",
        "jsonl/long": "in train; kept by hand, not dropped as too_many_turns",
        f"{twice}#0": "turn 0; kept by hand, not dropped as wrong_language (fr)",
        f"{twice}#1": "turn 1; kept by hand, not dropped as wrong_language (fr)",
    }
    assert manifest.read(out).kept_by_hand == {
        "conversations": {"duplicate": 1, "too_many_turns": 1},
        "messages": {"wrong_language": 4},
    }
    words = "1 conversation (`duplicate`), 1 conversation (`too_many_turns`)"
    assert f"{words}, 4 messages (`wrong_language`)." in (out / "README.md").read_text()


def test_what_stands_behind_a_message_that_goes_goes_with_it(folder: Path) -> None:
    out, said_so = build(folder, "jsonl/error#3")
    assert said_so == (
        "keep names 'jsonl/error#3', and it was dropped all the same (error_answer: goes with "
        "jsonl/error#1)\n"
    )
    out, said_so = build(folder, "jsonl/error#1")
    assert said_so == ""
    assert [len(row["messages"]) for row in rows_of(out) if row["id"] == "jsonl/error"] == [4]


def test_what_no_template_can_write_cannot_be_kept(folder: Path) -> None:
    _, said_so = build(folder, "jsonl/odd#0", "jsonl/odd")
    assert said_so.splitlines() == [
        "keep names 'jsonl/odd', and it was dropped all the same (bad_content: because of "
        "jsonl/odd#0)",
        "keep names 'jsonl/odd#0', and it was dropped all the same (bad_content: not text but int)",
    ]


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("jsonl/nobody", "keep names 'jsonl/nobody', and no message or conversation has this id"),
        ("talks.jsonl:9", r"'talks.jsonl:9', which could not be read \(bad_json: .*cannot be kept"),
    ],
)
@pytest.mark.parametrize("command", ["build", "check"])
def test_a_name_that_names_nothing_is_refused(
    folder: Path, command: str, id: str, words: str
) -> None:
    out = ["--out", str(folder / "out")] if command == "build" else []
    arguments = [command, str(folder / "r.yaml"), *out, "--set", keep([id])]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert re.search(words, done.stderr), done.stderr
    assert not (folder / "out").exists()


def test_names_are_part_of_the_recipe(folder: Path) -> None:
    recipes = [load_recipe(folder / "r.yaml", [keep(ids)]) for ids in ([], ["jsonl/long"])]
    assert recipes[0].hash() == load_recipe(folder / "r.yaml").hash() != recipes[1].hash()
    with pytest.raises(ConfigError, match="'a' is named 2 times"):
        load_recipe(folder / "r.yaml", [keep(["a", "a"])])


@pytest.mark.slow
def test_a_folder_that_is_rendered_again_says_it_too(folder: Path) -> None:
    out, _ = build(folder, "jsonl/french", "jsonl/long", "jsonl/plain")
    rendered = folder / "rendered"
    settings = ["render.max_tokens=60", "render.overflow=drop", "max_dropped=1"]
    render_dataset(out, rendered, tokenizer="bytes", template="chatml", settings=settings)
    assert kept(rendered) == {id: words for id, words in kept(out).items() if "long" not in id}
    assert manifest.read(rendered).kept_by_hand == {
        "conversations": {"duplicate": 1},
        "messages": {"wrong_language": 2},
    }
    assert not [verdict for verdict in verdicts_on(rendered) if verdict.outcome == "failed"]
    facts = json.loads((rendered / "manifest.json").read_text())
    facts["kept_by_hand"]["messages"]["wrong_language"] = 1
    (rendered / "manifest.json").write_text(json.dumps(facts))
    problems = [text for verdict in verdicts_on(rendered) for text in verdict.problems]
    assert any(text.startswith("kept by hand: the manifest says") for text in problems)
