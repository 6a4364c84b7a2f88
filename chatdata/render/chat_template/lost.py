"""What a chat template leaves out of a conversation without a word.

A template that has no place for reasoning, calls or tools mostly writes the rest, and says
nothing. Such a row would teach something else than the conversation says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from chatdata.render.conversation import Message, Messages, Tools, texts_of


def from_answer(text: str, message: Message) -> str | None:
    """What the text of an answer lacks, in words; None where it has all parts of the message."""
    content, reasoning = message["content"] or "", message.get("reasoning_content") or ""
    if not _holds(text, content):
        return "changes the content"
    if not _holds(text, reasoning):
        return "leaves out the reasoning"
    for call in message.get("tool_calls") or ():
        if not all(_holds(text, value) for value in _values(call["function"])):
            return f"leaves out the call of '{call['function']['name']}'"
    return None


def from_context(text: str, messages: Messages, tools: Tools | None) -> str | None:
    """What a conversation lacks of instructions, tools and their results, in words.

    None where it has all of them.
    """
    for tool in tools or ():
        name = tool.get("function", tool).get("name", "")
        if not _holds(text, name):
            return f"the chat template leaves out the tool '{name}'"
    for number, message in enumerate(messages):
        is_kept = message["role"] in _ANSWERED or _holds(text, message["content"] or "")
        if not is_kept:
            return f"the chat template leaves out the {message['role']}'s words in turn {number}"
    return None


_ANSWERED = ("user", "assistant")  # a template may clean a question; answers are checked apart


def _values(function: Message) -> Iterator[str]:
    """Yields the name of a function and the texts of its arguments."""
    yield function["name"]
    yield from texts_of(function.get("arguments"))


def _holds(text: str, part: str) -> bool:
    """Whether a text holds a part, as it is or as JSON escapes it."""
    words = part.strip()
    return words in text or any(
        json.dumps(words, ensure_ascii=ascii)[1:-1] in text for ascii in (False, True)
    )
