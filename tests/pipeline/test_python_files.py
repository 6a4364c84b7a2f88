"""Python files of recipes: which of them are run, and what is said of those that are wrong."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata import build_dataset, load_recipe
from chatdata.cli import main
from chatdata.core.errors import ChatdataError, ConfigError, ExtensionError
from chatdata.dataset import manifest
from chatdata.pipeline.recipe import Recipe
from chatdata.steps import functions
from chatdata.steps.filters import FILTERS
from tests.support.conversations import table

RECIPE = """
name: r
version: 1.0.0
source: {jsonl: {files: [chats.jsonl]}}
drop: [python: rules.py:long]
"""
LONG = 'def long(message, *, most: int = 99):\n    return len(message["content"]) > most\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    (tmp_path / "chats.jsonl").write_text(json.dumps({"id": "a", "messages": chat}))
    (tmp_path / "rules.py").write_text(LONG)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def load(folder: Path, *settings: str, **options: Any) -> Recipe:
    return load_recipe(folder / "r.yaml", settings, **options)


def said(folder: Path, code: str, *settings: str) -> str:
    """What a build with a Python file says."""
    (folder / "rules.py").write_text(code)
    with pytest.raises(ChatdataError) as error:
        build_dataset(load(folder, *settings), folder / "out")
    assert not (folder / "out").exists()
    return str(error.value)


FAULTS = {
    "def long(message) return": "'rules.py', line 1: this is not Python",
    "1 / 0": "'rules.py' fails while it is loaded (ZeroDivisionError",
    "import beside_it": "'rules.py' fails while it is loaded (ModuleNotFoundError",
    "def lang(message): ...": "'rules.py' has no function 'long'; did you mean 'lang'?",
    "def long(row): ...": "begins with the parameter 'row'; call it `message`",
    "def long(message, *, above: int = 1): ...": "has an option 'above'",
    "def long(message): ...": "filter 'long' (rules.py:long) returned nothing (None) for message "
    "'jsonl/a#0' in chats.jsonl:1; return True, False",
    "def long(message): return 3": "returned a value of type int for message 'jsonl/a#0'",
    "def long(message): return message['no']": "filter 'long' (rules.py:long) failed on message "
    "'jsonl/a#0' in chats.jsonl:1 (KeyError: 'no')",
    "def long(conversation): return conversation[7]": "failed on conversation 'jsonl/a' in "
    "chats.jsonl:1 (IndexError",
    "def long(messages): return [True]": "returned 1 values for 2 messages",
    "import polars as pl\ndef long(): return pl.col('no')": "failed on 2 messages "
    "(ColumnNotFoundError",
    "def long(): return 'words'": "returned a value of type str; return a Polars expression",
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_said_in_a_sentence(folder: Path, code: str) -> None:
    assert FAULTS[code] in said(folder, code)


def test_a_cleaner_names_the_message_on_which_it_fails(folder: Path) -> None:
    clean = ["drop=[]", "clean=[python: rules.py:long]"]
    words = said(folder, "def long(text): return text[9]", *clean)
    assert "cleaner 'long' (rules.py:long) failed on a text (IndexError" in words
    assert "It was message 'jsonl/a#" in words
    assert "returned nothing (None) for a text" in said(folder, "def long(text): ...", *clean)


def test_a_reader_says_where_it_failed(folder: Path) -> None:
    source = ["drop=[]", "source={x: {python: rules.py:read, files: [chats.jsonl]}}"]
    words = said(folder, "def read(path):\n    yield {'messages': []}\n    1 / 0", *source)
    assert "source 'x' (rules.py:read) failed on 'chats.jsonl' behind record 1 (Zero" in words
    assert "yielded a value of type int as record 1" in said(
        folder, "def read(path): return [3]", *source
    )
    assert "has no function 'read'" in said(folder, "def reader(path): ...", *source)
    with pytest.raises(ConfigError, match=r"write FILE.py:FUNCTION"):
        load(folder, "source={x: {python: rules.py, files: [chats.jsonl]}}")


def test_names_that_are_none(folder: Path) -> None:
    for drop, words in {
        "[python: rules.py]": "write FILE.py:FUNCTION",
        "[python: rules.txt:long]": "write FILE.py:FUNCTION",
        "[python: {most: 3}]": "names no function",
        "[python: {function: rules.py:long, most: x}]": "'most' is 'x'",
        "[python: {function: rules.py:long, least: 3}]": "unknown key 'least'",
        "[{python: rules.py:long}, {python: rules.py:long}]": "'long' is listed twice",
        "[python: no/rules.py:long]": "cannot be read (No such file or directory)",
        "[{python: rules.py:long}, {python: no/rules.py:more}]": "have the name 'rules.py'",
    }.items():
        with pytest.raises((ConfigError, ExtensionError), match=re.escape(words)):
            load(folder, f"drop={drop}")
    (folder / "rules.py").write_text("def empty(message): return False")
    with pytest.raises(ConfigError, match="chatdata has a filter 'empty'; rename the function"):
        load(folder, "drop=[python: rules.py:empty]")


def test_a_recipe_takes_its_code_along(folder: Path) -> None:
    recipe = load(folder, "drop=[python: {function: rules.py:long, most: 1}]")
    before = recipe.hash()
    (folder / "rules.py").unlink()
    (drop,) = pickle.loads(pickle.dumps(recipe)).drops()
    assert (drop.filter.name, drop.options["most"], drop.on_removed) == ("long", 1, "cut")
    (folder / "rules.py").write_text(LONG + "\n# another file")
    assert load(folder, "drop=[python: {function: rules.py:long, most: 1}]").hash() != before


# ------------------------------------------------------------------------------ whose code is run

BOOBY_TRAP = "from pathlib import Path\nPath({!r}).touch()\n" + LONG


def test_a_recipe_that_came_with_a_dataset_runs_nothing_unless_its_file_is_named(
    folder: Path,
) -> None:
    out, ran, data = folder / "out", folder / "ran", str(folder / "chats.jsonl")
    (folder / "rules.py").write_text(BOOBY_TRAP.format(str(ran)))
    build_dataset(load(folder), out)
    ran.unlink()
    (out / "rules.py").write_text((folder / "rules.py").read_text() + "# a stranger's")
    (folder / "moved.yaml").write_text((out / "recipe.yaml").read_text())
    run = CliRunner().invoke
    for command in (
        ["build", str(out / "recipe.yaml"), "--input", data, "--out", str(folder / "n")],
        ["check", str(out / "recipe.yaml"), "--input", data],
        ["check", str(folder / "moved.yaml"), "--input", data],
        ["verify", str(out), "--rebuild", "--input", data],
    ):
        done = run(main, command)
        assert done.exit_code == 1
        assert "not run unless you name it" in done.output.replace("\n", " ")
    for command in (
        ["verify", str(out)],
        ["show", str(out)],
        ["stats", str(out)],
        ["diff", str(out), str(out)],
        ["report", str(out)],
        ["render", str(out), "--tokenizer", "bytes", "--out", str(folder / "rendered")],
        ["verify", str(folder / "rendered")],
    ):
        assert run(main, command).exit_code == 0, command
    assert not ran.exists()


def test_verify_rebuild_says_that_a_file_has_changed_and_build_refuses_it(folder: Path) -> None:
    out, data, rules = folder / "out", str(folder / "chats.jsonl"), folder / "rules.py"
    build_dataset(load(folder), out)
    again = ["verify", str(out), "--rebuild", "--input", data, "--python", str(rules)]
    assert CliRunner().invoke(main, again).exit_code == 0
    rules.write_text(LONG + "# changed")
    done = CliRunner().invoke(main, again)
    assert done.exit_code == 1
    assert "the Python file 'rules.py' has changed: its SHA-256 was" in done.output
    with pytest.raises(ConfigError, match="has changed: the recipe states"):
        load_recipe(out / "recipe.yaml", python=[str(rules)])
    (folder / "other.py").touch()
    with pytest.raises(ConfigError, match="the recipe names no file of this name"):
        load(folder, python=[str(folder / "other.py")])


def test_the_manifest_states_the_hash_of_the_file(folder: Path) -> None:
    build_dataset(load(folder), folder / "out")
    (entry,) = manifest.read(folder / "out").extensions or ()
    (options,) = manifest.read(folder / "out").recipe.filters.values()
    assert (entry.kind, entry.name, entry.sha256) == ("filter", "long", options["sha256"])


# -------------------------------------------------------------------------------------- patterns


def hits(pattern: str | list[str], role: str | None = None) -> list[bool]:
    turns = [("user", "An AI?"), ("assistant", "As an AI, no."), ("assistant", None)]
    rows = table({"a": turns})
    expression = FILTERS["matches"].expression(pattern=pattern, role=role).fill_null(False)
    return rows.select(expression).to_series().to_list()


def test_matches_looks_for_patterns_in_words_of_a_role() -> None:
    assert hits("AI") == [True, True, False]
    assert hits("AI", "assistant") == [False, True, False]
    assert hits(["^As", r"\?$"]) == [True, True, False]


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "(((a{1000}){1000}){1000})", ""])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        load_recipe("sample", [f"drop=[matches: {{pattern: {json.dumps(pattern)}}}]"])


def test_no_pattern_takes_more_than_the_time_of_the_text() -> None:
    rows = pl.DataFrame({"content": ["a" * 100_000 + "!"], "role": ["user"]})
    expression = FILTERS["matches"].expression(pattern="^(a+)+$")
    assert rows.select(expression).item() is False


def test_a_function_of_numbers_needs_a_limit() -> None:
    made = functions.as_filter("size", lambda messages: messages["position"], "here")
    rows = table({"a": [("user", "x"), ("assistant", "y")]})
    assert made.column is not None
    for limits, goes in (({"above": 0.0}, [False, True]), ({"below": 1.0}, [True, False])):
        judged, _ = made.column.make(rows, limits, Path())
        assert judged["size__goes"].to_list() == goes
        assert judged["size__why"].to_list() == ["0", "1"]
    with pytest.raises(ExtensionError, match="a number with `above` or `below`"):
        made.column.make(rows, {}, Path())
