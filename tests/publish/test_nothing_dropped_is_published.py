"""Nothing of a message that was dropped stands in a file that a push would send."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from chatdata.cli import main
from chatdata.dataset import reader
from chatdata.publish import release, versions
from tests.support.carrying import carry
from tests.support.templates import PLAIN

SPANISH = "El rápido zorro marrón salta sobre el perro perezoso, y luego vuelve a su casa."
ENGLISH = "The quick brown fox jumps over the lazy dog, and then goes back to the house."
HELD = "Which river that flows through four countries of Europe is the longest one of all?"
RECIPE = """
name: planted
version: 1.0.0
source:
  jsonl: {files: [talks.jsonl]}
  oasst: {files: [trees.jsonl]}
drop: [bad_content, unknown_role, deleted, not_reviewed, synthetic, empty, error_answer, tool_use,
  {wrong_language: {allow: [en], decide: both}}, secret, {contaminated: {against: [held.jsonl]}},
  refusal, truncated, url_only, no_assistant, not_alternating, {too_many_turns: {above: 4}},
  {too_many_characters: {above: 1500}}, duplicate, near_duplicate]
render: {tokenizer: bytes, template: chatml, max_tokens: 700}
split: {test_percent: 20}
max_dropped: 1
"""
PLANTED = "Zyxwv"  # begins a word that no other text holds


def _plant(number: int) -> str:
    return f"{PLANTED}{number}"


def talks() -> Iterator[list[dict[str, Any]]]:
    """Yields conversations: the first stays, of each of the others something goes."""

    def user(content: Any) -> dict[str, Any]:
        return {"role": "user", "content": content}

    def answer(content: Any, **more: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": content, **more}

    yield [user(ENGLISH), answer("It does, every morning, as foxes do.")]
    yield [user(f"{SPANISH} {_plant(1)}"), answer(SPANISH)]
    yield [user(f"{ENGLISH} My key is AKIAIOSFODNN7EXAMPLF, {_plant(2)}"), answer(ENGLISH)]
    yield [user({"words": _plant(3)}), answer(ENGLISH)]
    yield [user(ENGLISH), {"role": f"oracle {_plant(4)}", "content": _plant(5)}]
    yield [user(f"{HELD} {_plant(6)}"), answer(ENGLISH)]
    yield [user(ENGLISH), answer(f"As an AI language model I cannot do that. {_plant(7)}")]
    yield [user(f"{ENGLISH} {_plant(8)}"), answer("Too many requests in 1 hour. Try again later.")]
    yield [user(f"https://example.org/{_plant(9)}"), answer(ENGLISH)]
    yield [user(f"{ENGLISH} {_plant(10)}"), user(ENGLISH), answer(ENGLISH)]
    yield [user(f"{ENGLISH} {_plant(11)}")]
    yield [user(f"{ENGLISH} {_plant(12)}"), *[answer("Yes."), user("And?")] * 4]
    yield [user(f"{_plant(13)} {ENGLISH * 20}"), answer(ENGLISH)]
    yield [user(ENGLISH), answer(f"Like this:\n```\nfox({_plant(14)})\ndog(")]
    call = {"type": "function", "function": {"name": _plant(15), "arguments": {"a": _plant(16)}}}
    yield [user("How is the tide now, in the harbour?"), answer(None, tool_calls=[call])]
    yield [user(ENGLISH), answer(ENGLISH, train=[_plant(24)])]
    yield [user(ENGLISH), answer(ENGLISH, weight={"of": _plant(25)})]
    yield [user([{"type": [_plant(26)], "text": ENGLISH}]), answer(ENGLISH)]
    yield [user([{"type": f"like {_plant(27)}", "text": ENGLISH}]), answer(ENGLISH)]
    long = " ".join(f"word{i}" for i in range(90))
    yield [user(f"Repeat {long}"), answer(f"{_plant(17)} {long}")]


def node(id: str, role: str, text: str, parent: str | None, **more: Any) -> dict[str, Any]:
    """A message of a tree as OASST has it."""
    flags = {"lang": "en", "review_result": True, "deleted": False, "synthetic": False}
    names = {"message_id": id, "parent_id": parent, "message_tree_id": "tree", "role": role}
    return {**names, "text": text, "tree_state": "ready_for_export", **flags, **more}


def trees() -> Iterator[dict[str, Any]]:
    """Yields messages of a tree, of which the answers with planted words go."""
    yield node("m0", "prompter", "What is the capital of the country of France?", None)
    yield node("m1", "assistant", "The capital of France is the city of Paris.", "m0")
    yield node("m2", "assistant", f"It was {_plant(20)} once.", "m0", deleted=True)
    yield node("m3", "assistant", f"It is not {_plant(21)}.", "m0", review_result=False)
    yield node("m4", "assistant", f"A model says {_plant(22)}.", "m0", synthetic=True)
    yield node("m5", "assistant", f"{SPANISH} {_plant(23)} ana@example.com", "m0")


def sent(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each file that a push of a folder would send, with all text that the file holds,
    tokens decoded."""
    published = release.prepare(folder, versions.parse("1.0.0"))
    yield "README.md", published.card
    for name, file in published.files.items():
        content = file.content
        if isinstance(content, bytes):
            yield name, content.decode()
        else:
            yield from everything(name, content)


def everything(name: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yields all text that a file holds, tokens decoded, with its name."""
    if path.suffix == ".parquet":
        table = pl.read_parquet(path)
        yield name, json.dumps(table.to_dicts(), default=str, ensure_ascii=False)
        for ids in table["input_ids"] if "input_ids" in table.columns else ():
            yield name, bytes(id for id in ids if id < 256).decode(errors="replace")
    else:
        yield name, path.read_bytes().decode(errors="replace")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    lines = [json.dumps({"messages": talk}) for talk in talks()]
    unread = {"words": _plant(18)}
    broken = '{"messages": [{"role": "user", "content": "' + _plant(19)
    (folder / "talks.jsonl").write_text("\n".join([*lines, json.dumps(unread), broken]))
    (folder / "trees.jsonl").write_text("\n".join(map(json.dumps, trees())))
    (folder / "held.jsonl").write_text(json.dumps({"question": HELD}))
    (folder / "r.yaml").write_text(RECIPE)
    out = folder / "out"
    done = CliRunner().invoke(main, ["build", str(folder / "r.yaml"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_no_word_of_what_was_dropped_is_in_any_file_that_is_sent(built: Path) -> None:
    places = [(name, text.find(PLANTED), text) for name, text in sent(built)]
    assert not [(name, text[max(0, at - 60) : at + 30]) for name, at, text in places if at >= 0]


def test_what_was_planted_was_dropped_for_many_reasons(built: Path) -> None:
    """Else the test above would look for what never was there."""
    ledger = reader.scan_ledger(built).filter(pl.col("outcome") == "dropped").collect()
    expected = {
        *("bad_json", "unknown_record", "bad_content", "unknown_role", "deleted", "not_reviewed"),
        *("synthetic", "wrong_language", "secret", "contaminated", "refusal", "error_answer"),
        *("url_only", "not_alternating", "too_many_turns", "truncated", "tool_use"),
        *("too_many_characters", "too_long"),
    }
    assert expected <= set(ledger["reason"])
    assert any(PLANTED in line for line in (built.parent / "talks.jsonl").read_text().splitlines())


# What is no text, in a record that could be read: the ledger says where it stands.
NOT_HELD = {3, 4, 24, 25, 26, 27}


def test_what_was_dropped_is_held_here_alone(built: Path) -> None:
    """Every planted word that stood in a text is in the folder that is never sent."""
    (shard,) = (built / "dropped").iterdir()
    words = dict(everything("dropped", shard))["dropped"]
    held = {int(number) for number in re.findall(rf"{PLANTED}(\d+)", words)}
    assert held == set(range(1, 28)) - NOT_HELD
    names = {name for name, _ in sent(built)}
    files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    assert files - names == {f"dropped/{shard.name}"}


# Quotes what it refuses; opens a thought that only some answers have; ends not all answers.
QUOTING = """\
{%- for m in messages -%}
  {%- set words = m['content'] -%}
  {%- if 'forbidden' in words -%}{{ raise_exception('never say ' + words) }}{%- endif -%}
  {{- '<|im_start|>' + m['role'] + '\\n' -}}
  {%- if m['role'] == 'assistant' and 'thoughtless' not in words -%}
    {{- '<think></think>' -}}
  {%- endif -%}
  {{- words + ('' if 'endless' in words else '<|im_end|>\\n') -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n<think></think>' }}{%- endif -%}
"""


def refusals(folder: Path, lines: Iterable[str], template: str) -> list[str]:
    """Why a template refuses conversations, of which the folder `out` is built."""
    (folder / "talks.jsonl").write_text("\n".join(lines))
    carry(None, template, folder / "t")
    recipe = "name: q\nversion: 1.0.0\nsource: {jsonl: {files: [talks.jsonl]}}\nmax_dropped: 1\n"
    recipe += f"render: {{tokenizer: '{folder / 't'}', template: tokenizer}}\n"
    (folder / "r.yaml").write_text(recipe)
    arguments = ["build", str(folder / "r.yaml"), "--out", str(folder / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    ledger = reader.scan_ledger(folder / "out").filter(pl.col("reason") == "unrenderable")
    details = ledger.filter(pl.col("unit") == "conversation").select("detail").collect()
    return sorted(details["detail"])


def test_no_word_of_what_a_template_refuses_is_in_any_file(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    refused = ("forbidden", "thoughtless", "endless")
    questions = [f"What is the word {word} {_plant(n)}" for n, word in enumerate(refused)]
    pairs = [(question, question) for question in questions] + [(ENGLISH, "It does.")]
    talks = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked, answer in pairs
    ]
    lines = [json.dumps({"messages": talk}) for talk in talks]
    details = refusals(tmp_path, lines, QUOTING)
    assert details == [
        "the chat template ends turn 1 without a special token of this tokenizer, so a model could "
        "never learn to stop",
        "the chat template says: never say …",
        "turn 1 does not stand behind its generation prompt, which writes "
        "'<|im_start|>assistant\\n<think></think>'",
    ]
    assert not [name for name, text in sent(tmp_path / "out") if PLANTED in text]


# Quotes a variable and a tool where it refuses them.
QUOTING_MORE = (
    "{% if mood %}{{ raise_exception('no mood ' + mood) }}{% endif %}"
    "{% if tools %}{{ raise_exception('no tool ' + tools[0].function.description) }}{% endif %}"
    + PLAIN
)


def test_no_word_of_variables_and_tools_that_are_refused_is_in_any_file(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    function = {"name": "f", "description": f"Looks {_plant(1)} up", "parameters": {}}
    records = [
        {"messages": turns},
        {"messages": turns, "chat_template_kwargs": {"mood": f"as {_plant(2)} is"}},
        {"messages": turns, "tools": [{"type": "function", "function": function}]},
    ]
    details = refusals(tmp_path, map(json.dumps, records), QUOTING_MORE)
    assert len(details) == 2
    assert "no tool …" in "".join(details)
    assert not [name for name, text in sent(tmp_path / "out") if PLANTED in text]
