"""Conversations of hard contents, with which a template is tried on a tokenizer."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from chatdata.core.schema import MESSAGES
from chatdata.render import chat_template
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
    _add(rows, "long", [("user", "go on"), ("assistant", "on")] * 25)
    return pl.DataFrame(rows, schema=MESSAGES)


def with_reasoning(conversations: pl.DataFrame) -> pl.DataFrame:
    """The conversations under names of their own, with a thought before each answer."""
    thought = pl.when(pl.col("role") == "assistant").then(pl.lit("First, the facts.\nThen 2 + 2."))
    names = pl.col("conversation", "message").str.replace("^", "thinking-")
    return conversations.with_columns(names, reasoning=thought)


_TOOLS = json.dumps(chat_template.TOOLS)
_CALL_ID = "call00001"


def structured_conversations() -> pl.DataFrame:
    """Conversations with reasoning, with tools, and with both."""
    rows: list[dict[str, Any]] = []
    turns = [("user", "What is the tide?"), ("assistant", "It is high.")]
    _add(rows, "thought", [*turns, ("user", "And now?"), ("assistant", "Low.")])
    for name in ("calls", "thoughts-and-calls"):
        _add(rows, name, [turns[0], ("assistant", ""), ("tool", "[12]"), turns[1]])
    table = pl.DataFrame(rows, schema=MESSAGES)
    kind, is_answer = pl.col("conversation"), pl.col("role") == "assistant"
    is_call = is_answer & (pl.col("position") == 1) & (kind != "thought")
    arguments = {"word": "tide", "where": {"harbour": "Faro", "depths": [1.5, None, True]}}
    function = {"name": "look_up", "arguments": arguments}
    call = json.dumps([{"id": _CALL_ID, "type": "function", "function": function}])
    is_result = pl.col("role") == "tool"
    return table.with_columns(
        content=pl.when(is_call.not_()).then("content"),
        reasoning=pl.when(is_answer & (kind != "calls")).then(pl.lit("I look\nat it: <1>.")),
        tool_calls=pl.when(is_call).then(pl.lit(call)),
        tool_call_id=pl.when(is_result).then(pl.lit(_CALL_ID)),
        name=pl.when(is_result).then(pl.lit("look_up")),
        tools=pl.when(kind != "thought").then(pl.lit(_TOOLS)),
    )


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
