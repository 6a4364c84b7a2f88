"""The export of a Claude account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatdata.sources._linear import RECORD_KEYS, Turn
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
from chatdata.sources.values import identifier, shown, text

_SENDERS = {"human": "user", "assistant": "assistant"}
_KEYS = RECORD_KEYS | {"uuid", "chat_messages", "current_leaf_message_uuid"}
_MESSAGE_KEYS = frozenset(
    [
        *("uuid", "text", "content", "sender", "created_at", "parent_message_uuid"),
        *("attachments", "files", "files_v2"),
    ]
)


def _fits(record: object) -> bool:
    messages = record.get("chat_messages") if isinstance(record, dict) else None
    return are_objects(messages) and all("sender" in message for message in messages)


def _read(record: Any) -> Tree:
    messages = record["chat_messages"]
    is_linear = not any(message.get("parent_message_uuid") for message in messages)
    sprouts: list[Sprout] = []
    before: str | None = None
    for number, message in enumerate(messages):
        id = identifier(message.get("uuid")) or str(number)
        parent = before if is_linear else parent_of(message.get("parent_message_uuid"))
        created = microseconds(message.get("created_at"))
        sprouts += chained(id, parent, _turns(message), created)
        before = id
    current = identifier(record.get("current_leaf_message_uuid"))
    nodes = planted(sprouts, current)
    return Tree(identifier(record.get("uuid")), nodes, _KEYS, messages, _MESSAGE_KEYS)


def _turns(message: Mapping[str, Any]) -> list[Turn]:
    sender = message.get("sender")
    role = _SENDERS.get(sender) if isinstance(sender, str) else None
    if role is None:
        return [refused(None, f"role {shown(sender)}")]
    for key in ("attachments", "files", "files_v2"):
        if is_given(message.get(key)):
            return [refused(role, f"'{key}' cannot be carried as text")]
    blocks = message.get("content")
    if not are_objects(blocks):
        return [turn_of(role, text(message.get("text")))]
    told = [block for block in blocks if block.get("type") != "token_budget"]
    return turns_of_blocks(role, told) if told else [turn_of(role, text(message.get("text")))]


SHAPES = (Trees(name="Claude export", keys=("chat_messages",), fits=_fits, read=_read),)
