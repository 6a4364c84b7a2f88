"""FastChat's cleaning of ShareGPT, written from the published description of its rules.

Turns by their number, blocked words in any turn, HTML to Markdown whether a value is HTML or not,
then text by text (`clean_sharegpt`, as of 2023). Used by `sharegpt.py`, to compare with.
"""

from __future__ import annotations

import re
import warnings

from markdownify import markdownify

Turn = tuple[str, str, str]  # message id, role, content

_FENCE = re.compile(r"```\s*(.*?)(?:Copy code)+(.+?)\s*?```", re.DOTALL)


def conversation(turns: list[Turn]) -> list[tuple[str, str]] | str:
    """The turns that are kept of a conversation, as (message id, text), or why none is."""
    turns = turns[1:] if len(turns) > 1 and turns[0][1] != "user" else turns
    turns = turns[:-1] if len(turns) > 1 and turns[-1][1] == "user" else turns
    if len(turns) <= 1:
        return "too short"
    if any(turn[1] != ("user", "assistant")[i % 2] for i, turn in enumerate(turns)):
        return "wrong format"
    if any(re.search("openai|chatgpt", turn[2], re.IGNORECASE) for turn in turns):
        return "blocked words"
    kept: list[tuple[str, str]] = []
    for message, role, content in turns:
        cleaned = text(content)
        if cleaned is None:
            return "parser error"
        if role == "assistant" and cleaned.startswith("Too many requests in 1 hour"):
            return "blocked response"
        if not cleaned or not cleaned[0].isprintable():
            break
        kept.append((message, cleaned))
    kept = kept[: len(kept) // 2 * 2]
    return kept if sum(len(words) for _, words in kept) >= 16 else "too short"


def text(html: str) -> str | None:
    """A value, read as HTML; None where the parser or the converter fails."""
    opened = re.sub(r"</?(?:div|span)[^>]*>", "", html)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a text looks like no HTML
            markdown = markdownify(opened, escape_asterisks=True, escape_underscores=True).strip()
    except Exception:
        return None
    markdown = _FENCE.sub(r"```\1\n\2\n```", markdown)
    markdown = re.sub(r"\d+ / \d+|Copy\d+ chars / \d+ words", "", markdown)
    return markdown.replace("\n\n\n", "\n").strip()
