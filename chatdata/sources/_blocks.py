"""Messages of Anthropic and of Harmony as messages of OpenAI's form.

Anthropic's content is a list of blocks: thoughts, words and calls of the assistant, results of
tools among the user's words. A result becomes a message of its own, with the role `tool`.

    [{"type": "thinking", "thinking": "..."}, {"type": "tool_use", "id": ..., "input": {...}}]

Harmony (gpt-oss) writes a message for each channel: thoughts in `analysis`, calls and words before
calls in `commentary`, the answer in `final`. Thoughts go to the message that follows them.

Messages that are neither, and blocks in an order that OpenAI's form cannot say, stay as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chatdata.sources import tool_json
from chatdata.sources._message import PREFILLS

Message = Mapping[str, Any]

_THINKING = ("thinking", "redacted_thinking")
_BLOCKS = frozenset([*_THINKING, "tool_use", "tool_result"])
_FUNCTIONS = "functions."  # before the name of a tool, in Harmony


def as_messages(value: object) -> list[Any] | None:
    """A list of messages, also where it is written as JSON in a string; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        value = tool_json.parsed(value)
    return value if isinstance(value, list) else None


def openai_form(messages: Sequence[object]) -> Iterator[object]:
    """Yields the messages, those of Anthropic and of Harmony in OpenAI's form.

    A message that is written as JSON in a string is parsed.
    """
    messages = [_parsed(message) for message in messages]
    for message in _without_channels(messages) if _has_channels(messages) else messages:
        if isinstance(message, dict) and _has_blocks(message.get("content")):
            yield from _without_blocks(message)
        else:
            yield message


def more_keys(message: Message) -> tuple[str, ...]:
    """The keys of a message that are looked at in messages of Harmony alone, or where they say yes
    or no."""
    of_harmony = ["recipient"] if message.get("channel") else []
    return (*of_harmony, *(key for key in PREFILLS if isinstance(message.get(key), bool)))


def _parsed(message: object) -> object:
    is_json = isinstance(message, str) and message.lstrip().startswith("{")
    return tool_json.parsed(message) if is_json else message


# ---------------------------------------------------------------------------------------- Anthropic


def _has_blocks(content: object) -> bool:
    return isinstance(content, list) and any(_type(block) in _BLOCKS for block in content)


def _type(block: object) -> Any:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else None


def _without_blocks(message: Message) -> Iterator[Message]:
    if message.get("role") != "assistant":
        yield from _with_results(message)
        return
    order = [_place(block) for block in message["content"]]
    yield _answer(message) if order == sorted(order) else message


def _place(block: object) -> int:
    """Where a block stands in a message of OpenAI's form: thoughts, then words, then calls."""
    kind = _type(block)
    return 0 if kind in _THINKING else 2 if kind == "tool_use" else 1


def _answer(message: Message) -> Message:
    """A message of the assistant whose thoughts and calls stand beside its words."""
    places: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for block in message["content"]:
        places[_place(block)].append(block)
    thoughts, words, calls = places.values()
    beside = {"thinking_blocks": thoughts} if thoughts else {}
    if calls:
        beside["tool_calls"] = [*(message.get("tool_calls") or []), *calls]
    return {**message, "content": words or None, **beside}


def _with_results(message: Message) -> Iterator[Message]:
    """Yields a message for each result of a tool, and messages of the words between them."""
    for is_result, group in itertools.groupby(
        message["content"], key=lambda block: _type(block) == "tool_result"
    ):
        if is_result:
            yield from map(_result, group)
        else:
            yield {**message, "content": list(group)}


def _result(block: Message) -> Message:
    content = block.get("content")
    words = "" if content is None else content
    return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": words}


# ------------------------------------------------------------------------------------------ Harmony


def _has_channels(messages: Iterable[object]) -> bool:
    return any(isinstance(message, dict) and message.get("channel") for message in messages)


def _without_channels(messages: Iterable[Any]) -> Iterator[object]:
    """Yields the messages, thoughts beside the answer or the call that they come before."""
    thoughts: list[str] = []
    for message in messages:
        if _is_thought(message):
            thoughts.append(message["content"])
            continue
        message = _call_or_result(message) if isinstance(message, dict) else message
        beside = {"reasoning": "\n\n".join(thoughts)} if thoughts else {}
        if beside and not _is_answer(message):
            yield {"role": "assistant", "content": None, **beside}
            beside = {}
        yield {**message, **beside} if beside else message
        thoughts = []
    if thoughts:
        yield {"role": "assistant", "content": None, "reasoning": "\n\n".join(thoughts)}


_THOUGHT = frozenset(["role", "channel", "content"])


def _is_thought(message: Any) -> bool:
    """Whether a message is a thought and nothing else: with a flag beside, it stays by itself."""
    return (
        _is_answer(message)
        and message.get("channel") == "analysis"
        and isinstance(message.get("content"), str)
        and all(message[key] is None for key in message.keys() - _THOUGHT)
    )


def _is_answer(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _call_or_result(message: Message) -> Message:
    """A call, a result or a lonely thought of Harmony in OpenAI's form; or the message as it is."""
    recipient, name = message.get("recipient"), message.get("name")
    if message.get("role") == "assistant" and isinstance(recipient, str) and recipient != "all":
        function = {
            "name": recipient.removeprefix(_FUNCTIONS),
            "arguments": tool_json.parsed(message.get("content")),
        }
        return {**message, "content": None, "tool_calls": [{"function": function}]}
    if message.get("role") == "tool" and isinstance(name, str):
        return {**message, "name": name.removeprefix(_FUNCTIONS)}
    if message.get("role") == "assistant" and message.get("channel") == "analysis":
        return {**message, "content": None, "reasoning": message.get("content")}
    return message
