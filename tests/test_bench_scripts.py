"""The scripts of `tests/bench`, run by hand only, still fit the modules that they measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import exponents
from tests.support.project_names import ROOT, faults

SCRIPTS = sorted((ROOT / "tests" / "bench").glob("*.py"))


def test_every_script_uses_what_the_project_has() -> None:
    assert len(SCRIPTS) > 40
    assert [line for script in SCRIPTS for line in faults(script)] == []


def test_every_filter_and_cleaner_has_the_options_with_which_it_is_timed() -> None:
    assert {"filter: matches", "clean: html"} <= set(exponents.steps())


SCRIPT = """
import chatdata
import _beside
from chatdata.dataset import manifest as written
from chatdata.pipeline import prepare

def measure():
    from chatdata.dataset.reader import {name}
    chatdata.{public}
    prepare.{attribute}
    _beside.{beside}(1)
    {call}
"""
FITS = {
    "name": "scan_ledger",
    "public": "build_dataset",
    "attribute": "__name__",
    "beside": "timed",
    "call": "written.read('folder')",
}
NOT_TAKEN = "script.py:12: _beside.timed does not take these arguments"


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, None),
        ({"name": "old"}, "script.py: there is no chatdata.dataset.reader.old"),
        ({"public": "old"}, "script.py: there is no chatdata.old"),
        ({"attribute": "old()"}, "script.py: there is no chatdata.pipeline.prepare.old"),
        ({"beside": "old"}, "script.py: there is no _beside.old"),
        ({"call": "_beside.timed()"}, NOT_TAKEN),
        ({"call": "_beside.timed(1, 2)"}, NOT_TAKEN),
        ({"call": "_beside.timed(1, old=2)"}, NOT_TAKEN),
        ({"call": "_beside.timed(1, times=2)"}, None),
        ({"call": "_beside.timed(*[1])"}, None),
    ],
)
def test_a_name_or_an_argument_that_is_no_more_is_seen(
    changed: dict[str, str], line: str | None, tmp_path: Path
) -> None:
    (tmp_path / "_beside.py").write_text("def timed(run, *, times=1): ...")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(**(FITS | changed)))
    assert list(faults(script)) == ([line] if line else [])
