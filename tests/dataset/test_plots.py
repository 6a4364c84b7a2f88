"""Plots: seen on light and dark pages, with axes that can be read, and right for odd numbers."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from chatdata.dataset import histogram, manifest, plots, reader

WHITE, BLACK = (255, 255, 255), (13, 17, 23)  # of pages, light and dark


def _luminance(colour: tuple[int, ...]) -> float:
    """The relative luminance of a colour, as WCAG 2 defines it."""
    parts = [value / 255 for value in colour[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", [WHITE, BLACK])
@pytest.mark.parametrize("name", ["_INK", "_BARS", "_LOST"])
def test_what_is_drawn_is_seen_on_light_and_dark_pages(
    name: str, page: tuple[int, int, int]
) -> None:
    low, high = sorted([_luminance(ImageColor.getrgb(getattr(plots, name))), _luminance(page)])
    assert (high + 0.05) / (low + 0.05) >= (4 if name == "_INK" else 3)


@given(st.integers(0, 10**12), st.integers(1, 9))
def test_ticks_are_few_and_even_and_reach_far(top: int, most: int) -> None:
    marks = plots.ticks(top, most)
    assert marks[0] == 0
    assert marks[-1] <= top
    assert len(marks) <= most + 1
    steps = {after - before for before, after in itertools.pairwise(marks)}
    assert len(steps) <= 1
    assert all(str(step).rstrip("0") in {"1", "2", "5"} for step in steps)
    assert all(top - marks[-1] < step for step in steps)


def test_ticks_that_can_be_read() -> None:
    assert plots.ticks(4130, 3) == [0, 2000, 4000]
    assert plots.ticks(10, 6) == [0, 2, 4, 6, 8, 10]
    assert plots.ticks(0, 3) == [0]


def test_a_bar_is_as_high_as_its_number() -> None:
    """Bars of 1, 2 and 4 conversations: a column of pixels in the middle of each is looked at."""
    lengths = histogram.describe(np.asarray([0, 1, 1, 2, 2, 2, 2], np.int64))
    picture = Image.open(io.BytesIO(plots._png("Turns", lengths)))
    bar = ImageColor.getrgb(plots._BARS)
    pixels = np.asarray(picture)[:, :, :3]
    heights = (pixels == bar).all(axis=2).sum(axis=0)
    most = plots._BOTTOM - plots._TOP
    seen = sorted(set(np.round(heights[heights > 0] / most * 4).astype(int).tolist()))
    assert seen == [1, 2, 4]


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


@settings(max_examples=60)
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
