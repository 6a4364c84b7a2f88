"""Whatever a file holds, a build ends with a balanced ledger or with a named error."""

from __future__ import annotations

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
from tests.support.fuzzing import FORM, JSON, JSONL, OASST, PROPERTIES, SHAREGPT, written


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
        (folder / f"in.{form}").write_text(written(records, form))
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
            assert "bug in chatdata" not in error
            assert not (folder / "out").exists()
            return
        assert facts["counts"]["records"]["read"] >= len(records) or form == "json"
        ledger = reader.scan_ledger(folder / "out").collect()
        assert ledger["outcome"].is_in(["kept", "dropped"]).all()


quick = settings(  # tests/bench/fuzz.py tries more
    max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["damage", "cleaners", "recipes", "manifests", "shapes"])
def test_what_must_hold_holds(name: str) -> None:
    drawn = PROPERTIES[name]

    @quick
    @given(st.tuples(*drawn.draws))
    def holds(values: tuple[Any, ...]) -> None:
        drawn.check(*values)

    holds()
