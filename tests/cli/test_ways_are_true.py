"""What `explain` and `show --dropped` say would keep something, keeps it in another build."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from chatdata.cli import keeping
from chatdata.core import config
from chatdata.dataset import reader
from chatdata.steps import ways
from chatdata.steps.filters import FILTERS
from tests.support.builds import make

RECIPE = """
name: k
version: 1.0.0
source:
  jsonl: {files: [talks.jsonl]}
  oasst: {files: [trees.jsonl]}
threads: {policy: best_rank, start: user, end: assistant, repeated_role: drop}
drop:
  - deleted
  - not_reviewed
  - synthetic
  - unfinished_tree
  - empty
  - error_answer
  - tool_use
  - matches: {pattern: "(?i)opinions are mine"}
  - wrong_language: {allow: [en]}
  - secret
  - contaminated: {against: [questions.txt]}
  - truncated
  - labels: {spam: {above: 0.5}}
  - refusal
  - boilerplate_opening
  - repetition
  - url_only
  - no_assistant
  - not_alternating
  - too_few_turns: {below: 3}
  - too_many_characters: {above: 2500}
  - too_many_turns: {above: 6}
  - duplicate
  - duplicate_prompt
  - near_duplicate
  - near_duplicate_prompt
render: {tokenizer: bytes, template: chatml, max_tokens: 1200}
max_dropped: 1.0
"""
THREADS = ("not_selected", "repeated_role", "leading_turn", "trailing_turn", "too_long")
HOPELESS = ("bad_json", "bad_content", "unknown_role")
QUESTION = "Which of the seven hills of Rome did the oldest shepherds settle first of all?"
MORE = ("Is that all?", "Yes, it is.")
STORY = " ".join(f"On day {n} the {n % 7}th ship sailed to island {n * n}." for n in range(70))


def talk(id: str, *texts: str, lang: str = "en", roles: str = "") -> str:
    names = {"u": "user", "a": "assistant", "t": "tool"}
    kinds = [names[kind] for kind in roles] or ["user", "assistant"] * len(texts)
    turns = [{"role": role, "content": text} for role, text in zip(kinds, texts, strict=False)]
    return json.dumps({"id": id, "messages": turns, "lang": lang})


TALKS = [
    talk("fine", "How do magnets work?", "By their fields.", *MORE),
    talk("empty", "Say nothing", "  ", *MORE),
    talk("error", "Say something", "network error", *MORE),
    talk("tool", "Call it", '<tool_call>\n{"name": "f"}\n</tool_call>', *MORE),
    talk("matched", "What do you think?", "These opinions are mine.", *MORE),
    talk("french", "Parle-moi de Lyon", "Lyon est belle.", *MORE, lang="fr"),
    talk("secret", "What is her address?", "It is jane.doe@bakery.org, I think.", *MORE),
    talk("test", QUESTION, "The Palatine.", *MORE),
    talk("cut", "Tell me of the sea", "The sea is wide and it has waves that go from the", *MORE),
    talk("refused", "Open this lock", "I'm sorry, but I can't assist with that.", *MORE),
    talk("opening", "Do you dream?", "As an AI language model, I do not dream at night.", *MORE),
    talk("loop", "Count a little", "one two three four five " * 30, *MORE),
    talk("link", "Where is it?", "https://example.org/a/b", *MORE),
    talk("silent", "Nobody answers me", roles="u"),
    talk("twice", "First I ask this", "Then I ask that", "Here you are.", *MORE, roles="uuaua"),
    talk("uncalled", "What does it say?", "12", "It says 12.", *MORE, roles="utaua"),
    talk("short", "A short talk?", "Quite."),
    talk("long", "A very long story?", STORY, *MORE),
    talk("longer", "A long story of ships?", STORY[:1500], *MORE),
    talk("turns", *(f"Turn number {n}, said aloud." for n in range(8))),
    talk("again", "How do magnets work?", "By their fields.", *MORE),
    talk("asked", "How do  magnets work?", "I have no idea at all.", *MORE),
    talk("near-a", "Describe a day at the mill", STORY[:600], *MORE),
    talk("near-b", "Describe a day at the mill!", STORY[:600], *MORE),
    talk("prompt-a", "Please write a song for the mayor of our small town", "La la la.", *MORE),
    talk("prompt-b", "Please write a song for the mayor of our small town!", "Do re mi.", *MORE),
    talk("led", "Welcome to the shop!", "What is sold here?", "Hats.", *MORE, roles="auaua"),
    json.dumps({"id": "number", "messages": [{"role": "user", "content": 3}]}),
    json.dumps({"id": "role", "messages": [{"role": "narrator", "content": "Once"}]}),
    "{broken",
]


def node(id: str, parent: str | None, text: str, **more: Any) -> str:
    role = "prompter" if id.count("-") % 2 == 0 else "assistant"
    tree = {"message_tree_id": id.partition("-")[0], "tree_state": "ready_for_export"}
    fine = {"lang": "en", "deleted": False, "synthetic": False, "review_result": True}
    words = {"message_id": id, "parent_id": parent, "role": role, "text": text}
    return json.dumps({**words, **tree, **fine, "rank": None, **more})


def tree(id: str, text: str, **more: Any) -> list[str]:
    answer = f"An answer about {text.lower()}, with {len(text)} letters."
    rows = [node(id, None, text), node(f"{id}-a", id, answer, **more)]
    rows.append(node(f"{id}-a-b", f"{id}-a", "Really so?"))
    rows.append(node(f"{id}-a-b-c", f"{id}-a-b", f"Sure, {text} it is."))
    return rows


NODES = [
    *tree("gone", "Old cheese", deleted=True),
    *tree("bad", "Young wine", review_result=False),
    *tree("made", "Fresh bread", synthetic=True),
    *tree("open", "Dry ham", tree_state="growing"),
    *tree("spam", "Cheap pills", labels={"spam": {"value": 0.9, "count": 3}}),
    *tree("two", "Red apples", rank=0),
    node("two-z", "two", "Another answer about apples, quite unlike.", rank=1),
    *tree("end", "Sour cherries"),
    node("end-a-b-c-d", "end-a-b-c", "And a last word that nobody answers."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ways")
    (made / "talks.jsonl").write_text("\n".join(TALKS))
    (made / "trees.jsonl").write_text("\n".join(NODES))
    (made / "questions.txt").write_text(QUESTION + "\n")
    return made


def dropped(out: Path) -> dict[tuple[str, str, str], str]:
    """The way to keep what was dropped, by its unit, its id and its reason."""
    rows = reader.scan_ledger(out).filter(outcome="dropped").collect().to_dicts()
    ways = keeping.to_keep(out, rows)
    keys = [(row["unit"], row["id"], row["reason"]) for row in rows]
    return {key: str(way) for key, way in zip(keys, ways, strict=True)}


def settings(way: str) -> dict[str, Any]:
    """The settings that a way names first, by their keys; none where no setting keeps it."""
    words = shlex.split(way.removeprefix("to keep it: ").partition(", or ")[0])
    pairs = [word.partition("=") for word in words[1::2] if words[0] == "--set"]
    return {key: config.parse_yaml(value, way) for key, _, value in pairs}


def add(given: dict[str, Any], more: dict[str, Any]) -> None:
    """Adds settings to those that are given: to lists, and numbers where they are larger."""
    for key, value in more.items():
        before = given.get(key, value)
        if isinstance(value, list):
            given[key] = [*dict.fromkeys([*before, *value])]
        else:
            given[key] = max(before, value) if isinstance(value, int) else value


@pytest.mark.parametrize("overflow", ["drop", "cut", "split"])
def test_no_way_is_the_one_that_the_recipe_takes(overflow: str) -> None:
    row = {"reason": "too_long", "detail": "a turn needs 9 tokens, 8 allowed"}
    way = ways.to_keep(row, {"render": {"overflow": overflow}})
    named = {name for name in ("cut", "split") if f"overflow: {name}" in way}
    assert named == {"cut", "split"} - {overflow}


def test_no_setting_learns_from_what_was_disliked(tmp_path: Path) -> None:
    record = {"prompt": "Which?", "chosen": "This one.", "rejected": "That one."}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(record))
    recipe = "{name: p, version: 1.0.0, source: {auto: {files: [pairs.jsonl]}}}"
    way_of = dropped(make(tmp_path, recipe, None, "out"))
    assert [*way_of] == [("message", "rejected", "not_selected")]
    assert "no setting does" in way_of.popitem()[1]


@pytest.mark.slow
def test_what_is_said_to_keep_it_keeps_it(folder: Path) -> None:
    """All that is offered is given to the next build, until nothing more is offered."""
    given: dict[str, Any] = {}
    reasons: set[str] = set()
    left = dropped(make(folder, RECIPE, None, "out", cache=False))
    while offered := {key: settings(way) for key, way in left.items() if "--set" in way}:
        reasons |= {reason for _, _, reason in left}
        for way in offered.values():
            add(given, way)
        options = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        left = dropped(make(folder, RECIPE, None, "out", *options, cache=False))
        assert not left.keys() & offered.keys()
    assert reasons >= {*FILTERS, *THREADS} - {"prefix_of_another"}
    assert {reason for _, _, reason in left} == {*HOPELESS, "no_trained_tokens"}
    for (_, _, reason), way in left.items():
        assert way.startswith("to keep it: no setting does") == (reason in HOPELESS)
