"""Lists of role and content: OpenAI's fine-tuning files, and what chatdata itself writes.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]

`group`, `source` and `lang` of a row of ours are kept. Content in parts
(`[{"type": "text", "text": "..."}]`) is joined where all parts are text. What cannot be carried
as text (tool calls, reasoning, images) is refused with its reason, never left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chatdata.schema import MESSAGES
from chatdata.sources import Batch, File
from chatdata.sources._linear import Layout, Turn, read_conversations, text

SCHEMA = MESSAGES
IDS = "jsonl"

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NOT_TEXT = ("tool_calls", "function_call", "reasoning_content", "refusal", "audio")


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
    if not isinstance(message, dict):
        return Turn(None, None, f"a {type(message).__name__} stands where a message should")
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        return Turn(None, _join(message.get("content"))[0], f"role {message.get('role')!r}")
    other = [key for key in _NOT_TEXT if message.get(key)]
    if other:
        return Turn(role, None, f"'{other[0]}' cannot be carried as text")
    return Turn(role, *_join(message.get("content")))


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
