"""Files of an evaluation, written whole or not at all.

Half of a character, which a model may write, stands in them as an escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from chatdata.core.files import place_file


def write_text(path: Path, text: str) -> None:
    """Writes a text to a file."""
    with place_file(path) as new:
        new.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Writes a value to a file, indented."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, values: Iterable[object]) -> None:
    """Writes values to a file, a line each."""
    write_text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))
