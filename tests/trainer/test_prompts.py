"""The prompts that ship: what is checkable about them is right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "recipes" / "prompts" / "coding.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in PATH.read_text().splitlines()]
TESTED = [row for row in ROWS if "test" in row]

RUN = """
import json, sys, tempfile, threading
tempfile.tempdir = sys.argv[1]
threading.excepthook = lambda error: None
for program in json.load(sys.stdin):
    try:
        exec(compile(program, "prompt", "exec"), {"__name__": "prompt"})
    except Exception:
        print("failed")
    else:
        print("passed")
"""


def outcomes(programs: list[str], folder: Path) -> list[str]:
    """Whether each of some programs ends without an error, in a process of their own."""
    command = [sys.executable, "-c", RUN, str(folder)]
    return subprocess.check_output(command, input=json.dumps(programs), text=True).split()


def code_of(row: dict[str, Any]) -> str:
    """The code that is to be reviewed."""
    (code,) = re.findall(r"```python\n(.*?)\n```", row["prompt"], re.DOTALL)
    return str(code)


def without_doing_anything(program: str) -> str:
    names = re.findall(r"^(?:async )?(?:def|class) (\w+)", program, re.MULTILINE)
    return "\n".join(f"def {name}(*args, **kwargs): return None" for name in names)


def test_the_set_is_as_large_and_as_mixed_as_it_says() -> None:
    kinds = Counter(row["kind"] for row in ROWS)
    assert (kinds["write"], kinds["review"], len(ROWS)) == (86, 29, 115)
    assert len({row["id"] for row in ROWS}) == len({row["prompt"] for row in ROWS}) == 115
    assert len(TESTED) == 92
    beside = {"reference", "test", "bug"}
    assert all(row.keys() - beside == {"id", "kind", "prompt"} for row in ROWS)
    assert all(("reference" in row) == ("test" in row) for row in ROWS)


def test_references_pass_their_tests(tmp_path: Path) -> None:
    programs = [f"{row['reference']}\n{row['test']}" for row in TESTED]
    assert outcomes(programs, tmp_path) == ["passed"] * len(TESTED)


def test_what_is_wrong_does_not_pass(tmp_path: Path) -> None:
    """Neither code that is to be reviewed, nor functions that do nothing."""
    reviewed = [row for row in TESTED if row["kind"] == "review"]
    assert all(row["bug"] for row in reviewed)
    ending = [row for row in reviewed if "waits for ever" not in row["bug"]]
    programs = [f"{code_of(row)}\n{row['test']}" for row in ending]
    programs += [f"{without_doing_anything(row['reference'])}\n{row['test']}" for row in TESTED]
    assert outcomes(programs, tmp_path) == ["failed"] * (len(ending) + len(TESTED))


@pytest.mark.parametrize("row", TESTED, ids=lambda row: row["id"])
def test_a_prompt_names_what_its_test_calls(row: dict[str, Any]) -> None:
    defined = re.findall(r"^(?:async )?(?:def|class) (\w+)", row["reference"], re.MULTILINE)
    called = [name for name in defined if re.search(rf"\b{name}\b", row["test"])]
    assert called
    assert all(name in row["prompt"] for name in called)
