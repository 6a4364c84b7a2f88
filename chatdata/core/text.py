"""Text for a terminal."""

from __future__ import annotations


def printable(text: str, replacement: str = "") -> str:
    """The text with `replacement` in place of each character that could steer a terminal.

    Line feeds and tabs stay.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else replacement for c in text)
