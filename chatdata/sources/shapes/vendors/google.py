"""Conversations of Vertex and Gemini, and of PaLM before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatdata.sources import tool_json
from chatdata.sources._blocks import more_keys
from chatdata.sources._linear import Reading
from chatdata.sources._message import MESSAGE_KEYS
from chatdata.sources.shapes._base import Conversations, are_objects
from chatdata.sources.shapes.vendors._openai_form import Message, as_openai, texts

_SYSTEMS = ("systemInstruction", "system_instruction")
_GEMINI_ROLES = {"user": "user", "model": "assistant", "function": "tool", "system": "system"}


def _is_contents(record: object) -> bool:
    contents = record.get("contents") if isinstance(record, dict) else None
    return are_objects(contents) and all(
        isinstance(content.get("parts"), list) and isinstance(content.get("role"), str | None)
        for content in contents
    )


def _read_contents(record: Any) -> Reading:
    messages = [message for c in record["contents"] for message in _of_content(c)]
    given = next((record[key] for key in _SYSTEMS if record.get(key)), None)
    before = [{"role": "system", "content": _words(given)}] if given else []
    tools = {"tools": _declarations(record["tools"])} if record.get("tools") else {}
    return as_openai(
        record, [*before, *messages], ("contents", *_SYSTEMS), tools, [*record["contents"], given]
    )


def _words(value: object) -> object:
    """The words of a system instruction: a text, or an object with parts."""
    parts = value.get("parts") if isinstance(value, Mapping) else None
    listed = [parts] if isinstance(parts, Mapping) else parts
    return texts(listed) if isinstance(listed, list) else value


def _of_content(content: Message) -> Iterator[Message]:
    """Yields a content as messages: a result of a function is a message by itself."""
    role = _GEMINI_ROLES.get(str(content.get("role") or "user"), content.get("role"))
    parts: dict[str, list[Any]] = {kind: [] for kind in ("call", "result", "thought", "text")}
    for part in map(_snake, content["parts"]):
        parts[_gemini_kind(part)].append(part)
    for part in parts["result"]:
        answer = part["function_response"]
        yield {"role": "tool", "name": answer.get("name"), "content": answer.get("response")}
    if parts["text"] or parts["call"] or parts["thought"]:
        beside: dict[str, Any] = {}
        if parts["call"]:
            beside["tool_calls"] = [part["function_call"] for part in parts["call"]]
        if parts["thought"]:
            beside["reasoning"] = "".join(part["text"] for part in parts["thought"])
        words = texts(parts["text"]) if parts["text"] else None
        yield {"role": role, "content": words, **beside}


def _gemini_kind(part: object) -> str:
    """What a part is; words, where it is none of the rest or more than one thing."""
    if not isinstance(part, Mapping):
        return "text"
    if part.keys() == {"function_call"} and isinstance(part["function_call"], Mapping):
        return "call"
    if part.keys() == {"function_response"} and isinstance(part["function_response"], Mapping):
        return "result"
    is_thought = part.keys() == {"text", "thought"} and part["thought"] is True
    return "thought" if is_thought and isinstance(part["text"], str) else "text"


_SNAKE = {"functionCall": "function_call", "functionResponse": "function_response"}


_MARKS = ("thoughtSignature", "thought_signature")  # that say nothing


def _snake(part: object) -> Any:
    """A part with a single spelling of its keys, without nulls and marks."""
    if not isinstance(part, Mapping):
        return part
    named = {_SNAKE.get(key, key): value for key, value in part.items() if value is not None}
    is_true = named.get("thought") is not False
    return {k: v for k, v in named.items() if k not in _MARKS and (k != "thought" or is_true)}


def _declarations(tools: object) -> object:
    """The functions that a list of Gemini's tools declares; anything else as it stands."""
    listed = tool_json.parsed(tools)
    if not are_objects(listed):
        return listed
    keys = ("functionDeclarations", "function_declarations")
    lists = [tool[key] for tool in listed for key in keys if are_objects(tool.get(key))]
    is_all = all(any(are_objects(tool.get(key)) for key in keys) for tool in listed)
    return [function for functions in lists for function in functions] if is_all else listed


def _is_palm(record: object) -> bool:
    messages = record.get("messages") if isinstance(record, dict) else None
    return are_objects(messages) and all(
        isinstance(m.get("author"), str) and isinstance(m.get("content"), str) for m in messages
    )


_AUTHORS = {"user": "user", "assistant": "assistant", "bot": "assistant"}


def _read_palm(record: Any) -> Reading:
    messages = [
        {
            **{k: v for k, v in m.items() if k != "author"},
            "role": _AUTHORS.get(m["author"].lower(), m["author"]),
        }
        for m in record["messages"]
    ]
    context = record.get("context")
    before = [{"role": "system", "content": context}] if context else []
    return as_openai(record, [*before, *messages], ("messages", "context"), {})


SHAPES = (
    Conversations(
        name="Vertex and Gemini contents",
        keys=("contents",),
        fits=_is_contents,
        read=_read_contents,
        message_keys=MESSAGE_KEYS | {"parts"},
    ),
    Conversations(
        name="PaLM chat",
        keys=("messages", "context"),
        fits=_is_palm,
        read=_read_palm,
        message_keys=MESSAGE_KEYS,
        more_keys=more_keys,
    ),
)
