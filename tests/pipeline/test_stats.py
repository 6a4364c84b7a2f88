"""Figures: the sum of parts has each step's sum, and a filter brings figures of its own."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.tallies import Tally
from chatdata.pipeline import prepare
from chatdata.pipeline.build import run_pipeline
from chatdata.pipeline.digests import Digests
from chatdata.pipeline.engines import start
from chatdata.pipeline.find import load
from chatdata.pipeline.inputs import locate
from chatdata.pipeline.runner import Runner
from chatdata.pipeline.stats import BuildResult, Lengths, PartStats, Totals, lengths_of, total
from chatdata.render.encoding.audit import Audit
from chatdata.render.parity import ParityCounts
from chatdata.steps import redact
from chatdata.steps.clean import Cleaned
from chatdata.steps.figures import FiguresByKey
from chatdata.steps.filtering import Column, define
from chatdata.steps.filters import FILTERS


def part(number: int) -> PartStats:
    """Figures of a part, all of them `number`."""
    kinds = {"email": {"messages": number, "found": number, "masked": 0}}
    return PartStats(
        cleaned=Cleaned({"html": {"messages": number, "characters": number}}),
        figures=FiguresByKey({redact.KEY: redact.Secrets(kinds)}),
        conversations=number,
        threaded=number,
        tally=Tally(Counter(messages=number), {"messages": Counter(empty=number)}),
        totals=Totals({"train": {"rows": number}}),
        lengths=Lengths({"turns": {number: 1}}),
        digests=Digests((number,), number),
        languages=Counter(en=number),
        sources=Counter(s=number),
        leaking_groups=number,
        parity=ParityCounts(rows=number, first_failure=f"row {number}"),
        audit=Audit(texts=number),
    )


def test_the_sum_of_parts_has_the_sum_of_every_field() -> None:
    total, expected = sum([part(1), part(2)], PartStats()), part(3)
    chunked = {"lengths", "digests", "parity"}
    for name in {field.name for field in fields(PartStats)} - chunked:
        assert getattr(total, name) == getattr(expected, name), name
    assert total.lengths.each("turns").tolist() == [1, 2]
    assert total.digests == Digests((1, 2), 3)
    assert total.parity == ParityCounts(rows=3, first_failure="row 1")


def test_what_is_no_figure_changes_no_sum() -> None:
    assert part(2) + PartStats() == PartStats() + part(2)


# ------------------------------------------------------------- a filter with a computed column


@dataclass(frozen=True)
class Shouting:
    """How many messages were looked at, and how many of them shout."""

    messages: int = 0
    shouting: int = 0

    def __add__(self, more: Shouting) -> Shouting:
        return Shouting(self.messages + more.messages, self.shouting + more.shouting)

    def entry(self) -> dict[str, int]:
        return {"messages": self.messages, "shouting": self.shouting}


def measure(
    messages: pl.DataFrame, options: Mapping[str, Any], folder: Path
) -> tuple[pl.DataFrame, Shouting]:
    capitals = pl.col("content").str.count_matches("[A-Z]")
    messages = messages.with_columns(capitals=capitals / pl.col("content").str.len_chars())
    shouting = messages.select(pl.col("capitals") > options["above"]).sum().item()
    return messages, Shouting(messages.height, shouting)


def shouts(above: float = 0.5) -> pl.Expr:
    """Messages of capitals."""
    return pl.col("capitals") > above


SHOUTS = define(
    "message",
    shouts,
    column=Column("capitals", measure, lambda options, files, folder: Shouting()),
    key="shouting",
)
RECIPE = """
name: r
version: 1.0.0
source: {jsonl: {files: [talks.jsonl]}}
drop: [shouts: {above: 0.6, on_removed: drop}]
max_dropped: 1
"""


def result_of(path: Path) -> BuildResult:
    recipe = load(path)
    inputs = locate(recipe, [])
    with tempfile.TemporaryDirectory() as folder, start("local", 1) as workers:
        context = prepare.prepare(recipe, inputs, Path(folder), prepare.parts_of(inputs))
        return run_pipeline(context, inputs, Runner(workers), None, None)


def test_a_filter_with_a_computed_column_is_one_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the entry in FILTERS knows the filter; its column is made, its figures add up."""
    monkeypatch.setitem(FILTERS, "shouts", SHOUTS)
    monkeypatch.setattr(prepare, "PART_BYTES", 1500)
    talks = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": "Hello."}]
        for text in ["HELP ME", "help me", "A", "Bad Luck"] * 5
    ]
    rows = [{"id": str(number), "messages": talk} for number, talk in enumerate(talks)]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "r.yaml").write_text(RECIPE)
    result = result_of(tmp_path / "r.yaml")
    assert result.stats.figures.entry("shouting") == {"messages": 40, "shouting": 10}
    assert result.counts["conversations"]["dropped"] == {"shouts": 10}
    assert result.counts["conversations"]["kept"] == 10
    assert len(result.stats.digests.parts) > 2  # each with figures of its own


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=20))
def test_the_total_is_the_sum_in_order(lengths: list[list[int]]) -> None:
    parts = [
        PartStats(
            lengths=lengths_of({"turns": np.array(sizes, np.int64)}),
            digests=Digests((number,), len(sizes)),
            languages=Counter(map(str, sizes)),
        )
        for number, sizes in enumerate(lengths)
    ]
    in_order = sum(parts, PartStats())
    assert total(iter(parts)) == in_order
    assert total(parts).digests.parts == tuple(range(len(parts)))
    assert list(total(parts).languages) == list(in_order.languages)


def test_a_total_copies_each_figure_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was copied for each part: 3.1 seconds in place of 0.5, where there were 500 parts."""
    copied, add = list[int](), Lengths.__add__

    def counted(first: Lengths, second: Lengths) -> Lengths:
        both = add(first, second)
        copied.append(len(both.by_name.get("turns", {})))
        return both

    monkeypatch.setattr(Lengths, "__add__", counted)
    parts = [PartStats(lengths=Lengths({"turns": {number: 1}})) for number in range(512)]
    assert len(total(parts).lengths.by_name["turns"]) == 512
    assert sum(copied) < 512 * 12
