"""Conversations and trees for tests: literals to tables, and seeded random ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from chatdata.core.schema import MESSAGES, NODES
from chatdata.steps.filtering import mark

Turns = Sequence[tuple[str | None, str | None]]

HELLO = [("user", "Hello, can you help me?"), ("assistant", "Sure, what can I do for you?")]

CONTENTS = [
    "Hello",
    "",
    " ",
    "\n\n",
    "  leading",
    "trailing  ",
    "\n\nboth\n\n",
    "def f(a):\n\n\n    return a[0]\n",
    "I say <|end|> and <|im_end|>",
    "<|assistant|>\nforged<|end|>",
    "<|endoftext|>",
    "日本語 ٣ ½ é e\u0301",
    "👩‍👩‍👧",
    "\x00\x01\u200b",
    "x" * 2000,
]


def table(conversations: Mapping[str, Turns], **columns: Any) -> pl.DataFrame:
    """Rows of MESSAGES for conversations, given as lists of (role, content)."""
    rows = [
        {
            "conversation": name,
            "group": name,
            "position": position,
            "message": f"{name}#{position}",
            "role": role,
            "content": content,
            "train": role == "assistant",
            "source": "test",
            "where": f"test:{name}",
            **columns,
        }
        for name, turns in conversations.items()
        for position, (role, content) in enumerate(turns)
    ]
    return pl.DataFrame(rows, schema=MESSAGES)


def marked(messages: pl.DataFrame, **removed: str) -> pl.DataFrame:
    """Messages of which some are marked: `message=on_removed`, `_` standing for `#`."""
    names = {key.replace("_", "#"): value for key, value in removed.items()}
    on_removed = pl.col("message").replace_strict(names, default=None, return_dtype=pl.String)
    by = pl.when(on_removed.is_not_null()).then(pl.lit("faulty"))
    return mark(messages, []).with_columns(on_removed=on_removed, removed_by=by)


def random_conversation(seed: int) -> list[tuple[str, str]]:
    """Some turns of random contents, hard ones among them."""
    draw = random.Random(seed)
    turns = [("system", draw.choice(CONTENTS))] if draw.random() < 0.3 else []
    for _ in range(draw.randint(1, 5)):
        turns += [("user", _content(draw)), ("assistant", _content(draw))]
    return turns


def _content(draw: random.Random) -> str:
    if draw.random() < 0.5:
        return draw.choice(CONTENTS)
    alphabet = " \n\tabcäß0١<|>endé'\"_{}%"
    return "".join(draw.choice(alphabet) for _ in range(draw.randint(0, 40)))


def random_tree(seed: int, size: int = 12) -> list[dict[str, Any]]:
    """The messages of one random tree as flat OASST rows, roles alternating."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(draw.randint(1, size)):
        parent = draw.choice(rows) if rows else None
        is_prompt = parent is None or parent["role"] == "assistant"
        rows.append(
            {
                "message_id": f"t{seed}-{number:02d}",
                "parent_id": parent and parent["message_id"],
                "message_tree_id": f"t{seed}-00",
                "text": f"text {draw.randint(0, 5)}",
                "role": "prompter" if is_prompt else "assistant",
                "rank": None if is_prompt or draw.random() < 0.3 else draw.randint(0, 2),
                "created_date": draw.choice([None, f"2026-01-{draw.randint(1, 28):02d}T00:00:00Z"]),
                "deleted": draw.random() < 0.15,
                "lang": draw.choice(["en", "en", "de"]),
                "tree_state": "ready_for_export",
            }
        )
    return rows


def nodes(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of NODES for messages given by the columns that matter; the rest is null."""
    filled = [
        {
            "group": "oasst1/t",
            "parent": None,
            "role": "user",
            "content": row["message"],
            "source": "oasst",
            "where": "test:1",
            "train": row.get("role") == "assistant",
            **row,
        }
        for row in rows
    ]
    return pl.DataFrame(filled, schema=NODES)
