"""What a chat template leaves out without a word is refused, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata.core.schema import MESSAGES
from chatdata.render.fit import fit
from chatdata.render.segments.text_pool import TextPool
from tests.support.templates import OPTIONS, PLAIN, load_bytes

pytest.importorskip("transformers")

CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": "tide"}}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
SAYS_REASONING = PLAIN.replace(
    "m['content'] +", "('<think>' + (m.reasoning_content or '') + '</think>') + m['content'] +"
)
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}" + PLAIN.partition("%}")[2]


def why_refused(template: str, turns: list[dict[str, Any]], tmp_path: Path) -> str:
    """The reason for which a conversation is refused; empty where it is written."""
    rows = [
        {
            "conversation": "x",
            "group": "x",
            "position": position,
            "message": f"x#{position}",
            "train": turn["role"] == "assistant",
            **turn,
        }
        for position, turn in enumerate(turns)
    ]
    messages = pl.DataFrame(rows, schema=MESSAGES)
    outcomes = fit(messages, TextPool(load_bytes(template, tmp_path)), OPTIONS).outcomes
    details = outcomes.filter(pl.col("unit") == "conversation")["detail"].to_list()
    return details[0] if details else ""


QUESTION = {"role": "user", "content": "What is the tide?"}
ANSWER = {"role": "assistant", "content": "High."}
THOUGHT = {**ANSWER, "reasoning": "Moon."}
CALLED = {"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])}
SYSTEM = {"role": "system", "content": "Be brief."}
OFFERED = [{**turn, "tools": json.dumps(TOOLS)} for turn in (QUESTION, ANSWER)]


@pytest.mark.parametrize(
    ("template", "turns", "words"),
    [
        (PLAIN, [QUESTION, ANSWER], ""),
        (PLAIN, [QUESTION, THOUGHT], "leaves out the reasoning of turn 1"),
        (SAYS_REASONING, [QUESTION, THOUGHT], ""),
        (PLAIN, [QUESTION, CALLED], "leaves out the call of 'look_up' of turn 1"),
        (PLAIN, OFFERED, "leaves out the tool 'look_up'"),
        (NO_SYSTEM, [SYSTEM, QUESTION, THOUGHT], "leaves out the system's words in turn 0"),
    ],
)
def test_what_is_left_out_is_named(
    template: str, turns: list[dict[str, Any]], words: str, tmp_path: Path
) -> None:
    reason = why_refused(template, turns, tmp_path)
    assert words in reason
    assert bool(words) == bool(reason)
