"""Paths of a manifest: what could lead out of its folder is refused."""

from __future__ import annotations

import pytest

from chatdata.core.paths import is_inside


@pytest.mark.parametrize("path", ["a", "a/b.parquet", "a/./b", ".hidden", "a..b/c", "é/日本"])
def test_relative_paths_are_inside(path: str) -> None:
    assert is_inside(path)


@pytest.mark.parametrize(
    "path",
    ["", ".", "/", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "a\\b", "C:\\a", "a\0b"],
)
def test_paths_that_could_lead_out_are_not_inside(path: str) -> None:
    assert not is_inside(path)
