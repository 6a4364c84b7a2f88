"""The export of a ChatGPT account: `conversations.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatdata.sources import tool_json
from chatdata.sources._linear import RECORD_KEYS, Turn
from chatdata.sources.shapes._base import Tree, Trees, are_objects, has
from chatdata.sources.shapes._planting import Sprout, microseconds, planted
from chatdata.sources.shapes.exports._parts import refused, turn_of
from chatdata.sources.values import Text, identifier, shown, text

_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "system"}
_RESULTS = {
    "execution_output": "text",
    "system_error": "text",
    "tether_quote": "text",
    "tether_browsing_display": "result",
}


def _fits(record: object) -> bool:
    mapping = record.get("mapping") if isinstance(record, dict) else None
    if not isinstance(mapping, dict):
        return False
    nodes = [node for node in mapping.values() if node is not None]
    messages = [node.get("message") for node in nodes if isinstance(node, dict)]
    is_tree = len(messages) == len(nodes)
    return is_tree and any(has(message, "author", "content") for message in messages)


_KEYS = RECORD_KEYS | {"mapping", "current_node"}
_MESSAGE_KEYS = frozenset(
    [
        *("id", "author", "content", "create_time", "recipient", "weight"),
        *("message", "parent", "children"),
    ]
)


def _read(record: Any) -> Tree:
    nodes = {id: node for id, node in record["mapping"].items() if isinstance(node, dict)}
    messages = [n["message"] for n in nodes.values() if isinstance(n.get("message"), dict)]
    sprouts = [_sprout(id, node) for id, node in nodes.items()]
    id = identifier(record.get("conversation_id")) or identifier(record.get("id"))
    current = identifier(record.get("current_node"))
    holders = [*nodes.values(), *messages]
    return Tree(id, planted(sprouts, current), _KEYS, holders, _MESSAGE_KEYS)


def _sprout(id: str, node: Mapping[str, Any]) -> Sprout:
    message = node.get("message")
    parent = identifier(node.get("parent"))
    if not isinstance(message, dict):
        return Sprout(id, parent, None)
    turn = _turn(message)
    if turn is not None and (message.get("weight") == 0 or _was_cut_off(message)):
        turn = turn._replace(train=False)
    return Sprout(id, parent, turn, microseconds(message.get("create_time")))


_CUT_OFF = ("max_tokens", "interrupted")


def _was_cut_off(message: Mapping[str, Any]) -> bool:
    """Whether the server, or the person, stopped an answer before its end."""
    metadata = message.get("metadata")
    finish = metadata.get("finish_details") if isinstance(metadata, Mapping) else None
    return isinstance(finish, Mapping) and finish.get("type") in _CUT_OFF


def _turn(message: Mapping[str, Any]) -> Turn | None:
    """The turn of a message; None where it says nothing to the model."""
    author, content = message.get("author"), message.get("content")
    if not isinstance(author, Mapping) or not isinstance(content, Mapping):
        return refused(None, "a message without an author, or without content")
    kind, speaker = content.get("content_type"), author.get("role")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        return refused(None, f"role {shown(speaker)}")
    if kind == "reasoning_recap":  # how long the thought took
        return None
    if kind in ("user_editable_context", "model_editable_context"):
        return _context(content)
    if kind == "thoughts":
        return _thoughts(content)
    words = _words(kind, content)
    if role == "system" and words.text == "":
        return None
    recipient = message.get("recipient")
    if role == "assistant" and isinstance(recipient, str) and recipient != "all":
        return _sent_to_tool(recipient, kind, words)
    name = author.get("name") if role == "tool" else None
    return turn_of(role, words, name=name)


def _words(kind: object, content: Mapping[str, Any]) -> Text:
    if kind in ("text", "multimodal_text"):
        parts = content.get("parts")
        if not isinstance(parts, list):
            return Text(None, "no text" if parts is None else "parts that are no list")
        odd = next((part for part in parts if not isinstance(part, str)), None)
        if isinstance(odd, Mapping):
            return Text(None, f"a part of type {shown(odd.get('content_type'))} is no text")
        return text("\n".join(map(str, parts)))
    if kind == "code":
        return text(content.get("text"))
    if isinstance(kind, str) and kind in _RESULTS:
        return text(content.get(_RESULTS[kind]))
    return Text(None, f"content of type {shown(kind)} cannot be carried as text")


def _context(content: Mapping[str, Any]) -> Turn | None:
    """What a person has told about themselves and wants in all conversations, as a system turn."""
    keys = ("user_profile", "user_instructions", "model_set_context")
    told = [content[key] for key in keys if isinstance(content.get(key), str) and content[key]]
    return turn_of("system", text("\n\n".join(told))) if told else None


def _thoughts(content: Mapping[str, Any]) -> Turn | None:
    thoughts = content.get("thoughts")
    told = [t.get("content") or t.get("summary") for t in thoughts] if are_objects(thoughts) else []
    words = "\n\n".join(t for t in told if isinstance(t, str) and t)
    return Turn("assistant", None, None, reasoning=words) if words else None


def _sent_to_tool(tool: str, kind: object, words: Text) -> Turn:
    """A call: arguments are the JSON object that was sent, else what was sent, as `code` or
    `text`."""
    if words.text is None:
        return turn_of("assistant", words)
    sent = tool_json.parsed(words.text)
    given = sent if isinstance(sent, dict) else {"code" if kind == "code" else "text": words.text}
    calls = tool_json.calls({"tool_calls": [{"name": tool, "arguments": given}]})
    return Turn("assistant", None, calls.fault, tool_calls=calls.text)


SHAPES = (Trees(name="ChatGPT export", keys=("mapping",), fits=_fits, read=_read),)
