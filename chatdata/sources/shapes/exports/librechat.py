"""Conversations that LibreChat exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chatdata.sources._linear import RECORD_KEYS, Turn
from chatdata.sources._message import was_cut_off
from chatdata.sources.shapes._base import Tree, Trees, are_objects
from chatdata.sources.shapes._planting import (
    Sprout,
    chained,
    microseconds,
    planted,
    turns_of_blocks,
)
from chatdata.sources.shapes.exports._parts import parent_of, refused, turn_of
from chatdata.sources.tool_json import is_given
from chatdata.sources.values import identifier, text

_LISTS = ("messagesTree", "messages")
_KEYS = RECORD_KEYS | {"conversationId", *_LISTS}
_MESSAGE_KEYS = frozenset(
    [
        *("messageId", "parentMessageId", "isCreatedByUser", "text", "content", "createdAt"),
        *("children", "files", "error", "unfinished", "finish_reason"),
    ]
)


def _list(record: object) -> list[dict[str, Any]] | None:
    lists = [record.get(key) for key in _LISTS] if isinstance(record, dict) else []
    return next((messages for messages in lists if are_objects(messages)), None)


def _fits(record: object) -> bool:
    messages = _list(record)
    return messages is not None and all(
        isinstance(message.get("messageId"), str) and "isCreatedByUser" in message
        for message in messages
    )


def _read(record: Any) -> Tree:
    messages = list(_flat(_list(record) or [], None))
    sprouts: list[Sprout] = []
    for message, above in messages:
        parent = parent_of(message.get("parentMessageId")) or above
        created = microseconds(message.get("createdAt"))
        turns = list(_turns(message))
        if message.get("unfinished") is True or was_cut_off(message):
            turns = [*turns[:-1], turns[-1]._replace(train=False)]
        sprouts += chained(message["messageId"], parent, turns, created)
    id = identifier(record.get("conversationId"))
    only = [message for message, _ in messages]
    return Tree(id, planted(sprouts), _KEYS, only, _MESSAGE_KEYS)


def _flat(
    messages: Iterable[Any], above: str | None
) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Yields the messages of nested lists, each with the id of the message that holds it."""
    waiting = [(message, above) for message in messages]
    while waiting:
        message, parent = waiting.pop(0)
        if isinstance(message, dict) and isinstance(message.get("messageId"), str):
            yield message, parent
            below = message.get("children")
            below = below if isinstance(below, list) else []
            waiting += [(child, message["messageId"]) for child in below]


def _turns(message: Mapping[str, Any]) -> Iterator[Turn]:
    role = "user" if message.get("isCreatedByUser") is True else "assistant"
    if message.get("error") is True:
        yield refused(role, "the message is an error of the server")
    elif is_given(message.get("files")):
        yield refused(role, "'files' cannot be carried as text")
    elif are_objects(message.get("content")):
        yield from turns_of_blocks(role, list(_blocks(message["content"])))
    else:
        yield turn_of(role, text(message.get("text")))


def _blocks(content: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields parts of LibreChat as Anthropic's blocks."""
    for part in content:
        kind = part.get("type")
        if kind == "think":
            yield {"type": "thinking", "thinking": part.get("think")}
        elif kind == "tool_call" and isinstance(part.get("tool_call"), Mapping):
            call = part["tool_call"]
            yield {
                "type": "tool_use",
                "id": call.get("id"),
                "name": call.get("name"),
                "input": call.get("args"),
            }
            yield {
                "type": "tool_result",
                "tool_use_id": call.get("id"),
                "content": call.get("output"),
            }
        elif kind == "text" and isinstance(part.get("text"), Mapping):
            yield {"type": "text", "text": part["text"].get("value")}
        elif kind == "text" and isinstance(part.get("think"), str):
            yield {"type": "thinking", "thinking": part["think"]}
        else:
            yield part


SHAPES = (Trees(name="LibreChat export", keys=("messages",), fits=_fits, read=_read),)
