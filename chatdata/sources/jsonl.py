"""Lists of role and content: OpenAI's fine-tuning files, and what chatdata itself writes.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]

`group`, `source` and `lang` of a row of ours are kept. Content in parts
(`[{"type": "text", "text": "..."}]`) is joined where all parts are text. Reasoning
(`reasoning_content`) is carried in `<think>` tags before the content. What cannot be carried as
text (tool calls, images) is refused with its reason, never left out. A message that says that it
is not to be learnt from (`train: false`, `weight: 0`, `masked: true`, ...) is context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chatdata.schema import MESSAGES
from chatdata.sources import Batch, File
from chatdata.sources._linear import Layout, Turn, flag, read_conversations, text

SCHEMA = MESSAGES
IDS = "jsonl"

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_PLAIN = {"role", "content"}
_NOT_TEXT = ("tool_calls", "function_call", "refusal", "audio")
_REASONING = ("reasoning_content", "reasoning", "thinking")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the messages of all conversations as rows of MESSAGES."""
    return read_conversations(files, name, ids, Layout(_is_record, _turns, group=str))


def _is_record(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def _turns(record: Any) -> list[Turn]:
    messages = record if isinstance(record, list) else record["messages"]
    return [_turn(message) for message in messages]


def _turn(message: object) -> Turn:
    if isinstance(message, dict) and message.keys() == _PLAIN:
        return _plain(message)
    return _any_turn(message)


def _plain(message: dict[str, Any]) -> Turn:
    """What almost every message is: a role that is known, and text."""
    role, content = message["role"], message["content"]
    is_plain = isinstance(role, str) and role in _ROLES and isinstance(content, str)
    return Turn(_ROLES[role], *text(content)) if is_plain else _any_turn(message)


def _any_turn(message: object) -> Turn:
    if not isinstance(message, dict):
        return Turn(None, None, f"a {type(message).__name__} stands where a message should")
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        return Turn(None, _join(message.get("content"))[0], f"role {message.get('role')!r}")
    other = [key for key in _NOT_TEXT if message.get(key)]
    train, odd = flag(message)
    if other or odd:
        return Turn(role, None, odd or f"'{other[0]}' cannot be carried as text")
    content, note = _join(message.get("content"))
    if content is None:
        return Turn(role, content, note)
    thoughts = [message[key] for key in _REASONING if message.get(key)]
    reasoning, note = text(thoughts[0]) if thoughts else ("", None)
    if reasoning is None:
        return Turn(role, None, f"reasoning that is {note}")
    return Turn(
        role, _think(reasoning) + content.lstrip("\n") if reasoning else content, None, train
    )


def _think(reasoning: str) -> str:
    """Reasoning as it stands before an answer: in `<think>` tags, the form in which the chat
    templates of Qwen3 and DeepSeek R1 read it from content."""
    own = reasoning.strip("\n")
    return f"<think>\n{own}\n</think>\n\n"


def _join(content: object) -> tuple[str | None, str | None]:
    if not isinstance(content, list):
        return text(content)
    parts = [_part(part) for part in content]
    faults = [note for _, note in parts if note]
    return (None, faults[0]) if faults else ("".join(words or "" for words, _ in parts), None)


def _part(part: object) -> tuple[str | None, str | None]:
    if isinstance(part, dict) and part.get("type") == "text":
        return text(part.get("text", part.get("value")))
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    return None, f"a part of type {kind!r} cannot be carried as text"
