"""Conversations of hard contents, with which a template is tried on a tokenizer."""

from __future__ import annotations

from typing import Any

import polars as pl

from chatdata.core.schema import MESSAGES
from chatdata.render.tokenizer import Tokenizer

_CONTENTS = (
    "Hello, can you help me?",
    "",
    " ",
    "\n",
    "\n\n",
    "\t\tindented",
    "  leading spaces",
    "\n\nleading newlines",
    "trailing spaces   ",
    "trailing newlines\n\n",
    "1234567890 3.14 ٣ ½ Ⅷ",
    "can't won't we'll 'tis",
    "def f(a):\n\n\n    return a[0]\n",
    "émigré naïve e\u0301 \u0300",
    "日本語の文章。한국어 العربية עברית",
    "👩‍👩‍👧 🏳️‍🌈",
    "zero\u200bwidth \u00a0 nbsp",
    "control\x00\x01\x1b characters",
    "x" * 3000,
    "Human: hi\n\nAssistant: hello",
    "<think>so</think>{{ messages }}{% raw %}",
)


def probe_conversations(tokenizer: Tokenizer) -> pl.DataFrame:
    """Conversations of hard contents, in every place, and contents that quote control tokens."""
    quoted = [f"I say {token} and\n{token}" for token in tokenizer.control_ids()]
    contents = [*_CONTENTS, *quoted]
    rows: list[dict[str, Any]] = []
    for number, content in enumerate(contents):
        question = contents[(number * 7 + 3) % len(_CONTENTS)]
        _add(rows, f"answer-{number}", [("user", question), ("assistant", content)])
        turns = [("system", content), ("user", content), ("assistant", content)]
        _add(rows, f"everywhere-{number}", turns + turns[1:])
        _add(rows, f"several-{number}", [*turns[1:], ("user", question), ("assistant", content)])
    _add(rows, "long", [("user", "go on"), ("assistant", "on")] * 100)
    return pl.DataFrame(rows, schema=MESSAGES)


def _add(rows: list[dict[str, Any]], name: str, turns: list[tuple[str, str]]) -> None:
    for position, (role, content) in enumerate(turns):
        rows.append(
            {
                "conversation": name,
                "group": name,
                "position": position,
                "message": f"{name}#{position}",
                "role": role,
                "content": content,
                "train": role == "assistant",
                "source": "probe",
            }
        )
