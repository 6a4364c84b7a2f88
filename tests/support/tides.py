"""A question that is answered by a tool, with thoughts, and the pieces of its row by QWEN_LIKE."""

from __future__ import annotations

from typing import Any

from tests.support.structured import call, calls

TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "High water?"},
    {"role": "assistant", "reasoning": "A tool knows.", "tool_calls": calls(call("tide"))},
    {"role": "tool", "content": "12:40", "name": "tide"},
    {"role": "assistant", "content": "At 12:40.", "reasoning": "It says so."},
]

QUESTION = "<|im_start|>user\nHigh water?<|im_end|>\n<|im_start|>assistant\n"
CALL = '<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>'
RESULT = "<|im_start|>user\n<tool_response>\n12:40\n</tool_response><|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"
FIRST, SECOND = "<think>\nA tool knows.\n</think>\n\n", "<think>\nIt says so.\n</think>\n\n"
END = "<|im_end|>"
