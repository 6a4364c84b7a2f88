"""Whatever a file holds, a build ends with a balanced ledger or with a named error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ChatdataError
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.recipe import Recipe

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


def outcome(recipe: Recipe, out: Path, path: Path) -> tuple[Manifest | None, str]:
    """The manifest of a build, or the error that named what is wrong."""
    try:
        return build_dataset(recipe, out, inputs=[str(path)]), ""
    except ChatdataError as error:
        return None, str(error)


def check(source: str, records: list[Any], form: str) -> None:
    """Builds from records; a build that ends must account for all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = json.dumps(records) if form == "json" else "\n".join(map(json.dumps, records))
        (folder / f"in.{form}").write_text(text)
        role = "keep" if source == "oasst" else ("keep", "merge", "drop")[len(records) % 3]
        (folder / "r.yaml").write_text(
            f"name: r\nversion: 1.0.0\nsource: {{{source}: {{}}}}\nmax_dropped: 1\n"
            "clean: [html, entities, escapes, artefacts, invisible, white_space]\nredact: {}\n"
            f"threads: {{repeated_role: {role}}}\n"
            "drop: [empty: {on_removed: skip}, error_answer, repetition, truncated, "
            "{refusal: {on_removed: untrain}}, not_alternating, duplicate, near_duplicate, "
            "{duplicate_prompt: {min_words: 2}}]\n"
            "split: {test_percent: 50}\n"
            "render: {tokenizer: bytes, max_tokens: 60, overflow: cut}\n"
        )
        recipe = load_recipe(folder / "r.yaml")
        facts, error = outcome(recipe, folder / "out", folder / f"in.{form}")
        if facts is None:
            assert "bug" not in error
            assert not (folder / "out").exists()
            return
        assert facts["counts"]["records"]["read"] >= len(records) or form == "json"
        ledger = reader.scan_ledger(folder / "out").collect()
        assert ledger["outcome"].is_in(["kept", "dropped"]).all()


FORM = st.sampled_from(["json", "jsonl"])
quick = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@quick
@given(st.lists(SHAREGPT | JSON, max_size=6), FORM)
def test_sharegpt(records: list[Any], form: str) -> None:
    check("sharegpt", records, form)


@pytest.mark.slow
@quick
@given(st.lists(JSONL | JSON, max_size=6), FORM)
def test_jsonl(records: list[Any], form: str) -> None:
    check("jsonl", records, form)


@pytest.mark.slow
@quick
@given(st.lists(OASST | JSON, max_size=6), FORM)
def test_oasst(records: list[Any], form: str) -> None:
    check("oasst", records, form)


@pytest.mark.slow
@quick
@given(st.binary(max_size=200), st.sampled_from(["json", "jsonl", "jsonl.gz", "parquet"]))
def test_any_bytes(content: bytes, form: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"in.{form}"
        path.write_bytes(content)
        _, error = outcome(load_recipe("sharegpt"), Path(name) / "out", path)
        assert len(error) < 1000
