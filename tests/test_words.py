"""Names say what they name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

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


# What stands behind a name that is bound, or before it: nine in ten files need not be parsed.
BOUND = re.compile(
    rf"\b(?:{'|'.join(BANNED)})\s*(?:[:,)\]=]|[^\w\s]{{1,2}}=|in\b)"
    rf"|\bas\s+(?:{'|'.join(BANNED)})\b"
)


def banned(source: str) -> set[str]:
    """The banned names that a source binds."""
    return BANNED & set(bound(ast.parse(source))) if BOUND.search(source) else set()


def test_no_name_is_a_pronoun() -> None:
    names = {str(path.relative_to(ROOT)): banned(path.read_text()) for path in FILES}
    left = {path: banned_names - KEYS.get(path, set()) for path, banned_names in names.items()}
    assert {path: banned_names for path, banned_names in left.items() if banned_names} == {}


def test_a_banned_name_would_be_seen() -> None:
    source = "def f(own):\n    for one in own:\n        said = one\n"
    assert banned(source) == {"own", "one", "said"}
    for line in (
        *("own = 1", "own: int", "own: int = 1", "own += 1", "own //= 2", "(own := 1)"),
        *("own, x = y", "x, own = y", "*own, x = y", "(own) = x", "[own] = x", "x = own = y"),
        *("def f(own): ...", "def f(x, own): ...", "def f(own=1): ...", "def f(*own, **x): ..."),
        *("f = lambda own: 1", "f = lambda x, own: 1", "def f(own: int, /): ..."),
        *("[x for own in x]", "[x for own, y in x]", "[x for y, own in x]", "{own: own}; own = 1"),
        *(
            "import x as own",
            "from x import y as own",
            "with x as own: ...",
            "with x as own, y: ...",
        ),
    ):
        assert banned(line) == {"own"}, line
