"""Requests of Bedrock's Converse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatdata.sources._blocks import more_keys
from chatdata.sources._linear import Reading
from chatdata.sources._message import MESSAGE_KEYS
from chatdata.sources.shapes._base import Conversations, are_objects
from chatdata.sources.shapes.vendors._openai_form import Message, as_openai, texts


def _fits(record: object) -> bool:
    messages = record.get("messages") if isinstance(record, dict) else None
    return are_objects(messages) and all(
        isinstance(message.get("role"), str)
        and are_objects(message.get("content"))
        and not any("type" in part for part in message["content"])
        for message in messages
    )


def _read(record: Any) -> Reading:
    messages = [part for message in record["messages"] for part in _messages(message)]
    system = record.get("system")
    words = _without_marks(system) if are_objects(system) else []
    before = [{"role": "system", "content": texts(words)}] if words else []
    config = record.get("toolConfig")
    specs = config.get("tools") if isinstance(config, Mapping) else None
    tools = {"tools": list(map(_spec, _without_marks(specs)))} if are_objects(specs) else {}
    keys = ("messages", "system", "toolConfig", "schemaVersion")
    known = (
        keys if are_objects(system) or not system else ("messages", "toolConfig", "schemaVersion")
    )
    return as_openai(record, [*before, *messages], known, tools)


def _without_marks(parts: Iterable[Message]) -> list[Message]:
    """What says something: a cache point does not."""
    return [part for part in parts if _kind(part) != _MARK]


_MARK = "cachePoint"
_KINDS = ("toolUse", "toolResult", "reasoningContent", _MARK)


def _kind(part: Message) -> str:
    """What a part is; words, where it is none of the rest or more than one thing."""
    kind = next(iter(part)) if len(part) == 1 else "text"
    if kind not in _KINDS or not isinstance(part[kind], Mapping):
        return "text"
    return "text" if kind == "reasoningContent" and _thought(part) is None else kind


def _messages(message: Message) -> Iterator[Message]:
    parts: dict[str, list[Any]] = {kind: [] for kind in (*_KINDS, "text")}
    for part in message["content"]:
        given = {key: value for key, value in part.items() if value is not None}
        parts[_kind(given)].append(given)
    for part in parts["toolResult"]:
        result = part["toolResult"]
        yield {
            "role": "tool",
            "tool_call_id": result.get("toolUseId"),
            "content": _result(result.get("content")),
        }
    thoughts = [_thought(part) or "" for part in parts["reasoningContent"]]
    calls = [
        {"id": call.get("toolUseId"), "name": call.get("name"), "input": call.get("input")}
        for call in (part["toolUse"] for part in parts["toolUse"])
    ]
    if parts["text"] or calls or thoughts:
        beside: dict[str, Any] = {"reasoning": "".join(thoughts)} if thoughts else {}
        if calls:
            beside["tool_calls"] = calls
        flags = {key: value for key, value in message.items() if key != "content"}
        yield {**flags, "content": texts(parts["text"]) if parts["text"] else None, **beside}


def _result(content: object) -> object:
    """The words of a result: texts joined, or the value that is its only part."""
    if not are_objects(content):
        return content
    if all(part.keys() == {"text"} for part in content):
        texts = [part["text"] for part in content]
        return "".join(texts) if all(isinstance(text, str) for text in texts) else texts
    values = [part["json"] if part.keys() == {"json"} else part for part in content]
    return values[0] if len(values) == 1 else values


def _thought(part: Message) -> str | None:
    thought = part.get("reasoningContent")
    words = thought.get("reasoningText") if isinstance(thought, Mapping) else None
    text = words.get("text") if isinstance(words, Mapping) else None
    return text if isinstance(text, str) else None


def _spec(tool: Message) -> object:
    spec = tool.get("toolSpec")
    if not isinstance(spec, Mapping):
        return tool
    schema = spec.get("inputSchema")
    inner = schema.get("json", schema) if isinstance(schema, Mapping) else schema
    return {"name": spec.get("name"), "description": spec.get("description"), "parameters": inner}


SHAPES = (
    Conversations(
        name="Bedrock Converse",
        keys=("messages",),
        fits=_fits,
        read=_read,
        message_keys=MESSAGE_KEYS,
        more_keys=more_keys,
    ),
)
