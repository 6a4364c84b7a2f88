"""Lists of role and content (OpenAI's files, chatdata's own), and instructions with an answer.

    {"id": "a-1", "messages": [{"role": "user", "content": "..."}, ...]}
    [{"role": "user", "content": "..."}, ...]
    {"instruction": "...", "context": "...", "response": "..."}      Dolly; Alpaca: input, output
    {"prompt": "...", "completion": "..."}                           texts, or lists of messages

`group`, `source` and `lang` of a row of ours are kept. A context stands below its instruction, an
empty line between; messages of a prompt are context. Content in parts
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
_PLAIN = {"role", "content"}
_PAIRS = (("prompt", "completion"), ("instruction", "response"), ("instruction", "output"))
_CONTEXTS = ("context", "input")
_RESULTS = ("tool", "function")
_NOT_TEXT = ("refusal", "audio")
_REASONING = ("reasoning_content", "reasoning", "thinking")


def read(files: Sequence[File], name: str, ids: str) -> Iterator[Batch]:
    """Yields the messages of all conversations as rows of MESSAGES."""
    return read_conversations(files, name, ids, Layout(_is_record, _turns, group=str))


def _is_record(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("messages"), list) or _pair(value) is not None


def _turns(record: Any) -> list[Turn]:
    if isinstance(record, list):
        return [_turn(message) for message in record]
    if isinstance(record.get("messages"), list):
        return with_tools([_turn(message) for message in record["messages"]], record.get("tools"))
    asked, answered = _pair(record) or ("", "")
    question = _side(record[asked], "user")
    if context := next((record[key] for key in _CONTEXTS if record.get(key)), None):
        question = [_with_context(turn, context) for turn in question]
    return [turn._replace(train=False) for turn in question] + _side(record[answered], "assistant")


def _pair(record: dict[str, Any]) -> tuple[str, str] | None:
    """The keys of the question and the answer of a record that has no messages."""
    return next((pair for pair in _PAIRS if record.keys() >= set(pair)), None)


def _side(value: object, role: str) -> list[Turn]:
    if isinstance(value, list):
        return [_turn(message) for message in value]
    return [Turn(role, *text(value))]


def _with_context(turn: Turn, context: object) -> Turn:
    words, note = text(context)
    if words is None or turn.content is None:
        return turn._replace(content=None, note=turn.note or f"a context that is {note}")
    return turn._replace(content=f"{turn.content}\n\n{words}")


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
