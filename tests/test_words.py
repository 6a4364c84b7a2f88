"""Names say what they name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BANNED = {"own", "one", "said", "found", "there", "laid", "gone", "other"}
KEYS = {"chatdata/steps/entries.py": {"found"}}  # names that are keys of manifest.json
FILES = [path for top in ("chatdata", "trainer", "tests") for path in (ROOT / top).rglob("*.py")]


def bound(tree: ast.Module) -> Iterator[str]:
    """Yields the names that a module binds: variables, parameters, fields, imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.alias(asname=str(name)):
                yield name


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_pronoun(path: Path) -> None:
    allowed = KEYS.get(str(path.relative_to(ROOT)), set())
    banned = BANNED & set(bound(ast.parse(path.read_text()))) - allowed
    assert not banned, f"{path}: {banned}"


def test_a_banned_name_would_be_seen() -> None:
    source = "def f(own):\n    for one in own:\n        said = one\n"
    assert set(bound(ast.parse(source))) == {"own", "one", "said"}
