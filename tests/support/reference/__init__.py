"""The pages of docs/reference, made from the code: `python -m tests.support.reference` writes them.

`PAGES` has the maker of each page by its file. A key, an option or a command without words is a
`Wordless`, so that nothing is listed and not explained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.reference import commands, folders, names, python_api, recipes, training

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
REMARK = (
    "<!-- Made from the code by `python -m tests.support.reference`; not written by hand. -->\n\n"
)

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands.page,
    "recipe.md": recipes.page,
    "filters.md": names.filters,
    "cleaners.md": names.cleaners,
    "sources.md": names.sources,
    "ledger.md": folders.ledger_page,
    "tables.md": folders.tables_page,
    "manifest.md": folders.manifest_page,
    "training.md": training.page,
    "python.md": python_api.page,
}


def text(name: str) -> str:
    """The text of a page."""
    return REMARK + PAGES[name]().rstrip() + "\n"


def write() -> list[str]:
    """Writes the pages that are not what the code says; returns their names."""
    FOLDER.mkdir(exist_ok=True)
    changed = []
    for name in PAGES:
        path, made = FOLDER / name, text(name)
        if not path.exists() or path.read_text(encoding="utf-8") != made:
            path.write_text(made, encoding="utf-8")
            changed.append(name)
    return changed
