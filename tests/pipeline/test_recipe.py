"""Recipes and overrides: strict, with the nearest key, and the values one wrote."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatdata.cli.commands import main
from chatdata.core import config
from chatdata.core.errors import ConfigError, SourceError
from chatdata.pipeline import engines, find, inputs, shipped
from chatdata.pipeline.recipe import Recipe
from chatdata.render.encoding.audit import AUDIT_MODES
from chatdata.render.template_spec import CHATML
from chatdata.render.templates import TEMPLATES, BuiltIn

WHOLE = """
name: x
version: 1.0.0
source: {oasst: {repo: a/b, revision: main}}
clean: [invisible, white_space: {max_blank_lines: 1}]
threads: {policy: all_leaves, end: assistant}
drop:
  - deleted
  - wrong_language: {allow: [en, no], decide: declared, on_removed: drop}
  - too_few_turns: {below: 3}
  - duplicate
split: {test_percent: 10}
render: {template: starchat, tokenizer: bytes}
publish: {license: apache-2.0}
"""

# Ten lists, each of ten times the list before.
EXPLOSION = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghij"))


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


def load(folder: Path, *settings: str, text: str = WHOLE) -> Recipe:
    return find.load(write(folder, text), settings)


def test_a_whole_recipe(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert [drop.filter.name for drop in loaded.drops()] == [
        "deleted",
        "wrong_language",
        "too_few_turns",
        "duplicate",
    ]
    wrong_language = loaded.drops()[1]
    assert wrong_language.options == {"allow": ["en", "no"], "decide": "declared"}
    assert wrong_language.on_removed == "drop"
    assert [step.cleaner.name for step in loaded.steps()] == ["invisible", "white_space"]
    assert [step.options for step in loaded.steps()] == [{}, {"max_blank_lines": 1}]


@pytest.mark.parametrize("path", shipped.recipes(), ids=lambda path: path.stem)
def test_every_shipped_recipe_parses_and_says_what_it_is(path: Path) -> None:
    loaded = find.load(path.stem)
    assert loaded.name == path.stem
    assert loaded.about


def test_the_contract_names_are_shipped() -> None:
    names = {path.stem for path in shipped.recipes()}
    assert {"oasst1", "oasst1-en", "sharegpt", "starchat-alpha", "sample"} <= names


def test_a_resolved_recipe_is_the_same_recipe(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    again = load(tmp_path, text=config.dump_yaml(loaded.resolved()))
    assert again.resolved() == loaded.resolved()
    assert again.hash() == loaded.hash()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["drpo=[]"], "unknown key 'drpo'; did you mean 'drop'?"),
        (["render.max_token=3"], "render: unknown key 'max_token'; did you mean 'max_tokens'?"),
        (["render.max_tokens=many"], "'render.max_tokens' is 'many'"),
        (["render.max_tokens=true"], "'render.max_tokens' is True"),
        (["max_dropped='0.5'"], "'max_dropped' is '0.5'"),
        (["threads.end=asistant"], "'threads.end' is 'asistant'"),
        (["threads.train_once='false'"], "'threads.train_once' is 'false'"),
        (["threads.policy=top_k"], "policy top_k needs a number"),
        (["threads={policy: all_leaves, top_k: 2}"], "top_k 2 has no meaning"),
        (["drop=[delete]"], "unknown filter 'delete'; did you mean 'deleted'?"),
        (["drop=[{wrong_language: {alow: [en]}}]"], "unknown key 'alow'; did you mean 'allow'?"),
        (["drop=[{wrong_language: {allow: en}}]"], "wrong_language: 'allow' is 'en'"),
        (
            ["drop=[{deleted: {on_removed: hide}}]"],
            "deleted: 'on_removed' is 'hide': Input should be 'cut', 'drop', 'untrain' or 'skip'",
        ),
        (["drop=[{too_few_turns: 3}]"], "too_few_turns: 3 is not options"),
        (["clean=[htlm]"], "unknown cleaner 'htlm'; did you mean 'html'?"),
        (["clean=[html, html]"], "cleaner 'html' is listed twice"),
        (["clean=html"], "'html' is not a list of cleaners"),
        (["clean=[{white_space: {max_blank: 2}}]"], "did you mean 'max_blank_lines'?"),
        (["clean=[{white_space: {max_blank_lines: 0}}]"], "'max_blank_lines' is 0"),
        (["clean=[{html: {on_removed: cut}}]"], "html: unknown key 'on_removed'"),
        (["claen=[]"], "unknown key 'claen'; did you mean 'clean'?"),
        (["threads.repeated_role=join"], "'threads.repeated_role' is 'join'"),
        (["drop=[duplicate, deleted]"], "list 'deleted' first, since it runs first"),
        (["drop=[deleted, deleted]"], "filter 'deleted' is listed twice"),
        (["drop=deleted"], "is not a list of filters"),
        (["drop.deleted=1"], "drop: deleted: 1 is not options; write deleted: {option: value}"),
        (["drop.deletd.on_removed=cut"], "'drop' lists no 'deletd'; did you mean 'deleted'?"),
        (
            ["clean=[]", "clean.html.a=1"],
            "'clean' lists no 'html'; it is empty; write clean=[html]",
        ),
        (["name.a=1"], "--set name.a=1: 'name' is 'x', which has no key 'a'; set 'name' as a"),
        (["source={osst: {}}"], "unknown source 'osst'; did you mean 'oasst'?"),
        (["source={sharegpt: {}}"], "filter 'deleted' needs 'deleted', which source 'sharegpt'"),
        (["source={oasst: {repo: a/b}}"], "needs a `revision`"),
        (["source={}"], "name at least one source"),
        (["render.template=starchta"], "unknown template 'starchta'; did you mean 'starchat'?"),
        (["version=1.0"], "1.0 is a number; write three parts"),
        (["name=null"], "'name' is None"),
        (["name=../x"], "'name' is '../x'"),
        (["split.test_percent=200"], "'split.test_percent' is 200"),
        (["drop=[{wrong_language: {allow: []}}]"], "wrong_language: allow: nothing stands there"),
        (["drop=[{secret: {kinds: []}}]"], "secret: kinds: nothing stands there; write a value"),
        (["drop=[{contaminated: {against: ['']}}]"], "against.0: nothing stands there"),
        (["drop=[{contaminated: {against: []}}]"], "against: nothing stands there"),
        (["drop=[{contaminated: {against: [a], fields: [' ']}}]"], "fields.0: nothing stands"),
        (["drop=[{too_few_turns: {below: 0}}]"], "too_few_turns: 'below' is 0"),
        (["clean=[{drop_variables: {names: []}}]"], "names: nothing stands there"),
        (["redact={kinds: []}"], "redact.kinds: nothing stands there"),
        (["render.tokenizer=''"], "render.tokenizer: nothing stands there"),
        (["publish={license: ''}"], "publish.license: nothing stands there"),
        (["publish={repo: ''}"], "publish.repo: nothing stands there"),
        (["source.oasst.repo=''"], "source.oasst.repo: nothing stands there; write a value, or"),
        (["source.oasst.files=['']"], "source.oasst.files.0: nothing stands there"),
        (["source.oasst.license=' '"], "source.oasst.license: nothing stands there"),
        (["source={oasst: {revision: a1}}"], "revision 'a1' is of a `repo`, and none is named"),
        (["source.oasst.weight=.inf"], "'source.oasst.weight' is inf"),
        (["source.oasst.cap=0"], "every source has a cap of 0, so that nothing is read"),
        (["threads.repeated_role=merge"], "repeated_role is merge, which is for lists of messages"),
        (["source={jsonl: {}}", "drop=[]", "threads=best_rank"], "and no source has trees"),
        (["source={jsonl: {}}", "drop=[]", "threads.max_paths=9"], "max_paths is 9, which limits"),
        (["source={jsonl: {}}", "drop=[]", "threads={top_k: 2}"], "policy is top_k, which chooses"),
        (["split.test_percent=.nan"], "'split.test_percent' is nan"),
        (["max_dropped=.nan"], "'max_dropped' is nan"),
        (["render.variables={a: {b: [.inf]}}"], "inf is no number that a template can be given"),
        (
            ["drop=[{bad_content: {on_removed: untrain}}]"],
            "Input should be 'cut', 'drop' or 'skip'",
        ),
        (["drop=[{unknown_role: {on_removed: untrain}}]"], "unknown_role: 'on_removed' is 'untr"),
        (["nothing"], "--set nothing: write it as KEY=VALUE"),
        (["drop=[1"], "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(
    tmp_path: Path, settings: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "policy", "top_k"),
    [
        ("threads=best_rank", "best_rank", None),
        ("threads={top_k: 3}", "top_k", 3),
        ("threads={policy: {top_k: 3}}", "top_k", 3),
        ("threads={policy: top_k, top_k: 3}", "top_k", 3),
        ("threads=null", "all_leaves", None),
    ],
)
def test_threads_in_short(tmp_path: Path, settings: str, policy: str, top_k: int | None) -> None:
    threads = load(tmp_path, settings).threads
    assert (threads.policy, threads.top_k) == (policy, top_k)


def test_a_setting_walks_through_null(tmp_path: Path) -> None:
    assert load(tmp_path, "render=null").render is None
    text = WHOLE.replace("render: {template: starchat, tokenizer: bytes}", "render: null")
    rendered = load(tmp_path, "render.tokenizer=bytes", text=text).render
    assert rendered is not None
    assert rendered.template == "starchat"


def test_a_setting_reaches_the_items_of_lists(tmp_path: Path) -> None:
    settings = [
        "drop.wrong_language.allow=[en, de]",
        "drop.deleted.on_removed=drop",  # listed as a name alone
        "drop.2.too_few_turns.below=5",  # by its number
        "clean.white_space.max_blank_lines=4",
    ]
    changed, before = load(tmp_path, *settings), load(tmp_path)
    options = {name: given for entry in changed.drop for name, given in entry.items()}
    assert list(options) == [name for entry in before.drop for name in entry]
    assert options["wrong_language"]["allow"] == ["en", "de"]
    assert options["wrong_language"]["on_removed"] == "drop"  # as the recipe has it
    assert options["deleted"] == {"on_removed": "drop"}
    assert options["too_few_turns"] == {"below": 5}
    assert changed.clean[1] == {"white_space": {"max_blank_lines": 4}}


def test_a_setting_leaves_the_values_that_it_is_given(tmp_path: Path) -> None:
    values = {"drop": ["a", {"b": {"c": 1}}], "d": {"e": [1]}}
    assert config.override(values, ["drop.a.x=1", "drop.b.c=2", "d.e.0=3"]) == {
        "drop": [{"a": {"x": 1}}, {"b": {"c": 2}}],
        "d": {"e": [3]},
    }
    assert values == {"drop": ["a", {"b": {"c": 1}}], "d": {"e": [1]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no keys"),
        ("- a\n- b", "holds no keys"),
        ("name: x\nname: y", 'line 2: not valid YAML (found duplicate key "name"'),
        ("name: [", "not valid YAML"),
        ("name: x", "the key 'version' is missing"),
        ("name: \x00", "not valid YAML"),
        ("&a {name: *a}", "an alias (`*name`) stands within what it names"),
        ("source: &s {jsonl: {files: [a], variables: *s}}", "stands within what it names"),
        (f"about: {'[' * 3000}{']' * 3000}", "nested too deeply"),
        (f"about: {'{a: ' * 120}1{'}' * 120}", "nested 121 levels deep, and 100 are the most"),
        ("a: &a [1, 1]\n" + EXPLOSION, "its aliases stand for more than 1000000 values"),
        ('about: "x\\ud800"', '"x\\ud800" has half of a character (a lone surrogate)'),
        ('source: {"\\udc00": {}}', '"\\udc00" has half of a character'),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text=text)
    assert words in str(caught.value)


def test_an_alias_that_ends_is_no_fault(tmp_path: Path) -> None:
    values = config.load_yaml(write(tmp_path, "a: &a {x: [1]}\nb: [*a, *a]\nc: {d: *a}"))
    assert values["b"] == [values["a"], values["c"]["d"]]


def test_a_long_value_is_named_by_its_beginning(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text=WHOLE + f"about: [{'x, ' * 1000}]")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("fol*", "matches folders alone; name files, as in"),
        ("a" * 5000, "there is no file"),
        ("dump/*", "matches data and 'LICENSE', whose name is not that of data"),
    ],
)
def test_patterns_without_files_or_with_others(tmp_path: Path, pattern: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dump").mkdir()
    for name in ("a.jsonl", "LICENSE", "part-1", "part-2"):
        (tmp_path / "dump" / name).write_text("{}")
    text = WHOLE.replace("{repo: a/b, revision: main}", f"{{files: ['{pattern}']}}")
    with pytest.raises(SourceError, match=re.escape(words)):
        inputs.locate(load(tmp_path, text=text), [])
    for fine, number in (("dump", 1), ("dump/*.jsonl", 1), ("dump/part-*", 2)):
        text = WHOLE.replace("{repo: a/b, revision: main}", f"{{files: ['{fine}']}}")
        assert len(inputs.locate(load(tmp_path, text=text), [])[0].files) == number


def test_yaml_keeps_the_values_one_wrote(tmp_path: Path) -> None:
    values = config.load_yaml(
        write(tmp_path, "a: no\nb: 2e-5\nc: 1.0.0\nd: false\ne: off\nf: [on]")
    )
    expected: dict[str, Any] = {
        "a": "no",
        "b": 2e-5,
        "c": "1.0.0",
        "d": False,
        "e": "off",
        "f": ["on"],
    }
    assert values == expected


def test_a_template_that_is_listed_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = replace(CHATML, name="house_style", about="As we write it.")
    monkeypatch.setitem(TEMPLATES, "house_style", BuiltIn(added))
    listed = CliRunner().invoke(main, ["list"]).output
    assert re.search("house_style +As we write it.", listed)
    rendered = load(tmp_path, "render.template=house_style").render
    assert rendered is not None
    assert rendered.template == "house_style"


def test_every_template_that_is_listed_is_accepted(tmp_path: Path) -> None:
    for name in TEMPLATES:
        assert load(tmp_path, f"render.template={name}")


def test_every_way_to_check_a_tokenizer_library_is_an_option() -> None:
    options = {option.name: option for option in main.commands["build"].params}
    assert list(options["check_encoder"].type.choices) == list(AUDIT_MODES)
    assert list(options["engine"].type.choices) == list(engines.ENGINES)


@pytest.mark.parametrize("name", ["smaple", "oasst", "nope"])
def test_an_unknown_name_names_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no recipe"):
        find.load(name)


def test_a_folder_a_missing_file_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        find.load(tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        find.load(tmp_path / "no.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        find.load(tmp_path / "b.yaml")
