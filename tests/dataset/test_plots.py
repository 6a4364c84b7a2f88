"""Plots: the same bytes whatever a user's matplotlib is set to, and right for odd numbers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.dataset import histogram, manifest, plots, reader

CODE = """
import hashlib, pathlib, sys, tempfile
from chatdata.dataset import manifest, plots
facts = manifest.read(pathlib.Path(sys.argv[1]))
with tempfile.TemporaryDirectory() as folder:
    paths = plots.write(pathlib.Path(folder), facts)
    print(*[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
"""


@pytest.mark.slow
def test_settings_of_the_user_do_not_show(sample: Path, tmp_path: Path) -> None:
    style = "font.size: 20\naxes.facecolor: red\nsavefig.dpi: 300\naxes.grid: True\n"
    (tmp_path / "matplotlibrc").write_text(style)
    environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "svg", "LANG": "C"}
    command = [sys.executable, "-c", CODE, str(sample)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    paths = [sample / plot["path"] for plot in plots.about(manifest.read(sample))]
    assert done.stdout.split() == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_plots_are_files_of_the_manifest_and_pictures(sample: Path) -> None:
    facts = manifest.read(sample)
    named = {entry["path"] for entry in facts["extras"] if entry["path"].startswith("plots/")}
    assert named == {entry["path"] for entry in plots.about(facts)}
    assert named == {"plots/tokens.png", "plots/turns.png", "plots/dropped.png"}
    for path in named:
        assert (sample / path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("values", [[], [0], [7], [1, 1, 900_000], list(range(500))])
def test_odd_lengths_are_drawn(sample: Path, tmp_path: Path, values: list[int]) -> None:
    facts = manifest.read(sample).as_json()
    histogram_of_values = histogram.describe(np.asarray(values, np.int64)).as_json()
    facts["lengths"] = dict.fromkeys(facts["lengths"], histogram_of_values)
    facts["counts"]["messages"]["dropped"] = {}
    assert [path.name for path in plots.write(tmp_path, manifest.parsed(facts))] == [
        "tokens.png",
        "turns.png",
    ]


# ------------------------------------------------------------------------------------- lengths


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=200))
def test_steps_count_every_value_once(values: list[int]) -> None:
    described = histogram.describe(np.asarray(values, np.int64))
    assert sum(described.steps) == len(values)
    assert len(described.steps) <= histogram._MOST_STEPS + 1
    for step, number in enumerate(described.steps[:-1]):
        low, high = step * described.width, (step + 1) * described.width
        assert number == sum(low <= value < high for value in values)
    if values:
        assert (described.min, described.max) == (min(values), max(values))


def test_the_manifest_and_stats_say_the_same_of_lengths(sample: Path) -> None:
    lengths, stats = manifest.read(sample)["lengths"], reader.stats(sample)
    names = {"tokens": "length", "trained_tokens": "trained_length"}
    for name, length in lengths.items():
        assert stats[names.get(name, name)].items() <= length.items()
