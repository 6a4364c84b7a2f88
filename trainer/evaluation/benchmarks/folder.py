"""The folder of a run: a file for each model, task and way of asking, and what all have in common.

settings.json                   what all runs in the folder have in common
runs/MODEL/TASK.plain.json      a finished run; `.template` where the chat template wrote
runs/MODEL/TASK.plain.jsonl     its items
results.json results.md card.md model-index.yaml
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import OutputError
from chatdata.core.files import place_file
from chatdata.core.hashing import short_hash

SETTINGS = "settings.json"
Rows = Iterable[dict[str, Any]]


class Cell(NamedTuple):
    """A model, a task, and whether the chat template writes the questions."""

    model: str
    task: str
    is_templated: bool

    @property
    def how(self) -> str:
        """How the questions are written, in a word."""
        return "template" if self.is_templated else "plain"


class Folder:
    """What has been measured, and what of it is there from earlier runs.

    Raises OutputError where the runs of the folder have other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        known = _read(path / SETTINGS)
        if known is not None and known != settings:
            raise _differs(path, "settings", known, settings)
        self.settings = settings

    def file(self, cell: Cell, suffix: str = "json") -> Path:
        """Where a run is."""
        name = re.sub(r"[^\w.-]+", "-", cell.model.rstrip("/")).strip("-.")[-60:]
        folder = self.path / "runs" / f"{name}-{short_hash(cell.model)}"
        return folder / f"{cell.task}.{cell.how}.{suffix}"

    def finished(self, cell: Cell, identity: dict[str, Any]) -> bool:
        """Whether a run is there. Raises OutputError where it is of another model or data."""
        run = _read(self.file(cell))
        if run is not None and run["identity"] != identity:
            where = f"{cell.model}, {cell.task} ({cell.how})"
            raise _differs(self.path, where, run["identity"], identity)
        return run is not None

    def add(self, cell: Cell, run: dict[str, Any], rows: Rows) -> None:
        """Keeps a finished run: its items first, so that no run is there without them."""
        _write(self.path / SETTINGS, self.settings)
        with place_file(self.file(cell, "jsonl")) as new:
            new.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
        _write(self.file(cell), {"task": cell.task, "template": cell.is_templated, **run})

    def runs(self) -> Iterator[dict[str, Any]]:
        """Yields the finished runs of the folder."""
        for path in sorted((self.path / "runs").glob("*/*.json")):
            yield json.loads(path.read_text(encoding="utf-8"))

    def items(self, cell: Cell) -> list[dict[str, Any]]:
        """The items of a run."""
        text = self.file(cell, "jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write(path: Path, value: Any) -> None:
    with place_file(path) as new:
        new.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


def _differs(path: Path, what: str, old: dict[str, Any], new: dict[str, Any]) -> OutputError:
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told = ", ".join(
        f"{key} was {_short(old.get(key))} and is {_short(new.get(key))}" for key in keys
    )
    return OutputError(
        f"'{path}' holds a run with other values of {what}: {told}; choose another --out."
    )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 40 else text[:36] + "..."
