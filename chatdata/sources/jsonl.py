"""Lists of role and content: OpenAI's fine-tuning files, and what chatdata itself writes.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]

`group`, `source` and `lang` of a row of ours are kept. Content in parts
(`[{"type": "text", "text": "..."}]`) is joined where all parts are text. Reasoning
(`reasoning_content`) is carried in `<think>` tags before the content, tools, calls of them and
their results in tags of their own (see `_tools`). What cannot be carried as text (images) is
refused with its reason, never left out. A message that says that it is not to be learnt from
(`train: false`, `weight: 0`, `masked: true`, ...) is context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.schema import MESSAGES
from chatdata.sources import Batch, File, _tools
from chatdata.sources._linear import (
    Layout,
    Turn,
    flag,
    join,
    read_conversations,
    text,
    with_tools,
)

SCHEMA = MESSAGES
IDS = "jsonl"

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_RESULTS = ("tool", "function")
_NOT_TEXT = ("refusal", "audio")
_REASONING = ("reasoning_content", "reasoning", "thinking")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the messages of all conversations as rows of MESSAGES."""
    return read_conversations(files, name, ids, Layout(_is_record, _turns, group=str))


def _is_record(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def _turns(record: Any) -> list[Turn]:
    if isinstance(record, list):
        return [_turn(message) for message in record]
    return with_tools([_turn(message) for message in record["messages"]], record.get("tools"))


def _turn(message: object) -> Turn:
    if not isinstance(message, dict):
        return Turn(None, None, f"a {type(message).__name__} stands where a message should")
    if message.get("role") in _RESULTS:
        return _result(message)
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        return Turn(None, join(message.get("content"))[0], f"role {message.get('role')!r}")
    other = [key for key in _NOT_TEXT if message.get(key)]
    train, odd = flag(message)
    if other or odd:
        return Turn(role, None, odd or f"'{other[0]}' cannot be carried as text")
    content, note = _content(message)
    return Turn(role, content, note, train if content is not None else True)


def _result(message: Mapping[str, Any]) -> Turn:
    content, note = join(message.get("content"))
    return Turn("user", *(_tools.response(content) if note is None else (None, note)))


def _content(message: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What a message says: its reasoning, its words, its calls of tools."""
    called, fault = _tools.calls(message)
    if called is None:
        return None, fault
    said = message.get("content")
    words, note = ("", None) if said is None and called else join(said)
    thoughts = [message[key] for key in _REASONING if message.get(key)]
    reasoning, odd = text(thoughts[0]) if thoughts else ("", None)
    if words is None or reasoning is None:
        return None, note or f"reasoning that is {odd}"
    spoken = "\n".join(part for part in (words, called) if part)
    return (_think(reasoning) + spoken.lstrip("\n") if reasoning else spoken), None


def _think(reasoning: str) -> str:
    """Reasoning as it stands before an answer: in `<think>` tags, the form in which the chat
    templates of Qwen3 and DeepSeek R1 read it from content."""
    own = reasoning.strip("\n")
    return f"<think>\n{own}\n</think>\n\n"
