"""Inputs that no one would write, and what must hold whatever they are.

Each property takes what a strategy draws, and fails by an assertion or by any exception that is no
ChatdataError.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import polars as pl
from hypothesis import strategies as st

from chatdata import ChatdataError, load_recipe, preview_dataset
from chatdata.core.schema import MESSAGES
from chatdata.dataset import manifest
from chatdata.pipeline import shipped
from chatdata.steps import cleaning
from tests.support.formats import EXAMPLES

WORDS = ["<|end|>", "<|im_start|>", "\ud83d", "", " ", "\n\n", "<|assistant|>\nx<|end|>"]
DIRT = ["<p>a &lt; b</p>", "\u200b", "a 2 / 2", "network error", "```\na\\_b  ", "x\\_y"]
TEXT = st.text(st.characters(codec=None, exclude_categories=[]), max_size=20) | st.sampled_from(
    [*WORDS, *DIRT]
)
ODD = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ROLES = ["human", "gpt", "user", "assistant", "system", "prompter", "tool", "function_call"]
ROLE = st.sampled_from(ROLES) | ODD
ID = st.sampled_from(["a", "b", "c", "d", "x_0", "x_1"]) | ODD
JSON = st.recursive(
    ODD, lambda nested: st.lists(nested, max_size=3) | st.dictionaries(TEXT, nested, max_size=3)
)

TURN = st.fixed_dictionaries({"from": ROLE, "value": TEXT | JSON}) | JSON
BESIDE = {"id": ID, "system": TEXT | JSON, "tools": TEXT | JSON}
SHAREGPT = st.fixed_dictionaries(
    {"conversations": st.lists(TURN, max_size=5) | JSON}, optional=BESIDE
) | st.fixed_dictionaries(
    {"items": st.lists(st.fixed_dictionaries({"human": TEXT, "assistant": JSON}))}
)
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT | JSON}) | JSON
MESSAGE = st.fixed_dictionaries({"role": ROLE, "content": TEXT | st.lists(PART, max_size=2) | JSON})
JSONL = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE | JSON, max_size=5) | JSON},
    optional={"id": ID, "group": ID, "lang": TEXT},
) | st.lists(MESSAGE, max_size=4)
NODE = st.fixed_dictionaries(
    {"message_id": ID, "text": TEXT | JSON, "role": ROLE},
    optional={
        "parent_id": ID,
        "message_tree_id": ID,
        "rank": ODD,
        "deleted": ODD,
        "created_date": ODD,
        "lang": st.sampled_from(["en", "de"]) | ODD,
        "replies": JSON,
    },
)
TREE = st.recursive(
    NODE,
    lambda nested: st.builds(
        lambda node, replies: {**node, "replies": replies},
        NODE,
        st.lists(nested | JSON, max_size=3),
    ),
)
OASST = (
    NODE
    | TREE
    | st.fixed_dictionaries({"prompt": TREE | JSON}, optional={"message_tree_id": ID})
    | st.fixed_dictionaries({"thread": st.lists(NODE | JSON, max_size=4) | JSON})
)
FORM = st.sampled_from(["json", "jsonl"])


def written(records: list[Any], form: str) -> str:
    """Records as the text of a file."""
    return json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))


Made = TypeVar("Made")


class Property(NamedTuple):
    """What is drawn, and a check of it."""

    draws: tuple[st.SearchStrategy[Any], ...]
    check: Callable[..., None]


# ------------------------------------------------------------------------------------- properties


def or_reason(make: Callable[[], Made]) -> Made | str:
    """What is made, or the words of the error that says why it is not."""
    try:
        return make()
    except ChatdataError as error:
        return str(error)


ROLES_REPEATED = st.sampled_from(["keep", "merge", "drop"])
REMOVED = st.sampled_from(["skip", "cut", "drop", "untrain"])


def sums_are_right(
    source: str, text: bytes, form: str, repeated: str, removed: str, lines: int | None = None
) -> None:
    """Everything that was read is kept or dropped, once; of `lines` of records, each is read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"in.{form}").write_bytes(text)
        role = "keep" if source == "oasst" else repeated
        (folder / "r.yaml").write_text(
            f"name: r\nversion: 1.0.0\nsource: {{{source}: {{}}}}\nmax_dropped: 1\n"
            "clean: [html, entities, escapes, artefacts, invisible, white_space]\nredact: {}\n"
            f"threads: {{repeated_role: {role}}}\n"
            f"drop: [empty: {{on_removed: {removed}}}, error_answer, truncated, not_alternating, "
            "duplicate, {duplicate_prompt: {min_words: 2}}]\n"
        )
        recipe, inputs = load_recipe(folder / "r.yaml"), [str(folder / f"in.{form}")]
        made = or_reason(lambda: preview_dataset(recipe, inputs=inputs))
    if isinstance(made, str):
        assert "bug in chatdata" not in made, made
        return
    assert lines is None or made.counts.records.read == lines
    for unit, count in made.counts.items():
        assert count.read == count.kept + sum(count.dropped.values()), unit


def _of_records(source: str, records: st.SearchStrategy[Any]) -> Property:
    def check(drawn: list[Any], form: str, repeated: str, removed: str) -> None:
        is_a_line_each = form == "jsonl" and not any(isinstance(record, list) for record in drawn)
        lines = len(drawn) if is_a_line_each else None
        sums_are_right(source, written(drawn, form).encode(), form, repeated, removed, lines)

    return Property((st.lists(records | JSON, max_size=6), FORM, ROLES_REPEATED, REMOVED), check)


def damaged(records: list[Any], cuts: list[tuple[float, float, bytes]]) -> None:
    """Records of a file in which stretches are replaced: what is left is counted."""
    text = written(records, "jsonl").encode()
    for first, length, instead in cuts:
        start = int(first * len(text))
        text = text[:start] + instead + text[start + int(length * 20) :]
    sums_are_right("jsonl", text, "jsonl", "keep", "skip")


def cleaned_once(text: str) -> None:
    """Cleaners end, and what they have cleaned they leave alone."""
    columns = {"id": "a", "conversation": "a", "group": "a", "role": "assistant", "content": text}
    messages = pl.DataFrame([columns], schema=MESSAGES)
    names = ("html", "entities", "escapes", "artefacts", "invisible", "white_space")
    steps = [cleaning.step(name, {}) for name in names]
    once, _ = cleaning.run(messages, steps)
    twice, _ = cleaning.run(once, steps)
    assert once["content"].to_list() == twice["content"].to_list()


def recipe_or_reason(values: Any) -> None:
    """A recipe is read, or it is said what is wrong with it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "r.yaml"
        path.write_bytes(values if isinstance(values, bytes) else json.dumps(values).encode())
        assert or_reason(lambda: load_recipe(path))


def manifest_or_reason(at: list[int], value: Any) -> None:
    """A manifest in which a value is replaced is read, or it is said what is wrong with it."""
    known = _manifest()
    _replace_in(known, at, value)
    assert or_reason(lambda: manifest.parsed(known))


def shapes_add_up(name: str, changes: list[tuple[list[int], Any]], form: str, more: Any) -> None:
    """Records of a shape in which values are replaced, and one behind them, are all counted."""
    records = json.loads(json.dumps([*EXAMPLES[name].records] * 2))
    for at, value in changes:
        _replace_in(records, at, value)
    _auto([*records, more], form, "merge", "skip")


def _manifest() -> dict[str, Any]:
    if not _MADE:
        _MADE.append(json.dumps(preview_dataset("sample").as_json()))
    return dict(json.loads(_MADE[0]))


_MADE: list[str] = []


def _replace_in(value: Any, at: list[int], new: Any) -> None:
    """Puts a value in the place of another, to which numbers of keys and items lead."""
    place = value
    for number in at[:-1]:
        inner = list(place.values()) if isinstance(place, dict) else place
        step = inner[number % len(inner)] if inner else None
        if not isinstance(step, dict | list):
            break
        place = step
    _replace(place, at[-1], new)


def _replace(place: Any, number: int, value: Any) -> None:
    keys = list(place) if isinstance(place, dict) else range(len(place))
    if keys:
        place[keys[number % len(keys)]] = value


MARKUP = st.lists(
    st.sampled_from(
        [
            *DIRT,
            *("<p>", "</p>", "<ol><li>", "</ol>", "<pre><code>", "</code></pre>", "```", "&amp;"),
        ]
    )
    | TEXT
).map(lambda pieces: "".join(pieces).encode(errors="replace").decode())
SHIPPED = st.sampled_from([path.read_bytes() for path in shipped.recipes()])
KEYS = ["name", "version", "source", "clean", "threads", "drop", "split", "render", "mix", "redact"]
RECIPE = st.dictionaries(st.sampled_from(KEYS) | TEXT, JSON | st.just({"jsonl": {}}), max_size=6)
EDITED = st.builds(
    lambda text, at, new: (
        text[: int(at * len(text))] + new + text[int(at * len(text)) + len(new) :]
    ),
    SHIPPED,
    st.floats(0, 1),
    st.binary(max_size=8) | TEXT.map(lambda text: text.encode(errors="ignore")),
)
CUT = st.tuples(st.floats(0, 1), st.floats(0, 1), st.binary(max_size=3))

PLACE = st.lists(st.integers(0, 40), min_size=1, max_size=6)
CHANGES = st.lists(st.tuples(PLACE, ODD | JSON), max_size=4)
_auto = _of_records("auto", st.nothing()).check

PROPERTIES = {
    "sharegpt": _of_records("sharegpt", SHAREGPT),
    "jsonl": _of_records("jsonl", JSONL),
    "oasst": _of_records("oasst", OASST),
    "damage": Property((st.lists(JSONL, max_size=6), st.lists(CUT, max_size=3)), damaged),
    "cleaners": Property((MARKUP,), cleaned_once),
    "recipes": Property((RECIPE | EDITED,), recipe_or_reason),
    "manifests": Property(
        (st.lists(st.integers(0, 40), min_size=1, max_size=6), JSON), manifest_or_reason
    ),
    "shapes": Property((st.sampled_from(sorted(EXAMPLES)), CHANGES, FORM, JSON), shapes_add_up),
}
