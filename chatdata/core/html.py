"""Small tables in HTML, as notebooks show them: nothing but escaped words, nothing from outside."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table: a heading for each column, and its rows. Numbers stand on the right."""
    titles = "".join(_cell("th", title) for title in head)
    lines = ("".join(_cell("td", value) for value in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def paragraph(words: str) -> str:
    """A paragraph of words."""
    return f"<p>{html.escape(words)}</p>"


def _cell(tag: str, value: object) -> str:
    if isinstance(value, int):
        return f'<{tag} style="text-align:right">{value:,}</{tag}>'
    words = "" if value is None else html.escape(str(value))
    return f'<{tag} style="text-align:left"><bdi>{words}</bdi></{tag}>'
