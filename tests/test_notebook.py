"""The example notebook: valid, without outputs, and every cell runs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parent.parent / "docs" / "notebooks" / "first_dataset.ipynb"


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """The notebook as plain values."""
    values: dict[str, Any] = json.loads(PATH.read_text())
    return values


def cells(notebook: dict[str, Any], kind: str) -> list[str]:
    """The texts of the cells of a kind."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_it_is_a_notebook_of_format_4(notebook: dict[str, Any]) -> None:
    assert notebook.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    always = {"cell_type", "id", "metadata", "source"}
    keys = {"markdown": always, "code": always | {"execution_count", "outputs"}}
    for cell in notebook["cells"]:
        assert cell.keys() == keys[cell["cell_type"]]
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)


def test_its_links_lead_somewhere(notebook: dict[str, Any]) -> None:
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(cells(notebook, "markdown")))
    assert links
    assert all((PATH.parent / link).is_file() for link in links), links


@pytest.mark.slow
def test_every_cell_runs(
    notebook: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process runs the cells in order; what a cell ends with can be shown."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = []
    for source in cells(notebook, "code"):
        *statements, last = ast.parse(source).body
        exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    tables = [value._repr_html_() for value in shown if value is not None]
    assert len(tables) == 5  # manifest, explanation, verdicts, audit, difference
    assert all("<table" in table for table in tables)
    assert not any("✗" in table for table in tables[:3])
