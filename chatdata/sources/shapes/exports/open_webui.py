"""Chats that Open WebUI exports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatdata.sources._linear import RECORD_KEYS, Turn
from chatdata.sources.shapes._base import Tree, Trees
from chatdata.sources.shapes._planting import Sprout, microseconds, planted
from chatdata.sources.shapes.exports._parts import refused, turn_of
from chatdata.sources.tool_json import is_given
from chatdata.sources.values import identifier, shown, text

_KEYS = RECORD_KEYS | {"chat"}
_MESSAGE_KEYS = frozenset(
    ["id", "parentId", "childrenIds", "role", "content", "timestamp", "files"]
)
# Of a chat, whose `messages` are those of the current path again.
_CHAT = frozenset(["history", "messages", "currentId", "params", "system"])
_REASONING = re.compile(
    r'\s*<details type="reasoning"[^>]*>\s*<summary>[^<]*</summary>\n?(.*?)\n?</details>\s*', re.S
)
_DETAILS = '<details type="'


def _messages(record: object) -> Mapping[str, Any] | None:
    chat = record.get("chat") if isinstance(record, dict) else None
    history = chat.get("history") if isinstance(chat, dict) else None
    messages = history.get("messages") if isinstance(history, dict) else None
    return messages if isinstance(messages, dict) and messages else None


def _fits(record: object) -> bool:
    messages = _messages(record)
    return messages is not None and all(
        isinstance(message, dict) and isinstance(message.get("role"), str)
        for message in messages.values()
    )


def _read(record: Any) -> Tree:
    messages, chat = _messages(record) or {}, record["chat"]
    before = _system(chat)
    top = before[0].id if before else None
    sprouts = [
        Sprout(
            id,
            identifier(message.get("parentId")) or top,
            _turn(message),
            microseconds(message.get("timestamp")),
        )
        for id, message in messages.items()
    ]
    nodes = planted([*before, *sprouts], identifier(chat["history"].get("currentId")))
    id = identifier(record.get("id"))
    holders = [chat, chat["history"], *messages.values()]
    return Tree(id, nodes, _KEYS, holders, _MESSAGE_KEYS | _CHAT)


def _system(chat: Mapping[str, Any]) -> list[Sprout]:
    params = chat.get("params")
    words = params.get("system") if isinstance(params, Mapping) else None
    words = words or chat.get("system")
    return (
        [Sprout("system", None, turn_of("system", text(words)))]
        if isinstance(words, str) and words
        else []
    )


def _turn(message: Mapping[str, Any]) -> Turn:
    role = message["role"]
    if role not in ("user", "assistant", "system"):
        return refused(None, f"role {shown(role)}")
    if is_given(message.get("files")):
        return refused(role, "'files' cannot be carried as text")
    words = text(message.get("content"))
    if role != "assistant" or _DETAILS not in (words.text or ""):
        return turn_of(role, words)
    thought = _REASONING.match(words.text or "")
    rest = (words.text or "")[thought.end() :] if thought else words.text or ""
    if thought is None or _DETAILS in rest:
        return refused(role, "calls and code of the interface (<details>) cannot be carried")
    lines = [line.removeprefix(">").removeprefix(" ") for line in thought[1].split("\n")]
    return Turn(role, rest, None, reasoning="\n".join(lines).strip() or None)


SHAPES = (Trees(name="Open WebUI export", keys=("chat",), fits=_fits, read=_read),)
