"""The page on the architecture says what the code does."""

from __future__ import annotations

import re

import pytest

from tests.support.imports import PACKAGES, ROOT, between_packages

PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| `(\w+)` \| [^|]+ \|([^|]*)\|$", PAGE, re.M)


def shown() -> dict[str, set[str]]:
    """The imports of each package by the table of the page."""
    return {name: {part.strip() for part in cell.split(",")} - {""} for _, name, cell in ROWS}


def heights(edges: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each package: 1 above the highest package that the package imports."""
    floors: dict[str, int] = {}
    while len(floors) < len(edges):
        higher = sorted(set(edges) - set(floors))
        ready = [name for name in higher if edges[name] <= set(floors)]
        assert ready, f"a circle among {higher}"
        floors |= {name: 1 + max((floors[low] for low in edges[name]), default=0) for name in ready}
    return floors


@pytest.mark.slow
def test_the_table_shows_the_real_imports() -> None:
    assert shown() == between_packages()


def test_the_floors_are_those_of_the_imports() -> None:
    floors = heights(between_packages())
    assert {name: int(floor) for floor, name, _ in ROWS} == floors
    assert max(floors.values()) <= 10


def test_a_circle_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="circle"):
        heights({"a": {"b"}, "b": {"a"}})


def test_every_package_has_a_row() -> None:
    assert sorted(name for _, name, _ in ROWS) == PACKAGES


def test_files_that_the_page_names_are_there() -> None:
    named = re.findall(r"`((?:chatdata|trainer|tests|docs)/[\w./]+)`", PAGE)
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
